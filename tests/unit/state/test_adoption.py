"""Threads of PostgresSaver: read, taken over, watched, and given back."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.types import TASKS
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Send, interrupt
from pydantic import BaseModel

from plumbgraph.errors import SettingsError
from plumbgraph.state import PlumbSaver


def _extend(state: list[str], writes: list[list[str]]) -> list[str]:
    return [*state, *(each for write in writes for each in write)]


class Note(BaseModel):
    text: str


class State(TypedDict):
    messages: Annotated[list[Any], add_messages]
    deltas: Annotated[list[str], DeltaChannel(_extend, snapshot_frequency=4)]
    files: Annotated[dict[str, str], operator.or_]
    note: Note
    n: int


def _graph(saver: BaseCheckpointSaver[Any], steps: int = 6) -> Any:
    def work(state: State) -> dict[str, Any]:
        n = state["n"] + 1
        text = f"{n} " + "word " * 120
        return {
            "messages": [AIMessage(text, id=f"m{n}")],
            "deltas": [text],
            "files": {f"f{n % 3}": text},
            "note": Note(text=text),
            "n": n,
        }

    def ask(state: State) -> dict[str, Any]:
        return {"n": interrupt("how many?")}

    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_node("ask", ask)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda s: "work" if s["n"] % steps else "ask")
    graph.add_edge("ask", END)
    return graph.compile(checkpointer=saver)


CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}, "recursion_limit": 100}
START_VALUE = {"messages": [HumanMessage("hi", id="h")], "deltas": [], "files": {}, "n": 0}


def _history(saver: BaseCheckpointSaver[Any], config: RunnableConfig = CONFIG) -> list[Any]:
    return [
        (s.values, s.next, s.metadata["step"], [i.value for i in s.interrupts])
        for s in _graph(saver).get_state_history(config)
    ]


def _within(url: str, schema: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"


@pytest.fixture
def legacy_url(postgres_url: str, schema: str) -> str:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA old_{schema}")
    return _within(postgres_url, f"old_{schema}")


@pytest.fixture
def legacy(legacy_url: str) -> Iterator[PostgresSaver]:
    with PostgresSaver.from_conn_string(legacy_url) as saver:
        saver.setup()
        _graph(saver).invoke(START_VALUE, CONFIG)
        older = list(_graph(saver).get_state_history(CONFIG))[4]
        _graph(saver).update_state(older.config, {"n": 3, "messages": [AIMessage("x", id="fork")]})
        _graph(saver).invoke(None, CONFIG)
        yield saver


@pytest.fixture
def saver(postgres_url: str, schema: str, legacy: PostgresSaver) -> Iterator[PlumbSaver]:
    with _open(postgres_url, schema) as made:
        yield made


def _open(url: str, schema: str, **options: Any) -> PlumbSaver:
    options = {"allow": [Note], "legacy_schema": f"old_{schema}", **options}
    return PlumbSaver(url, schema=schema, **options)


def test_threads_are_read_where_they_are(saver: PlumbSaver, legacy: PostgresSaver) -> None:
    assert _history(saver) == _history(legacy)
    assert len(list(saver.list(CONFIG, limit=3))) == 3
    assert len(list(saver.list(CONFIG, filter={"source": "input"}))) == 1
    assert saver.threads() == []


def test_the_first_write_takes_a_thread_over(
    saver: PlumbSaver, legacy: PostgresSaver, postgres_url: str, schema: str
) -> None:
    before, rows = _history(legacy), list(legacy.list(CONFIG))
    _graph(saver).update_state(CONFIG, {"n": 11})
    after = _history(saver)
    assert after[1:] == before
    assert after[0][0]["n"] == 11
    assert list(legacy.list(CONFIG)) == rows
    with _open(postgres_url, schema) as cold:
        assert _history(cold) == after
        _graph(cold).invoke({"n": 5}, CONFIG)
        assert (
            len(_graph(cold).get_state(CONFIG).values["deltas"]) == len(after[0][0]["deltas"]) + 1
        )


def test_a_run_may_be_the_first_write(saver: PlumbSaver, legacy: PostgresSaver) -> None:
    from langgraph.types import Command

    expected = _graph(legacy).get_state(CONFIG).values
    _graph(saver).invoke(Command(resume=42), CONFIG)
    found = _graph(saver).get_state(CONFIG)
    assert found.values == {**expected, "n": 42}
    assert found.next == ()


def test_a_moved_thread_is_free_at_once(
    saver: PlumbSaver, legacy: PostgresSaver, postgres_url: str, schema: str
) -> None:
    plan = saver._adoption.move("default", "t", None, saver.serde)
    batch = next(plan)
    with _open(postgres_url, schema) as other:
        adoption, send = other._adoption, saver._core.db.send
        replies = send(batch)
        while other._core.db.run(adoption.foreign_to_us(("default", "t", ""))):
            replies = send(plan.send(replies))
        _graph(other).update_state(CONFIG, {"n": 1})
        with suppress(StopIteration):
            while True:
                replies = send(plan.send(replies))
        assert _history(other)[1:] == _history(legacy)


def test_a_mover_that_died_is_replaced(
    saver: PlumbSaver, legacy: PostgresSaver, postgres_url: str, schema: str
) -> None:
    plan = saver._adoption.move("default", "t", None, saver.serde)
    replies = None
    for _ in range(9):
        replies = saver._core.db.send(next(plan) if replies is None else plan.send(replies))
    # The process is gone: nothing is released or tidied up by it.
    saver._core.db.run(_expire())
    with _open(postgres_url, schema) as other:
        assert _history(other) == _history(legacy)
        _graph(other).update_state(CONFIG, {"n": 1})
        assert _history(other)[1:] == _history(legacy)


def _expire() -> Any:
    from plumbgraph.postgres.statement import Statement

    yield (Statement("UPDATE {schema}.thread SET lease_until = now()"),)


def test_reading_only(
    saver: PlumbSaver, legacy: PostgresSaver, postgres_url: str, schema: str
) -> None:
    with _open(postgres_url, schema, adopt="read") as reader:
        assert _history(reader) == _history(legacy)
        with pytest.raises(SettingsError, match="only read"):
            _graph(reader).update_state(CONFIG, {"n": 1})
    with _open(postgres_url, schema, adopt="off") as blind:
        assert blind.get_tuple(CONFIG) is None
    with pytest.raises(SettingsError, match="adopt"):
        _open(postgres_url, schema, adopt="maybe")


def test_all_at_once_with_a_dry_run(
    saver: PlumbSaver, legacy: PostgresSaver, postgres_url: str, schema: str
) -> None:
    _graph(legacy).invoke(START_VALUE, {"configurable": {"thread_id": "u"}})
    with _open(postgres_url, schema, allow=()) as narrow:
        planned = narrow.adopt_all(dry_run=True)
    assert planned.threads.keys() == {"t", "u"}
    assert planned.allow == ((__name__, "Note"),)
    assert planned.legacy_bytes > 1000
    done = saver.adopt_all()
    assert done.threads == planned.threads
    assert _history(saver) == _history(legacy)
    assert saver.adopt_all().threads == {}
    _graph(legacy).update_state(CONFIG, {"n": 99})
    (foreign,) = saver.adopt_all().foreign
    assert foreign.thread_id == "t"


def test_the_way_back(
    saver: PlumbSaver, legacy: PostgresSaver, postgres_url: str, schema: str
) -> None:
    saver.adopt_all()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA new_{schema}")
    url = _within(postgres_url, f"new_{schema}")
    assert saver.export(url, ["t"]) == len(_history(saver))
    with PostgresSaver.from_conn_string(url) as back:
        assert _history(back) == _history(legacy)
        _graph(back).update_state(CONFIG, {"n": 5})
    memory = InMemorySaver()
    saver.export(memory, ["t"])
    assert _history(memory) == _history(legacy)


def test_sends_of_an_older_format_come_along(
    saver: PlumbSaver, legacy: PostgresSaver, postgres_url: str, schema: str
) -> None:
    first, second = empty_checkpoint(), empty_checkpoint()
    for checkpoint in (first, second):
        checkpoint["v"] = 3
        checkpoint["channel_versions"] = {"n": "00000000000000000000000000000002.0"}
    config: Any = {"configurable": {"thread_id": "old", "checkpoint_ns": ""}}
    head = legacy.put(config, first, {"source": "input", "step": -1}, {})
    legacy.put_writes(head, [(TASKS, Send("a", 1)), (TASKS, Send("b", 2))], "task")
    legacy.put(head, second, {"source": "loop", "step": 0}, {})
    expected = legacy.get_tuple(config)
    assert expected is not None
    assert len(expected.checkpoint["channel_values"][TASKS]) == 2

    def agrees(found: Any) -> None:
        assert found.checkpoint["channel_values"] == expected.checkpoint["channel_values"]
        assert found.checkpoint["channel_versions"] == expected.checkpoint["channel_versions"]

    agrees(saver.get_tuple(config))
    saver.adopt_all()
    with _open(postgres_url, schema, adopt="off") as moved:
        agrees(moved.get_tuple(config))
