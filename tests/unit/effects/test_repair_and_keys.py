"""What makes two calls the same, and what open calls are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph

from plumbgraph.agents.effects import RepairNode
from plumbgraph.effects import Call, Journal, dangling, repaired
from plumbgraph.effects.key import alias_of, digest, key_of, without_task_ids
from plumbgraph.effects.repair import Known
from plumbgraph.effects.values import Scene
from plumbgraph.errors import TypeRefused
from plumbgraph.postgres.pool import Database
from plumbgraph.state import PlumbSaver

T1: Any = {"configurable": {"thread_id": "t1"}}
HERE = Scene("default", "t", "", "tools", "task", {"": "c1"})


def history(*calls: str) -> list[Any]:
    asked = [{"name": name, "args": {}, "id": name, "type": "tool_call"} for name in calls]
    return [HumanMessage("go", id="h"), AIMessage("", tool_calls=asked, id="a")]


def test_open_calls_get_one_of_three_true_texts() -> None:
    messages = [*history("began", "done", "plain", "fresh"), HumanMessage("hello?", id="h2")]
    found = {("a", "began"): Known("unknown"), ("a", "done"): Known("done", "42")}
    whole = repaired(messages, found, frozenset({"began", "done", "fresh"}))
    texts = {m.tool_call_id: str(m.content) for m in whole if isinstance(m, ToolMessage)}
    assert "while this tool call was running" in texts["began"]
    assert texts["done"].endswith("42")
    assert "keeps no record" in texts["plain"]
    assert "Nothing happened" in texts["fresh"]
    assert [type(m) for m in whole] == [
        HumanMessage, AIMessage, *[ToolMessage] * 4, HumanMessage,
    ]  # fmt: skip
    assert dangling(whole) == []
    assert repaired(whole, {}, frozenset()) == whole


def test_an_answer_to_an_equal_id_closes_only_the_latest() -> None:
    first, second = history("x"), history("x")
    second[1].id = "b"
    answer = ToolMessage("1", tool_call_id="x")
    assert dangling([*first, answer, *second]) == [("b", "x")]
    assert dangling([*first, *second, answer]) == [("a", "x")]


def test_the_repair_node_makes_a_thread_usable_again(
    journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("repair", RepairNode(journal, ["pay"]))
    graph.add_edge(START, "repair")
    compiled = graph.compile(checkpointer=saver)
    state = compiled.invoke({"messages": [*history("pay"), HumanMessage("go on")]}, T1)
    kinds = [m.type for m in state["messages"]]
    assert kinds == ["human", "ai", "tool", "human"]
    again = compiled.invoke({"messages": [HumanMessage("and on")]}, T1)
    assert [m.type for m in again["messages"]] == [*kinds, "human"]


def test_a_key_tells_calls_apart() -> None:
    call = Call("pay", {"sum": 1}, "c1", "m1")
    keys = {
        key_of(HERE, call),
        key_of(HERE, Call("pay", {"sum": 2}, "c1", "m1")),
        key_of(HERE, Call("pay", {"sum": 1}, "c2", "m1")),
        key_of(HERE, Call("pay", {"sum": 1}, "c1", "m2")),
        key_of(HERE, Call("pay", {"sum": 1})),
        key_of(HERE, Call("pay", {"sum": 1}, nth=1)),
        key_of(HERE, Call("send", {"sum": 1}, "c1", "m1")),
        key_of(Scene("other", "t", "", "tools", "task"), call),
        key_of(Scene("default", "u", "", "tools", "task"), call),
        key_of(Scene("default", "t", "fork", "tools", "task"), call),
        key_of(Scene("default", "t", "", "sub|tools", "task"), call),
    }
    assert len(keys) == 11
    assert key_of(HERE, call) == key_of(Scene("default", "t", "", "tools", "another"), call)
    assert alias_of(HERE, call) is None
    assert without_task_ids("agent:1f-2|tools:9a") == "agent|tools"


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.lists(st.booleans()))))
def test_a_digest_does_not_depend_on_order(args: dict[str, Any]) -> None:
    assert digest(args) == digest(dict(reversed(args.items())))


def test_plain_data_alone_has_a_digest() -> None:
    from datetime import UTC, datetime
    from decimal import Decimal
    from uuid import UUID

    from pydantic import BaseModel

    class Model(BaseModel):
        x: int

    @dataclass
    class Data:
        x: int

    values = [1, Model(x=1), Data(1), b"1", {1}, Decimal(1), UUID(int=1), datetime.now(UTC), "1"]
    assert len({digest(value) for value in values}) == len(values)
    with pytest.raises(TypeRefused, match="not plain data"):
        digest({"x": object()})
