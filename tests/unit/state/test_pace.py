"""One flush a step where one task writes; everything acknowledged is flushed all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver
from plumbgraph.state.pace import FLUSH, Paces

STREAM = ("default", "t", "")
CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


class State(TypedDict):
    log: Annotated[list[str], lambda a, b: [*a, *b]]


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema, adopt="off") as made:
        yield made


def _seen(saver: PlumbSaver) -> list[str]:
    """What kinds of statements are sent from now on."""
    seen, inner = list[str](), saver.database.send

    def send(batch: Any) -> Any:
        params = dict(batch[0].params) if batch[0].params else {}
        if batch[0].sql == FLUSH:
            seen.append("flush")
        elif "later" in params:
            seen.append("later" if params["later"] else "now")
        elif "mint" in params:
            seen.append("put")
        return inner(batch)

    saver.database.send = send  # type: ignore[method-assign]
    return seen


def test_a_put_that_waits_is_learnt_from() -> None:
    paces = Paces()
    assert not paces.may_wait(STREAM, "a")
    with paces.put_on(STREAM, "a"):
        assert paces.followed(STREAM, "a")
    assert paces.may_wait(STREAM, "b")
    assert not paces.followed(STREAM, "b")
    assert not paces.may_wait(STREAM, "c")
    with paces.put_on(STREAM, "c"):
        assert not paces.may_wait(STREAM, "c")
        assert paces.followed(STREAM, "c")
    assert not paces.may_wait(STREAM, "d"), "two tasks wrote"


def test_writes_that_nobody_follows_are_flushed(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    head = saver.put(CONFIG, empty_checkpoint(), {"source": "input", "step": -1}, {})
    core = saver._core
    with core.paces.put_on(STREAM, "before"):
        core.paces.may_wait(STREAM, "before")
        core.paces.followed(STREAM, "before")
    seen = _seen(saver)
    saver.put_writes(head, [("a", 1)], "t1")
    saver.put_writes(head, [("a", 2)], "t2")
    assert seen == ["later", "flush", "now"]
    with psycopg.connect(postgres_url) as connection:
        sql = f'SELECT count(*) FROM "{schema}".write'
        assert connection.execute(sql).fetchone() == (2,)
        own = connection.execute("SHOW synchronous_commit").fetchone()
    ((left,),) = saver.database.send((Statement("SHOW synchronous_commit"),))
    assert left == own, "the setting of the session is never touched"


def test_a_line_of_single_tasks_and_one_of_many(saver: PlumbSaver) -> None:
    def work(state: State) -> dict[str, Any]:
        return {"log": [str(len(state["log"]))]}

    made = StateGraph(State)
    made.add_node("work", work)
    made.add_node("branch", lambda _: {"log": ["b"]})
    made.add_edge(START, "work")
    made.add_conditional_edges(
        "work",
        lambda s: "work" if len(s["log"]) < 20 else [Send("branch", s)] * 4,
        ["work", "branch"],
    )
    made.add_edge("branch", END)
    seen = _seen(saver)
    graph: Any = made.compile(checkpointer=saver)
    graph.invoke({"log": []}, CONFIG, durability="sync")
    assert seen.count("later") + seen.count("now") == 25
    assert seen.count("put") == 23
    assert len(graph.get_state(CONFIG).values["log"]) == 24
