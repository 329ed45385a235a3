"""Without a log the state itself tells of skills, routes, files and the guard."""

from __future__ import annotations

import operator
from typing import Annotated, Any, get_type_hints

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from typing_extensions import TypedDict

from plumbgraph.channels import GuardState, RouteState, SkillState, WorkspaceState
from plumbgraph.skills.channel import loaded_entry, unloaded_entry
from plumbgraph.state import PlumbSaver
from plumbgraph.timeline import Timeline
from plumbgraph.timeline.checkpoints import SHOWN
from plumbgraph.timeline.state_notes import notes_between


class State(MessagesState, SkillState, RouteState, WorkspaceState, GuardState):
    """All channels of plumbgraph's parts."""


def run(saver: Any) -> None:
    held = {"pdf": loaded_entry({}, "d" * 64, 120)}
    put_down = {"pdf": unloaded_entry(held, "pdf", "budget")}
    files = {"step": "ab" * 32, "files": 3, "bytes": 9, "from": "*"}
    route = {"model": "small", "code": "cheapest", "reason": "good enough"}
    updates: list[dict[str, Any]] = [
        {"skills": held, "route": route},
        {"workspace": files},
        {"skills": put_down},
        {"stop_reason": "budget.steps"},
    ]
    builder: Any = StateGraph(State)
    before = START
    for number, update in enumerate(updates):
        builder.add_node(f"n{number}", lambda _, update=update: update)
        builder.add_edge(before, f"n{number}")
        before = f"n{number}"
    graph = builder.add_edge(before, END).compile(checkpointer=saver)
    graph.invoke({"messages": [("user", "hi")]}, {"configurable": {"thread_id": "t"}})


EXPECTED = {
    1: ["loaded pdf (120 tokens)", "small (cheapest): good enough"],
    2: ["files abababababab (3 files)"],
    3: ["put down pdf (budget)"],
    4: ["stopped: budget.steps"],
}


def told(saver: Any) -> dict[int, list[str]]:
    rows = Timeline.load("t", sources=saver).rows
    return {row.step: [note.text for note in row.notes] for row in rows}


def test_any_saver_tells_them() -> None:
    saver = InMemorySaver()
    run(saver)
    assert told(saver) == EXPECTED


def test_our_saver_tells_them_too(postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema) as saver:
        run(saver)
        assert told(saver) == EXPECTED


def test_every_channel_that_is_shown_exists() -> None:
    assert set(SHOWN) <= set(get_type_hints(State))


@pytest.mark.parametrize(
    "strange", [{"skills": [1]}, {"skills": {"a": 3}}, {"route": "x"}, {"workspace": {"heads": 4}}]
)
def test_channels_of_the_same_name_that_hold_something_else(strange: dict[str, Any]) -> None:
    assert all("a" in note.text for note in notes_between({}, strange))


def test_messages_without_ids_are_counted_once_each() -> None:
    class Plain(TypedDict):
        messages: Annotated[list[Any], operator.add]

    def say(state: Plain) -> dict[str, Any]:
        return {"messages": [AIMessage("the same", response_metadata={"model_name": "m"})]}

    saver = InMemorySaver()
    builder: Any = StateGraph(Plain).add_node("say", say).add_edge(START, "say")
    builder.add_conditional_edges("say", lambda s: "say" if len(s["messages"]) < 6 else END)
    config = {"configurable": {"thread_id": "t"}}
    builder.compile(checkpointer=saver).invoke({"messages": [HumanMessage("hi")]}, config)
    rows = Timeline.load("t", sources=saver).rows
    assert [row.models for row in rows] == [["m"]] * 5
