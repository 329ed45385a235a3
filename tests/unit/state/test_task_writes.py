"""Writers of one task at the same time: under every index the first write stays, and only that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, empty_checkpoint

from plumbgraph.state import PlumbSaver

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
RESUME, ERROR = "__resume__", "__error__"
_BLOCKED = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""


class Held:
    """Stands before a database's `send` and commits one of its batches when it is told to."""

    def __init__(self, saver: PlumbSaver, number: int) -> None:
        self.left = number
        self.db = saver._core.db
        self.inner = self.db.send
        self.written, self.go = threading.Event(), threading.Event()
        self.db.send = self  # type: ignore[method-assign]

    def __call__(self, batch: Any) -> Any:
        self.left -= 1
        if self.left:
            return self.inner(batch)
        with self.db.transaction() as connection:
            (statement,) = batch
            text: Any = self.db.text(statement.sql)
            rows = connection.execute(text, statement.params, binary=True).fetchall()
            self.written.set()
            assert self.go.wait(60)
        return [rows]


@pytest.fixture
def savers(postgres_url: str, schema: str) -> Iterator[tuple[PlumbSaver, PlumbSaver]]:
    with (
        PlumbSaver(postgres_url, schema=schema, adopt="off") as one,
        PlumbSaver(postgres_url, schema=schema, adopt="off") as two,
    ):
        yield one, two


def _writes(who: str, channels: str) -> list[tuple[str, Any]]:
    names = {"R": RESUME, "E": ERROR}
    return [
        (names.get(each, each), f"{who}{at} " + "word " * (120 if each == "b" else 1))
        for at, each in enumerate(channels)
    ]


def _expected(*calls: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    found: dict[int, tuple[str, Any]] = {}
    for call in calls:
        for at, write in enumerate(call):
            if write[0] in WRITES_IDX_MAP:
                found[WRITES_IDX_MAP[write[0]]] = write
            else:
                found.setdefault(at, write)
    return [found[at] for at in sorted(found)]


def _pending(saver: PlumbSaver) -> list[tuple[str, Any]]:
    saver.forget()
    found = saver.get_tuple(CONFIG)
    assert found is not None
    return [(channel, value) for _, channel, value in found.pending_writes or ()]


@pytest.mark.parametrize(
    ("before", "first", "second"),
    [
        ("", "abc", "abc"),
        ("", "abc", "Rbc"),
        ("", "Rbc", "abc"),
        ("", "Ra", "a"),
        ("", "abc", "bRc"),
        ("", "aRRc", "abcd"),
        ("a", "abc", "aRc"),
        ("a", "aRc", "abcd"),
        ("abRc", "abcd", "abccd"),
        ("abRRc", "abRcc", "abcRcd"),
        ("Rb", "ab", "cb"),
    ],
)
def test_of_two_at_the_same_time_each_index_keeps_one(
    savers: tuple[PlumbSaver, PlumbSaver], postgres_url: str, before: str, first: str, second: str
) -> None:
    one, two = savers
    head = one.put(CONFIG, empty_checkpoint(), {"step": 0}, {})
    calls = [_writes("x", before), _writes("y", first), _writes("z", second)]
    one.put_writes(head, calls[0], "task")
    # Where something is stored, the first statement is refused and the second tells what it is.
    held = Held(one, 3 if before else 1)
    early = threading.Thread(target=one.put_writes, args=(head, calls[1], "task"))
    late = threading.Thread(target=two.put_writes, args=(head, calls[2], "task"))
    early.start()
    assert held.written.wait(60)
    late.start()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        while late.is_alive() and connection.execute(_BLOCKED).fetchone() == (0,):
            time.sleep(0.005)
    held.go.set()
    early.join()
    late.join()
    assert _pending(one) == _pending(two) == _expected(*calls)


def test_writes_under_every_index_keep_the_first(savers: tuple[PlumbSaver, PlumbSaver]) -> None:
    head = savers[0].put(CONFIG, empty_checkpoint(), {"step": 0}, {})
    calls = [_writes(str(at), c) for at, c in enumerate(("RbRd", "aR", "aEcR", "abcd", "abcdRf"))]
    for at, call in enumerate(calls):
        savers[at % 2].put_writes(head, call, "task")
        assert _pending(savers[0]) == _expected(*calls[: at + 1])
