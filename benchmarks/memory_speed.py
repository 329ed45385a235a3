"""Latency of the store's operations, one client, and bytes an item.

Namespaces have one label: under two, RedisStore finds nothing with a current redis-py. Of a batch
of 20 gets it answers ten.
"""

from __future__ import annotations

import itertools
import random
import secrets
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.memory_peers import Makers

ITEMS = 2_000
SPACES = 50
ROUNDS = 400
BATCHES = 60
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


VALUES = [value(n) for n in range(ROUNDS)]


def space(number: int) -> tuple[str, ...]:
    return (f"u{number % SPACES}",)


def measure(makers: Makers) -> dict[str, dict[str, float]]:
    """The median milliseconds of each operation, the stores taken in turns."""
    from benchmarks.tables import interleaved

    stores = {name: make() for name, make in makers.items()}
    for store in stores.values():
        for n in range(ITEMS):
            store.put(space(n), f"k{n}", VALUES[n % ROUNDS])
    actions = {name: _actions(store) for name, store in stores.items()}
    found: dict[str, dict[str, float]] = {name: {} for name in stores}
    for operation in OPERATIONS:
        asked = {name: actions[name][operation] for name in stores}
        rounds = BATCHES if "batch" in operation else ROUNDS
        for name, times in interleaved(asked, rounds, warm=5).items():
            found[name][operation] = statistics.median(times) * 1000
    return found


def _actions(store: Any) -> dict[str, Callable[[], Any]]:
    from langgraph.store.base import GetOp, PutOp

    picked, numbers = random.Random(1), itertools.count()

    def gets() -> list[Any]:
        return [GetOp(space(n), f"k{n}") for n in picked.sample(range(ITEMS), 20)]

    def puts() -> list[Any]:
        some = picked.sample(range(ITEMS), 20)
        return [PutOp(space(n), f"k{n}", VALUES[n % ROUNDS]) for n in some]

    def put(prefix: str) -> None:
        n = next(numbers)
        store.put(space(n), f"{prefix}{n % ITEMS}", VALUES[n % ROUNDS])

    def get() -> Any:
        n = next(numbers) % ITEMS
        return store.get(space(n), f"k{n}")

    return {
        "put new": lambda: put("new"),
        "overwrite": lambda: put("k"),
        "get": get,
        "batch of 20 gets": lambda: store.batch(gets()),
        "batch of 20 puts": lambda: store.batch(puts()),
        "search a namespace": lambda: store.search(space(next(numbers)), limit=10),
        "list namespaces": lambda: store.list_namespaces(limit=100),
    }


def sizes(redis_url: str) -> dict[str, float]:
    """Bytes of the whole server's data set an item, and an old version."""
    import redis

    from plumbgraph.memory import MemoryStore

    raw = redis.Redis.from_url(redis_url)
    store = MemoryStore(redis_url, tenant=f"size-{secrets.token_hex(4)}")
    store.put(space(0), "first", {})

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
