"""Latency of the store's operations, one client, and bytes an item.

Run as a script with a Redis URL, it measures RedisStore and prints JSON: the peer needs an
environment and a server of its own.
"""

from __future__ import annotations

import json
import random
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

ITEMS = 2_000
SPACES = 50
ROUNDS = 400
OPERATIONS = (
    "put new",
    "overwrite",
    "get",
    "batch of 20 gets",
    "batch of 20 puts",
    "search a namespace",
    "list namespaces",
)


def value(number: int) -> dict[str, Any]:
    picked = random.Random(number)
    return {"text": "".join(picked.choices("abcdefghij klmnop", k=220)), "n": number}


def space(number: int) -> tuple[str, ...]:
    return ("users", f"u{number % SPACES}")


def measured(store: Any) -> dict[str, float]:
    """The median milliseconds of each operation on a filled store."""
    from langgraph.store.base import GetOp, PutOp

    for n in range(ITEMS):
        store.put(space(n), f"k{n}", value(n))
    picked = random.Random(1)

    def gets() -> list[Any]:
        return [GetOp(space(n), f"k{n}") for n in picked.sample(range(ITEMS), 20)]

    def puts() -> list[Any]:
        return [PutOp(space(n), f"k{n}", value(n + 1)) for n in picked.sample(range(ITEMS), 20)]

    def put(n: int, key: str) -> None:
        store.put(space(n), key, value(n))

    actions: dict[str, Callable[[int], Any]] = {
        "put new": lambda n: put(n, f"new{n}"),
        "overwrite": lambda n: put(n, f"k{n}"),
        "get": lambda n: store.get(space(n), f"k{n}"),
        "batch of 20 gets": lambda _: store.batch(gets()),
        "batch of 20 puts": lambda _: store.batch(puts()),
        "search a namespace": lambda n: store.search(space(n), limit=10),
        "list namespaces": lambda _: store.list_namespaces(limit=100),
    }
    return {name: _median(actions[name]) for name in OPERATIONS}


def _median(action: Callable[[int], Any]) -> float:
    action(0)
    times = []
    for n in range(ROUNDS):
        start = time.perf_counter()
        action(n)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def ours(redis_url: str) -> dict[str, Any]:
    from plumbgraph.memory import MemoryStore

    return {"MemoryStore": MemoryStore(redis_url, tenant=f"bench-{secrets.token_hex(4)}")}


def peers(postgres_url: str | None) -> dict[str, Any]:
    from langgraph.store.memory import InMemoryStore

    found: dict[str, Any] = {"InMemoryStore": InMemoryStore()}
    if postgres_url:
        from langgraph.store.postgres import PostgresStore
        from psycopg import Connection
        from psycopg.rows import dict_row

        schema = f"bench_{secrets.token_hex(4)}"
        opened: Any = Connection.connect(postgres_url, autocommit=True, prepare_threshold=0)
        opened.row_factory = dict_row
        opened.execute(f"CREATE SCHEMA {schema}")
        opened.execute(f"SET search_path TO {schema}")
        found["PostgresStore"] = PostgresStore(opened)
        found["PostgresStore"].setup()
    return found


def measure(stores: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {name: measured(store) for name, store in stores.items()}


def sizes(redis_url: str) -> dict[str, float]:
    """Bytes of the whole server's data set an item, and an old version."""
    import redis

    from plumbgraph.memory import MemoryStore

    raw = redis.Redis.from_url(redis_url)
    store = MemoryStore(redis_url, tenant=f"size-{secrets.token_hex(4)}")
    store.setup()

    def used() -> int:
        return int(raw.info("memory")["used_memory_dataset"])

    empty = used()
    for n in range(ITEMS):
        store.put(space(n), f"k{n}", value(n))
    once = used()
    for version in range(5):
        for n in range(ITEMS):
            store.put(space(n), f"k{n}", value(n + version + 1))
    after = used()
    return {"item": (once - empty) / ITEMS, "old version": (after - once) / ITEMS / 5}


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """A table of one row each, the first column naming it."""
    from benchmarks.tables import print_table

    print_table(title, [dict(zip(columns, row, strict=True)) for row in rows])


def show(speed: dict[str, Any], sizes_: dict[str, float]) -> None:
    names = ["MemoryStore", *(name for name in speed if name != "MemoryStore")]
    rows = [[name, *(speed[s].get(name, "absent") for s in names)] for name in OPERATIONS]
    table("Store operations, p50 ms (ours keeps versions, the peers do not)", ["", *names], rows)
    table("Bytes", ["", "MemoryStore"], [[k, v] for k, v in sizes_.items()])


if __name__ == "__main__":
    from langgraph.store.redis import RedisStore

    with RedisStore.from_conn_string(sys.argv[1]) as peer:
        peer.setup()
        print(json.dumps(measured(peer)))
