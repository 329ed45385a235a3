"""How many round trips things take, and what a fault at any of them leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from plumbgraph.errors import StoreUnavailable
from plumbgraph.state import PlumbSaver

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


class Counting:
    """Stands before a database's `send`, counts batches and lets one fail."""

    def __init__(self, saver: PlumbSaver) -> None:
        self.inner = saver._core.db.send
        self.calls = 0
        self.fail_at: int | None = None
        self.fail_after = False
        saver._core.db.send = self  # type: ignore[method-assign]

    def __call__(self, batch: Any) -> Any:
        self.calls += 1
        if self.calls == self.fail_at and not self.fail_after:
            raise StoreUnavailable("cut before")
        replies = self.inner(batch)
        if self.calls == self.fail_at:
            raise StoreUnavailable("cut after")
        return replies


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema) as made:
        yield made


def _messages(count: int) -> list[AIMessage]:
    return [AIMessage(f"{at} " + "word " * 140, id=str(at)) for at in range(count)]


def _step(saver: PlumbSaver, parent: Any, messages: list[AIMessage], version: int) -> Any:
    config: RunnableConfig = {"configurable": {"checkpoint_ns": "", **parent["configurable"]}}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"messages": list(messages)}
    checkpoint["channel_versions"] = {"messages": version}
    return saver.put(config, checkpoint, {"source": "loop", "step": version}, {"messages": version})


def _stored(saver: PlumbSaver) -> list[int]:
    found = saver.list(CONFIG)
    return [len(each.checkpoint["channel_values"]["messages"]) for each in found]


def test_each_call_is_one_round_trip(saver: PlumbSaver) -> None:
    saver.get_tuple(CONFIG)
    counting, messages = Counting(saver), _messages(70)
    head = _step(saver, CONFIG, messages[:30], 1)
    saver.put_writes(head, [("messages", messages[30:33]), ("n", 1)], "task")
    head = _step(saver, head, messages[:33], 2)
    head = _step(saver, head, messages, 3)
    assert counting.calls == 4
    saver.get_tuple(CONFIG)
    saver.get_tuple(head)
    assert counting.calls == 6
    assert len(list(saver.list(CONFIG, limit=3))) == 3
    assert counting.calls == 7
    saver.copy_thread("t", "u")
    saver.delete_thread("u")
    assert counting.calls == 9


def test_a_cold_process_reads_in_one_round_trip(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    messages = _messages(100)
    head = _step(saver, CONFIG, messages[:40], 1)
    _step(saver, head, messages, 2)
    with PlumbSaver(postgres_url, schema=schema, auto_setup=False, adopt="off") as cold:
        counting = Counting(cold)
        found = cold.get_tuple(CONFIG)
        assert found is not None
        assert found.checkpoint["channel_values"]["messages"] == messages
        assert counting.calls == 1


@pytest.mark.parametrize("after", ["before", "after"])
def test_a_cut_at_any_statement_tears_nothing(
    saver: PlumbSaver, postgres_url: str, schema: str, after: str
) -> None:
    saver.setup()
    counting, messages = Counting(saver), _messages(80)
    counting.fail_after = after == "after"
    head, done = _step(saver, CONFIG, messages[:4], 1), [4]
    for version in range(2, 20):
        size = 4 * version
        writes = partial(saver.put_writes, head, [("messages", messages[size - 4 : size])], "task")
        put = partial(_step, saver, head, messages[:size], version)
        if version % 3 == 0:
            counting.fail_at = counting.calls + 1
            with pytest.raises(StoreUnavailable):
                (writes if version % 2 else put)()
        else:
            writes()
        if version % 6 == 0 and counting.fail_after:
            found = saver.get_tuple(CONFIG)
            assert found is not None
            head = found.config
        else:
            head = put()
        done.append(size)
    assert _stored(saver) == done[::-1]
    with PlumbSaver(postgres_url, schema=schema) as cold:
        assert _stored(cold) == done[::-1]
        found = cold.get_tuple(CONFIG)
        assert found is not None
        assert found.checkpoint["channel_values"]["messages"] == messages[: done[-1]]


def test_repeated_writes_keep_what_is_stored(saver: PlumbSaver) -> None:
    head = _step(saver, CONFIG, _messages(1), 1)
    saver.put_writes(head, [("a", 1), ("__error__", "x")], "task")
    saver.put_writes(head, [("a", 9), ("b", 2), ("__error__", "y")], "task")
    saver.put_writes(head, [("a", 9), ("b", 9), ("c", 3)], "task")
    found = saver.get_tuple(CONFIG)
    assert found is not None
    assert sorted((c, v) for _, c, v in found.pending_writes or ()) == [
        ("__error__", "y"),
        ("a", 1),
        ("b", 2),
        ("c", 3),
    ]


def test_repeated_writes_that_begin_elsewhere_keep_what_is_stored(saver: PlumbSaver) -> None:
    head = _step(saver, CONFIG, _messages(1), 1)
    saver.put_writes(head, [("a", 1), ("b", 2)], "task")
    saver.put_writes(head, [("__error__", "x"), ("b", 9), ("c", 3)], "task")
    found = saver.get_tuple(CONFIG)
    assert found is not None
    assert [(c, v) for _, c, v in found.pending_writes or ()] == [
        ("__error__", "x"),
        ("a", 1),
        ("b", 2),
        ("c", 3),
    ]
