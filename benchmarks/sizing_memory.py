"""Sizing of Redis or Valkey: memories, in bytes and in milliseconds."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import redis

from benchmarks.sizing_state import p50_ms
from plumbgraph import MemoryStore
from plumbgraph.memory.ops import Put

WORDS = (
    "museum",
    "harbor",
    "garden",
    "invoice",
    "ticket",
    "bicycle",
    "mountain",
    "library",
    "kitchen",
    "orchestra",
    "passport",
    "camera",
    "river",
    "bakery",
    "theater",
    "airport",
    "hospital",
    "stadium",
    "bridge",
    "village",
)
A_NAMESPACE = 10_000
AT_ONCE = 500


def text_of(number: int) -> str:
    """A memory of about 130 characters, different for each number."""
    first, second = WORDS[number % 20], WORDS[number // 20 % 20]
    said = f"On day {number} the user talked about the {first} and the {second}, and liked it. "
    return said + "This is remembered for the next conversation."


def memories(endpoints: Any, most: int) -> list[dict[str, Any]]:
    """Items with a text, 10,000 to a namespace at most."""
    rows, made = [], 0
    with (
        MemoryStore(endpoints.redis_url) as store,
        redis.Redis.from_url(endpoints.redis_url) as server,
    ):
        store.put(("warm",), "up", {"text": "x"})
        empty = bytes_of(server)
        for count in (n for n in (10**2, 10**4, 10**6) if n <= most):
            _fill(store, made, count)
            made = count
            rows.append(_row(endpoints.redis_url, server, count, empty))
    return rows


def bytes_of(server: Any) -> int:
    """Bytes of all keys with their values, as the server counts them key by key.

    Its total moves by megabytes when a client comes or goes, more than a hundred memories weigh.
    """
    keys, found = server.scan_iter(count=AT_ONCE), 0
    while some := list(islice(keys, AT_ONCE)):
        with server.pipeline(transaction=False) as asked:
            for key in some:
                asked.memory_usage(key, samples=0)
            found += sum(each or 0 for each in asked.execute())
    return found


def _fill(store: MemoryStore, start: int, stop: int) -> None:
    for first in range(start, stop, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, stop))
        puts: Any = (
            Put(
                namespace=("users", f"u{number // A_NAMESPACE}"),
                key=f"m{number}",
                value={"text": text_of(number)},
            )
            for number in numbers
        )
        store.batch(puts)


def _row(url: str, server: Any, count: int, empty: int) -> dict[str, Any]:
    size = bytes_of(server) - empty
    namespace = ("users", "u0")
    with MemoryStore(url, feed=0) as cold:
        cold.get(namespace, "m1")
        began = time.perf_counter()
        cold.recall(namespace, "the museum and the harbor")
        first = (time.perf_counter() - began) * 1000
        recall = p50_ms(lambda i: cold.recall(namespace, f"the {WORDS[i % 20]} of day {i}"), 40)
        got = p50_ms(lambda i: cold.get(namespace, f"m{i}"))
        put = p50_ms(lambda i: cold.put(("sizing",), f"k{i}", {"text": text_of(i)}))
    return {
        "memories": count,
        "namespaces": -(-count // A_NAMESPACE),
        "MiB": size / 2**20,
        "bytes a memory": size // count,
        "put, ms": put,
        "get, ms": got,
        "first recall, ms": first,
        "recall, ms": recall,
        "how": "measured",
    }
