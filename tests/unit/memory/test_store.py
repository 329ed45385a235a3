"""Items: versions, conditions, times, history, expiry, both colours."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    PutOp,
    SearchOp,
)

from plumbgraph.errors import (
    DataCorrupt,
    MemoryExpired,
    MemoryInvalid,
    StoreUnavailable,
    VersionConflict,
)
from plumbgraph.memory import Get, History, MemoryStore, Put
from plumbgraph.tracing import attach, detach

NS = ("users", "1")


def test_a_put_makes_a_version_and_keeps_the_earlier_ones(store: MemoryStore) -> None:
    assert [store.put(NS, "k", {"n": n}) for n in range(3)] == [1, 2, 3]
    item = store.get(NS, "k")
    assert item is not None
    assert (item.version, item.value) == (3, {"n": 2})
    assert [(v.version, v.value) for v in store.history(NS, "k")] == [
        (3, {"n": 2}),
        (2, {"n": 1}),
        (1, {"n": 0}),
    ]
    first = store.get(NS, "k", as_of=1)
    assert first is not None
    assert first.value == {"n": 0}


def test_as_of_a_moment_tells_what_was_known_then(store: MemoryStore) -> None:
    store.put(NS, "k", {"n": 0})
    store.put(NS, "k", {"n": 1})
    store.delete(NS, "k")
    newest, middle, oldest = store.history(NS, "k")
    assert newest.kind == "deleted"
    before = store.get(NS, "k", as_of=oldest.at)
    after = store.get(NS, "k", as_of=middle.at.timestamp() + 0.0)
    assert before is not None
    assert before.value == {"n": 0}
    assert after is None or after.value == {"n": 1}
    assert store.get(NS, "k", as_of=newest.at) is None
    assert store.get(NS, "k") is None


def test_a_lost_race_is_a_conflict_with_both_versions(store: MemoryStore) -> None:
    store.put(NS, "k", {"n": 0}, if_version=0)
    with pytest.raises(VersionConflict) as caught:
        store.put(NS, "k", {"n": 1}, if_version=0)
    assert (caught.value.expected, caught.value.found) == (0, 1)
    with pytest.raises(VersionConflict):
        store.delete(NS, "k", if_version=7)
    assert store.put(NS, "k", {"n": 1}, if_version=1) == 2


def test_versions_go_on_after_a_deletion(store: MemoryStore) -> None:
    store.put(NS, "k", {})
    store.delete(NS, "k")
    assert store.put(NS, "k", {}, if_version=0) == 3


def test_a_repeat_under_an_idempotency_key_writes_nothing(store: MemoryStore) -> None:
    assert store.put(NS, "k", {"n": 1}, idempotency_key="a") == 1
    assert store.put(NS, "k", {"n": 2}) == 2
    assert store.put(NS, "k", {"n": 1}, idempotency_key="a") == 1
    item = store.get(NS, "k")
    assert item is not None
    assert item.value == {"n": 2}


def test_history_is_bounded_by_count(redis_url: str) -> None:
    with MemoryStore(redis_url, history=3) as store:
        for n in range(10):
            store.put(NS, "k", {"n": n})
        assert [v.version for v in store.history(NS, "k")] == [10, 9, 8, 7]


def test_history_is_bounded_by_age(redis_url: str) -> None:
    with MemoryStore(redis_url, history_age_s=0.05) as store:
        for n in range(4):
            store.put(NS, "k", {"n": n})
            time.sleep(0.08)
        assert len(store.history(NS, "k")) <= 3


def test_diff_and_revert(store: MemoryStore) -> None:
    store.put(NS, "k", {"a": 1, "b": [1, 2]})
    store.put(NS, "k", {"b": [1, 3], "c": True})
    told = {(c.op, c.path) for c in store.diff(NS, "k", 1, 2)}
    assert told == {("removed", "a"), ("changed", "b.1"), ("added", "c")}
    assert store.revert(NS, "k", 1) == 3
    item = store.get(NS, "k")
    assert item is not None
    assert item.value == {"a": 1, "b": [1, 2]}
    with pytest.raises(MemoryExpired):
        store.revert(NS, "k", 99)


def test_a_diff_of_what_never_was_is_refused_and_of_one_side_is_not(store: MemoryStore) -> None:
    store.put(NS, "k", {"a": 1})
    store.delete(NS, "k")
    assert [(c.op, c.path) for c in store.diff(NS, "k", 0, 1)] == [("added", "a")]
    assert [(c.op, c.path) for c in store.diff(NS, "k", 1, 2)] == [("removed", "a")]
    with pytest.raises(MemoryExpired, match=r"'nothing' in .* 1 or 2") as caught:
        store.diff(NS, "nothing", 1, 2)
    assert "history" in str(caught.value.hint)
    with pytest.raises(MemoryExpired, match=r"'k' in .* 7 or 9"):
        store.diff(NS, "k", 7, 9)


async def test_a_diff_in_the_other_color_is_refused_alike(redis_url: str) -> None:
    async with MemoryStore(redis_url) as store:
        await store.aput(NS, "k", {"a": 1})
        assert [(c.op, c.path) for c in await store.adiff(NS, "k", 0, 1)] == [("added", "a")]
        for key, before, after in (("nothing", 1, 2), ("k", 7, 9)):
            with pytest.raises(MemoryExpired, match=f"'{key}' in .* {before} or {after}"):
                await store.adiff(NS, key, before, after)


def test_valid_time_is_the_callers(store: MemoryStore) -> None:
    store.put(NS, "k", {"in": 2020}, valid_from=datetime(2020, 1, 1, tzinfo=UTC))
    store.put(NS, "k", {"in": 2022}, valid_from=datetime(2022, 1, 1, tzinfo=UTC))
    found = store.get(NS, "k", valid_at=datetime(2021, 1, 1, tzinfo=UTC))
    assert found is not None
    assert found.value == {"in": 2020}
    assert store.get(NS, "k", valid_at=datetime(2019, 1, 1, tzinfo=UTC)) is None
    with pytest.raises(MemoryInvalid):
        store.put(NS, "k", {}, valid_from=2.0, valid_to=1.0)
    with pytest.raises(MemoryInvalid):
        store.get(NS, "k", valid_at=datetime(2021, 1, 1))  # noqa: DTZ001 - what is refused


def test_an_item_expires_on_time_and_leaves_no_key(redis_url: str, raw_redis: Any) -> None:
    raw = raw_redis
    with MemoryStore(redis_url) as store:
        store.put(NS, "k", {"n": 0}, ttl=3 / 60)
        store.put(NS, "k", {"n": 1}, ttl=3 / 60)
        assert store.get(NS, "k", refresh_ttl=False) is not None
        time.sleep(3.05)
        assert store.get(NS, "k") is None
        assert store.search(()) == []
        assert store.list_namespaces() == []
        left = [key for key in raw.scan_iter() if not key.endswith(b"}:f")]
        assert left == []


def test_reading_slides_the_items_own_time_to_live(store: MemoryStore) -> None:
    store.put(NS, "read", {}, ttl=4 / 60)
    store.put(NS, "unread", {}, ttl=4 / 60)
    for _ in range(3):
        time.sleep(1.5)
        assert store.get(NS, "read") is not None
    assert store.get(NS, "unread") is None


def test_a_put_without_ttl_lives_on(store: MemoryStore) -> None:
    store.put(NS, "k", {}, ttl=2 / 60)
    store.put(NS, "k", {"n": 1})
    time.sleep(2.05)
    assert store.get(NS, "k") is not None
    assert len(store.history(NS, "k")) == 2


def test_a_batch_reads_before_it_writes_and_keeps_the_order(store: MemoryStore) -> None:
    store.put(NS, "a", {"n": 0})
    ops: list[Any] = [
        PutOp(NS, "a", {"n": 1}),
        GetOp(NS, "a"),
        SearchOp(("users",)),
        ListNamespacesOp(),
        Put(namespace=NS, key="b", value={}),
        History(namespace=NS, key="a"),
        Get(namespace=NS, key="a", as_of=1),
    ]
    put, got, found, listed, version, past, first = store.batch(ops)
    assert put is None
    assert got.value == {"n": 0}
    assert [item.key for item in found] == ["a"]
    assert listed == [NS]
    assert version == 1
    assert len(past) == 1
    assert first.value == {"n": 0}


def test_a_failed_operation_does_not_stop_the_others(store: MemoryStore) -> None:
    ops: list[Any] = [
        Put(namespace=NS, key="a", value={}, if_version=5),
        Put(namespace=NS, key="b", value={}),
    ]
    with pytest.raises(VersionConflict):
        store.batch(ops)
    assert store.get(NS, "b") is not None


@pytest.mark.parametrize(
    "namespace", [(), ("a", ""), ("a.b",), ("a\0b",), (1,), "abc", ("langgraph",), ("\ud800",)]
)
def test_bad_namespaces_are_refused(store: MemoryStore, namespace: Any) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {})


@pytest.mark.parametrize(
    "value", [[1], "text", {1: 2}, {"a": {1, 2}}, {"a": float("nan")}, {"a": "\ud800"}, {"a": b""}]
)
def test_bad_values_are_refused_and_nothing_is_written(store: MemoryStore, value: Any) -> None:
    with pytest.raises(MemoryInvalid):
        store.put(NS, "k", value)
    assert store.history(NS, "k") == []


@pytest.mark.parametrize("ttl", [0, -1, True, "1", float("inf"), float("nan")])
def test_bad_times_to_live_are_refused(store: MemoryStore, ttl: Any) -> None:
    with pytest.raises(MemoryInvalid):
        store.put(NS, "k", {}, ttl=ttl)


def test_a_value_over_the_limit_is_refused(redis_url: str) -> None:
    with MemoryStore(redis_url, max_value_bytes=100) as store:
        with pytest.raises(MemoryInvalid, match="at most 100"):
            store.put(NS, "k", {"a": "é" * 60})
        store.put(NS, "k", {"a": "é" * 40})


def test_a_foreign_value_under_our_key_is_a_typed_error(redis_url: str, raw_redis: Any) -> None:
    raw = raw_redis
    with MemoryStore(redis_url) as store:
        key = store.terms.shard(NS).item("users\x001", "k")
        raw.lpush(key, "foreign")
        with pytest.raises(DataCorrupt):
            store.get(NS, "k")
        raw.delete(key)
        raw.set(key, b"\xc1 no record")
        with pytest.raises(DataCorrupt):
            store.get(NS, "k")


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with MemoryStore("redis://127.0.0.1:1/0") as store, pytest.raises(StoreUnavailable):
        store.put(NS, "k", {})


def test_racing_puts_leave_one_copy_and_every_version(store: MemoryStore) -> None:
    def write(start: int) -> None:
        for n in range(50):
            store.put(NS, "k", {"n": start + n})

    threads = [threading.Thread(target=write, args=(i * 50,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.search(NS, limit=100)) == 1
    item = store.get(NS, "k")
    assert item is not None
    assert item.version == 400


def test_a_counter_by_condition_is_exact(store: MemoryStore) -> None:
    store.put(NS, "count", {"n": 0})

    def count() -> None:
        for _ in range(25):
            while True:
                item = store.get(NS, "count")
                assert item is not None
                try:
                    store.put(NS, "count", {"n": item.value["n"] + 1}, if_version=item.version)
                except VersionConflict:
                    continue
                break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    item = store.get(NS, "count")
    assert item is not None
    assert item.value == {"n": 100}


def test_tenants_do_not_see_each_other(redis_url: str) -> None:
    with MemoryStore(redis_url, tenant="a") as one, MemoryStore(redis_url, tenant="b") as other:
        one.put(NS, "k", {})
        assert other.get(NS, "k") is None
        assert other.list_namespaces() == []


def test_roots_in_slots_of_their_own_are_found_together(redis_url: str) -> None:
    with MemoryStore(redis_url, shard_by="namespace_root") as store:
        for root in ("a", "b", "{c}"):
            store.put((root, "x"), "k", {"root": root})
        assert store.list_namespaces() == [("a", "x"), ("b", "x"), ("{c}", "x")]
        assert [item.value["root"] for item in store.search(())] == ["{c}", "b", "a"]


def test_one_object_serves_every_loop_and_thread(redis_url: str) -> None:
    store = MemoryStore(redis_url)

    async def write(key: str) -> None:
        await store.aput(NS, key, {})
        found = await store.arecall(NS, key)
        assert found.mode == "broad"
        await store.aclose()

    asyncio.run(write("a"))
    asyncio.run(write("b"))
    assert store.get(NS, "a") is not None
    store.close()


async def test_async_twins_do_the_same(redis_url: str) -> None:
    async with MemoryStore(redis_url) as store:
        assert await store.aput(NS, "k", {"text": "a cat"}) == 1
        assert await store.aput(NS, "k", {"text": "a dog"}, if_version=1) == 2
        assert len(await store.ahistory(NS, "k")) == 2
        assert (await store.adiff(NS, "k", 1, 2))[0].path == "text"
        assert await store.arevert(NS, "k", 1) == 3
        found = await store.arecall(NS, "cat")
        assert [hit.key for hit in found] == ["k"]
        await store.adelete(NS, "k")
        assert await store.aget(NS, "k") is None
        assert await store.asweep() == 0


class Kept:
    def __init__(self) -> None:
        self.records: list[Any] = []

    def write(self, record: Any) -> None:
        self.records.append(record)


def test_every_write_is_told_to_the_sinks(store: MemoryStore) -> None:
    sink = Kept()
    attach(sink)
    try:
        store.put(NS, "k", {"secret": "word"})
        store.batch([PutOp(NS, "k", {"n": 1}), PutOp(NS, "other", None), GetOp(NS, "k")])
        store.delete(NS, "k")
        asyncio.run(told_async(store))
    finally:
        detach(sink)
    seen = [(r["event"], r["key"], r.get("version")) for r in sink.records]
    assert {event for event, _, _ in seen} == {"memory.written"}
    assert [entry[1:] for entry in seen] == [("k", 1), ("k", 2), ("k", None), ("async", 1)]
    assert "word" not in str(sink.records)


async def told_async(store: MemoryStore) -> None:
    await store.aput(NS, "async", {})
    await store.aclose()


def test_a_condition_from_before_an_expiry_is_not_met_after_it(
    store: MemoryStore, raw_redis: Any
) -> None:
    old = store.put(NS, "k", {"n": 1}, ttl=60)
    held = store.get(NS, "k")
    assert held is not None
    assert (old, held.version) == (1, 1)
    raw_redis.pexpire(store.terms.shard(NS).item("users\x001", "k"), 1)
    while store.get(NS, "k", refresh_ttl=False) is not None:
        time.sleep(0.005)
    new = store.put(NS, "k", {"n": 2})
    assert new == old
    for stale in (old, held.version, pickle.loads(pickle.dumps(old))):
        with pytest.raises(VersionConflict, match="written anew") as caught:
            store.put(NS, "k", {"n": 3}, if_version=stale)
        assert (caught.value.expected, caught.value.found) == (1, 1)
        with pytest.raises(VersionConflict):
            store.delete(NS, "k", if_version=stale)
    assert store.put(NS, "k", {"n": 3}, if_version=new) == 2
    assert store.history(NS, "k")[1].version.life == new.life  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", [-1, True, "1", 1.0])
def test_a_condition_that_is_no_version_is_refused(store: MemoryStore, version: Any) -> None:
    with pytest.raises(MemoryInvalid):
        store.put(NS, "k", {}, if_version=version)
    assert store.get(NS, "k") is None
