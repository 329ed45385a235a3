"""How fast recall is, and whether it misses an acknowledged write of another process."""

from __future__ import annotations

import multiprocessing
import random
import secrets
import statistics
import time
from itertools import accumulate
from typing import Any

from plumbgraph.memory import MemoryStore
from plumbgraph.memory.ops import Put

NS = ("bench", "recall")
WORDS = [
    f"{a}{b}{c}{d}"
    for a in "bcdfglmnprst"
    for b in ("an", "il", "em", "od", "ur")
    for c in "bdfgklmprstvz"
    for d in ("ana", "oke", "imu", "eth", "ory", "urn", "alt", "isk", "ope", "ent", "una", "ix")
]
# words of a conversation without its stop words: the commonest stands in every seventh text
WEIGHTS = list(accumulate(1 / (rank + 20) for rank in range(len(WORDS))))


def words(picked: random.Random, count: int) -> str:
    return " ".join(picked.choices(WORDS, cum_weights=WEIGHTS, k=count))


def text(picked: random.Random) -> str:
    return words(picked, 22)


def fill(url: str, tenant: str, items: int) -> None:
    store, picked = MemoryStore(url, tenant=tenant, feed=0), random.Random(5)
    for start in range(0, items, 500):
        ops: list[Any] = [
            Put(namespace=NS, key=f"k{n}", value={"text": text(picked)})
            for n in range(start, min(items, start + 500))
        ]
        store.batch(ops)


def latency(url: str, items: int) -> dict[str, float]:
    tenant, picked = f"recall-{secrets.token_hex(4)}", random.Random(6)
    fill(url, tenant, items)
    store = MemoryStore(url, tenant=tenant, feed=0)
    start = time.perf_counter()
    store.recall(NS, "anything")
    load_s = time.perf_counter() - start
    times = []
    for _ in range(400):
        query = words(picked, 5)
        start = time.perf_counter()
        store.recall(NS, query)
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    p99 = times[int(len(times) * 0.99)]
    return {"p50 ms": statistics.median(times), "p99 ms": p99, "first load s": load_s}


def asked(store: MemoryStore, queries: int = 200) -> dict[str, float]:
    """The first recall of a process, and the later ones."""
    picked, times = random.Random(6), []
    start = time.perf_counter()
    store.recall(NS, "anything")
    first_s = time.perf_counter() - start
    for _ in range(queries):
        query = words(picked, 5)
        start = time.perf_counter()
        store.recall(NS, query)
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    p99 = times[int(len(times) * 0.99)]
    return {"first recall s": first_s, "p50 ms": statistics.median(times), "p99 ms": p99}


def module(url: str | None, items: int = 110_000) -> dict[str, Any]:
    """A namespace above the size, by the index in the process and by the server's search module."""
    if url is None:
        return {"no server with a search module here": {}}
    tenant = f"module-{secrets.token_hex(4)}"
    fill(url, tenant, items)
    options: Any = {"tenant": tenant, "feed": 0}
    kinds: dict[str, Any] = {
        "index in the process": {"search_module_above": None},
        "search module, first of all processes": {},
        "search module, later process": {},
    }
    return {
        f"{items:,} items: {kind}": asked(MemoryStore(url, **options, **how))
        for kind, how in kinds.items()
    }


def _write(url: str, tenant: str, worker: int, count: int, told: Any) -> None:
    store, picked = MemoryStore(url, tenant=tenant, feed=0), random.Random(worker)
    for n in range(count):
        token = f"token{worker}x{n}"
        key = f"w{worker}-{n}"
        store.put(NS, key, {"text": f"{token} {text(picked)}"})
        told.put((key, token))
    told.put(None)


def freshness(url: str, count: int = 250) -> dict[str, int]:
    """Four processes write; each acknowledged write is looked up at once by another."""
    tenant = f"fresh-{secrets.token_hex(4)}"
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    writers = [context.Process(target=_write, args=(url, tenant, w, count, told)) for w in range(4)]
    for writer in writers:
        writer.start()
    reader, ended, looked, missed = MemoryStore(url, tenant=tenant, feed=0), 0, 0, 0
    while ended < len(writers):
        entry = told.get(timeout=60)
        if entry is None:
            ended += 1
            continue
        key, token = entry
        looked += 1
        missed += key not in [hit.key for hit in reader.recall(NS, token)]
    for writer in writers:
        writer.join()
    return {"looked up": looked, "missed": missed}


def measure(url: str) -> dict[str, Any]:
    return {
        "10,000 items": latency(url, 10_000),
        "100,000 items": latency(url, 100_000),
        "acknowledged writes of 4 processes": freshness(url),
    }


def show(found: dict[str, Any]) -> None:
    from benchmarks.memory_speed import table

    rows = [[f"{k}: {p}", v] for k, part in found.items() for p, v in part.items()]
    table("Recall", ["", "MemoryStore"], rows)
