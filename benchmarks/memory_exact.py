"""What must be exact: reads during overwrites, races, expiry, facts under many writers, sleep."""

from __future__ import annotations

import random
import secrets
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from plumbgraph.errors import VersionConflict
from plumbgraph.memory import Fact, MemoryStore

NS = ("bench", "exact")


def _store(url: str, **options: Any) -> MemoryStore:
    return MemoryStore(url, tenant=f"exact-{secrets.token_hex(4)}", **options)


def together(work: Callable[[int], Any], count: int) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def missing_reads(url: str, reads: int = 100_000) -> int:
    store, done = _store(url), threading.Event()
    store.put(NS, "k", {"n": 0})

    def overwrite() -> None:
        while not done.is_set():
            store.put(NS, "k", {"n": 1})

    writer = threading.Thread(target=overwrite)
    writer.start()
    missing = sum(store.get(NS, "k") is None for _ in range(reads))
    done.set()
    writer.join()
    return missing


def racing_puts(url: str) -> dict[str, int]:
    store = _store(url, history=2)
    together(lambda n: [store.put(NS, "k", {"n": n}) for _ in range(1_000)] and None, 16)
    item: Any = store.get(NS, "k")
    return {"copies": len(store.search(NS, limit=50)), "version": item.version}


def counter(url: str) -> int:
    store = _store(url)
    store.put(NS, "c", {"n": 0})

    def work(_: int) -> None:
        for _ in range(50):
            while True:
                item: Any = store.get(NS, "c")
                try:
                    store.put(NS, "c", {"n": item.value["n"] + 1}, if_version=item.version)
                except VersionConflict:
                    continue
                break

    together(work, 16)
    final: Any = store.get(NS, "c")
    return int(final.value["n"])


def expiry_error_ms(url: str, rounds: int = 10) -> float:
    store = _store(url)
    errors = []
    for n in range(rounds):
        start = time.perf_counter()
        store.put(NS, f"t{n}", {}, ttl=0.5 / 60)
        while store.get(NS, f"t{n}", refresh_ttl=False) is not None:
            pass
        errors.append(abs(time.perf_counter() - start - 0.5) * 1000)
    return max(errors)


def keys_after_expiry(url: str) -> int:
    import redis

    store = _store(url, feed=0)
    for n in range(500):
        store.put((*NS, str(n % 9)), f"k{n}", {}, ttl=0.2 / 60)
        store.put((*NS, str(n % 9)), f"k{n}", {"again": n}, ttl=0.2 / 60)
    time.sleep(0.4)
    store.sweep()
    pattern = f"plumb:{{{store.terms.layout.tenant}}}*"
    return sum(1 for _ in redis.Redis.from_url(url).scan_iter(pattern, count=1_000))


def facts(
    url: str, updates: int = 100_000, writers: int = 64, slots: int = 2_000
) -> dict[str, Any]:
    """Numbered updates of slots by many writers: the newest must stand, every serial be known."""
    store = _store(url, history=200, feed=0)
    picked = random.Random(7)
    serials = list(range(updates))
    slot_of = [picked.randrange(slots) for _ in serials]
    times: list[float] = []

    def write(worker: int) -> None:
        for serial in serials[worker::writers]:
            claim = Fact(f"s{slot_of[serial]}", "value", serial, valid_from=float(1 + serial))
            start = time.perf_counter()
            store.remember(NS, claim)
            times.append(time.perf_counter() - start)

    together(write, writers)
    expected = {f"s{slot}": serial for serial, slot in enumerate(slot_of)}
    held = {i.value["subject"]: i.value["value"] for i in store.facts(NS)}
    asked = picked.sample(serials, 500)
    right = sum(_then(store, slot_of, serial) == serial for serial in asked)
    alone = _alone(store)
    return {
        "newest %": 100 * sum(held[s] == n for s, n in expected.items()) / len(expected),
        "stale %": 100 * sum(held[s] != n for s, n in expected.items()) / len(expected),
        "as-of any serial %": 100 * right / len(asked),
        "p50 ms, one client": alone,
        f"p50 ms, {writers} threads in one process": statistics.median(times) * 1000,
    }


def _then(store: MemoryStore, slot_of: list[int], serial: int) -> Any:
    item: Any = store.get(NS, f"s{slot_of[serial]}|value", valid_at=1.5 + serial)
    return item and item.value["value"]


def _alone(store: MemoryStore) -> float:
    times = []
    for n in range(500):
        start = time.perf_counter()
        store.remember(NS, Fact("alone", "value", n))
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def sleep(url: str, items: int = 10_000) -> dict[str, Any]:
    """A sleep over many items while eight writers write."""
    store, done = _store(url), threading.Event()
    picked = random.Random(3)
    words = [f"word{n}" for n in range(3_000)]
    for n in range(items):
        text = " ".join(picked.choices(words, k=12)) if n % 10 else "the same old memory"
        store.put(NS, f"k{n}", {"text": f"{text} yesterday"})
    start = time.perf_counter()
    store.sleep(NS, dry_run=True)
    quiet_s = time.perf_counter() - start
    last: dict[str, int] = {}

    def write(worker: int) -> None:
        n = 0
        while not done.is_set():
            n += 1
            key = f"k{worker + 8 * picked.randrange(items // 8)}"
            store.put(NS, key, {"text": "live", "n": n})
            last[key] = n
            time.sleep(0.002)

    threads = [threading.Thread(target=write, args=(w,)) for w in range(8)]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    report = store.sleep(NS)
    busy_s = time.perf_counter() - start
    done.set()
    for thread in threads:
        thread.join()
    found: Any = {key: store.get(NS, key) for key in last}
    lost = sum(item is None or item.value.get("n") != last[key] for key, item in found.items())
    return {
        "decide, quiet s": quiet_s,
        "with 8 live writers s": busy_s,
        "actions": len(report.actions),
        "live writes": len(last),
        "live writes lost": lost,
    }


def measure(url: str) -> dict[str, Any]:
    return {
        "missing of 100,000 reads during overwrites": missing_reads(url),
        "16 x 1,000 racing puts": racing_puts(url),
        "conditional counter of 800": counter(url),
        "largest TTL error at 0.5 s, ms": expiry_error_ms(url),
        "keys left after expiry": keys_after_expiry(url),
        "facts, 100,000 updates by 64 writers": facts(url),
        "sleep over 10,000 items": sleep(url),
    }


def show(found: dict[str, Any]) -> None:
    from benchmarks.memory_speed import table

    rows = []
    for name, value in found.items():
        if isinstance(value, dict):
            rows += [[f"{name}: {part}", figure] for part, figure in value.items()]
        else:
            rows.append([name, value])
    table("Exactness", ["", "MemoryStore"], rows)
