"""DeltaChannel threads have the values of memory, through prune, copy and new processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from plumbgraph.errors import HistoryNeeded
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}, "recursion_limit": 500}


def _extend(state: list[Any], writes: list[Any]) -> list[Any]:
    return [*state, *(each for write in writes for each in write)]


class State(TypedDict):
    messages: Annotated[list[Any], DeltaChannel(_extend, snapshot_frequency=7)]
    n: int


def _graph(saver: BaseCheckpointSaver[Any], steps: int = 20) -> Any:
    def work(state: State) -> dict[str, Any]:
        n = state["n"] + 1
        return {"messages": [AIMessage(f"{n} " + "word " * 150, id=f"m{n}")], "n": n}

    def branch(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(f"branch {state['at']}", id=f"b{state['at']}")]}

    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_node("branch", branch)
    graph.add_edge(START, "work")
    graph.add_conditional_edges(
        "work",
        lambda s: "work" if s["n"] % steps else [Send("branch", {"at": at}) for at in range(5)],
        ["work", "branch"],
    )
    graph.add_edge("branch", END)
    return graph.compile(checkpointer=saver)


def _texts(saver: BaseCheckpointSaver[Any], config: RunnableConfig = CONFIG) -> list[str]:
    return [each.content for each in _graph(saver).get_state(config).values["messages"]]


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema) as made:
        yield made


def _run(saver: BaseCheckpointSaver[Any], durability: str = "sync") -> None:
    start = {"messages": [HumanMessage("hi", id="h")], "n": 0}
    _graph(saver).invoke(start, CONFIG, durability=durability)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_history_is_that_of_memory(
    saver: PlumbSaver, postgres_url: str, schema: str, durability: str
) -> None:
    memory = InMemorySaver()
    for each in (memory, saver):
        _run(each, durability)
        _run(each, durability)
    expected = [s.values for s in _graph(memory).get_state_history(CONFIG)]
    assert [s.values for s in _graph(saver).get_state_history(CONFIG)] == expected
    with PlumbSaver(postgres_url, schema=schema) as cold:
        assert [s.values for s in _graph(cold).get_state_history(CONFIG)] == expected
    assert len(expected[0]["messages"]) == 52


def test_branches_keep_their_order(saver: PlumbSaver, postgres_url: str, schema: str) -> None:
    _run(saver)
    live = _texts(saver)
    assert live[-5:] == [f"branch {at}" for at in range(5)]
    with PlumbSaver(postgres_url, schema=schema) as cold:
        assert _texts(cold) == live


def test_pruning_loses_nothing(saver: PlumbSaver, postgres_url: str, schema: str) -> None:
    _run(saver)
    before = _texts(saver)
    saver.prune(["t"])
    assert len(list(saver.list(CONFIG))) < 10
    assert _texts(saver) == before
    with PlumbSaver(postgres_url, schema=schema) as cold:
        assert _texts(cold) == before
        _run(cold)
        cold.prune(["t"])
        assert _texts(cold)[: len(before)] == before


def test_copies_are_whole_and_outlive_their_source(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    _run(saver)
    before, size = _texts(saver), _elements(saver)
    saver.copy_thread("t", "copy")
    assert _elements(saver) == size
    saver.delete_thread("t")
    copied: RunnableConfig = {"configurable": {"thread_id": "copy"}}
    with PlumbSaver(postgres_url, schema=schema) as cold:
        assert _texts(cold, copied) == before
        cold.prune(["copy"])
        assert _texts(cold, copied) == before
        cold.delete_thread("copy")
    assert _elements(saver) == 0


def _elements(saver: PlumbSaver) -> int:
    return int(saver._core.db.send((Statement("SELECT count(*) FROM {schema}.element"),))[0][0][0])


def test_a_snapshot_names_what_the_writes_stored(saver: PlumbSaver) -> None:
    _run(saver)
    rows = saver._core.db.send(
        (Statement("SELECT sum(octet_length(body))::bigint FROM {schema}.element"),)
    )[0]
    raw = sum(len(text) for text in _texts(saver))
    assert rows[0][0] < raw


def test_runs_that_later_ones_are_rebuilt_from_stay(saver: PlumbSaver) -> None:
    graph = _graph(saver, 3)
    start = {"messages": [HumanMessage("hi", id="h")], "n": 0}
    for run in ("one", "two"):
        graph.invoke(start, {**CONFIG, "metadata": {"run_id": run}})
    before = _texts(saver)
    with pytest.raises(HistoryNeeded, match="rebuilt from"):
        saver.delete_for_runs(["one"])
    assert _texts(saver) == before
    saver.delete_for_runs(["one", "two"])
    assert list(saver.list(CONFIG)) == []
