"""Memory on a real six-node cluster: spread, failover, a killed primary, a migration, WAIT."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from plumbgraph.errors import NotReplicated, StoreUnavailable
from plumbgraph.memory import Fact, MemoryStore
from plumbgraph.testing.store_kit import check_store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

NS = ("users", "ana")


@contextlib.contextmanager
def writers(store: MemoryStore, count: int = 4) -> Iterator[list[set[int]]]:
    """Threads that put numbered items; what was acknowledged, a set for each thread."""
    done = threading.Event()
    acknowledged: list[set[int]] = [set() for _ in range(count)]

    def write(worker: int) -> None:
        number = 0
        while not done.is_set():
            number += 1
            with contextlib.suppress(StoreUnavailable, NotReplicated):
                store.put(NS, f"{worker}-{number}", {"n": number}, idempotency_key=str(number))
                acknowledged[worker].add(number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        done.set()
        for thread in threads:
            thread.join()


def lost(store: MemoryStore, acknowledged: list[set[int]]) -> list[str]:
    keys = [f"{worker}-{n}" for worker, numbers in enumerate(acknowledged) for n in numbers]
    return [key for key in keys if store.get(NS, key) is None]


def until(met: Callable[[], Any], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("shard_by", ["tenant", "namespace_root"])
def test_the_kit_passes_on_a_cluster(cluster: Any, shard_by: Any) -> None:
    report = check_store(
        lambda: MemoryStore(cluster.url, tenant=secrets.token_hex(4), shard_by=shard_by)
    )
    assert report.failed == (), report.table()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["unit", "properties", "conformance", "crash"])
def test_the_whole_suite_passes_on_a_cluster(cluster: Any, root: Path, kind: str) -> None:
    folder = f"tests/{kind}/memory"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", folder],
        cwd=root,
        env={**os.environ, "PLUMBGRAPH_TEST_REDIS_CLUSTER_URL": cluster.url},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_facts_recall_sleep_and_erasure_on_a_cluster(cluster: Any) -> None:
    with MemoryStore(cluster.url, shard_by="namespace_root") as store:
        for root in ("a", "b", "c", "d"):
            place = (root, "x")
            store.put(place, "k", {"text": f"a cat named {root}"})
            store.remember(place, Fact("Ana", "city", "Rome"))
            store.remember(place, Fact("Ana", "city", "Oslo"))
            assert "Oslo" in store.recall(place, "Oslo").text
            store.sleep(place)
        assert len(store.list_namespaces()) == 4
        lines = store.export()
        assert len(lines) == 8
        assert store.erase("Ana").items == 4
        assert store.import_lines(lines) == 8
        assert store.export() == lines


async def test_the_async_colour_on_a_cluster(cluster: Any) -> None:
    async with MemoryStore(cluster.url, shard_by="namespace_root") as store:
        for root in ("a", "b", "c"):
            assert await store.aput((root,), "k", {"text": "cat"}) == 1
        assert len(await store.asearch((), limit=9)) == 3
        assert len(await store.arecall(("a",), "cat")) == 1


def test_a_failover_a_killed_primary_and_a_migration_lose_nothing(cluster: Any) -> None:
    store = MemoryStore(cluster.url, durability="wait", replicas=1, wait_s=0.5)
    slot = key_slot(b"default")
    with writers(store) as acknowledged:
        until(lambda: all(len(numbers) > 20 for numbers in acknowledged))
        index = next(i for i, port in enumerate(cluster.ports) if port == cluster.primary_of(slot))
        replica = cluster.ports[(index + 3) % 6]
        cluster.node(replica).execute_command("CLUSTER FAILOVER")
        until(lambda: cluster.primary_of(slot) == replica)
        until(cluster.settled)
        seen = [len(numbers) for numbers in acknowledged]
        until(lambda: all(len(n) > s + 20 for n, s in zip(acknowledged, seen, strict=True)))
        cluster.processes[replica].kill()
        cluster.processes[replica].wait()
        until(lambda: cluster.primary_of(slot) != replica)
        cluster.start(replica)
        until(cluster.settled)
        seen = [len(numbers) for numbers in acknowledged]
        until(lambda: all(len(n) > s + 20 for n, s in zip(acknowledged, seen, strict=True)))
        migrate(cluster, slot)
        seen = [len(numbers) for numbers in acknowledged]
        until(lambda: all(len(n) > s + 20 for n, s in zip(acknowledged, seen, strict=True)))
    assert lost(store, acknowledged) == []
    assert sum(map(len, acknowledged)) > 240
    store.close()


def migrate(cluster: Any, slot: int) -> None:
    source = cluster.primary_of(slot)
    target = cluster.primary_of((slot + 5461) % 16384)
    ids = {p: cluster.node(p).execute_command("CLUSTER MYID").decode() for p in (source, target)}
    cluster.node(target).execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
    cluster.node(source).execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
    while True:
        keys = cluster.node(source).execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
        if not keys:
            break
        words = ("127.0.0.1", target, "", 0, 5000, "REPLACE", "KEYS", *keys)
        cluster.node(source).execute_command("MIGRATE", *words)
    for port in (target, source):
        cluster.node(port).execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])


def test_a_write_no_replica_confirmed_is_told(cluster: Any) -> None:
    store = MemoryStore(cluster.url, durability="wait", replicas=1, wait_s=0.3)
    assert store.put(NS, "k", {}) == 1
    index = cluster.ports.index(cluster.primary_of(key_slot(b"default")))
    replica = cluster.ports[(index + 3) % 6]
    cluster.processes[replica].kill()
    with pytest.raises(NotReplicated) as caught:
        store.put(NS, "k", {})
    assert caught.value.version == 2
    assert len(store.history(NS, "k")) == 2
    store.close()
