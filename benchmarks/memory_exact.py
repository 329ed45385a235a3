"""What must be exact: reads during overwrites, races, expiry, facts under many writers, sleep."""

from __future__ import annotations

import random
import secrets
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.memory_peers import Makers
from benchmarks.tables import print_table
from plumbgraph.errors import VersionConflict
from plumbgraph.memory import Fact, MemoryStore

NS = ("bench", "exact")
ONE = ("exact",)
LONGEST_S = 5.0


def _store(url: str, **options: Any) -> MemoryStore:
    return MemoryStore(url, tenant=f"exact-{secrets.token_hex(4)}", **options)


def together(work: Callable[[int], Any], count: int) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def missing_reads(store: Any, reads: int) -> int:
    """Reads that do not find an item while another thread overwrites it."""
    done = threading.Event()
    store.put(ONE, "k", {"n": 0})

    def overwrite() -> None:
        while not done.is_set():
            store.put(ONE, "k", {"n": 1})

    writer = threading.Thread(target=overwrite)
    writer.start()
    missing = 0
    for _ in range(reads):
        missing += store.get(ONE, "k") is None
    done.set()
    writer.join()
    return missing


def racing_puts(store: Any, puts: int) -> int:
    """Copies of one item after 16 threads put it."""
    together(lambda n: [store.put(ONE, "k", {"n": n}) for _ in range(puts)] and None, 16)
    return len(store.search(ONE, limit=50))


def counter(store: Any) -> int:
    """A counter that 16 threads count up 50 times each, by a condition where there is one."""
    store.put(ONE, "c", {"n": 0})
    conditional = hasattr(store, "history")

    def work(_: int) -> None:
        for _ in range(50):
            while True:
                item: Any = store.get(ONE, "c")
                value = {"n": item.value["n"] + 1 if item else 1}
                try:
                    options = {"if_version": item.version} if conditional else {}
                    store.put(ONE, "c", value, **options)
                except VersionConflict:
                    continue
                break

    together(work, 16)
    final: Any = store.get(ONE, "c")
    return int(final.value["n"]) if final else 0


def expiry_error_ms(store: Any, rounds: int = 10) -> float | str:
    """How far from half a second items of half a second vanish, at most."""
    if not store.supports_ttl:
        return "no TTL"
    errors = []
    for n in range(rounds):
        start = time.perf_counter()
        store.put(ONE, f"t{n}", {}, ttl=0.5 / 60)
        while store.get(ONE, f"t{n}", refresh_ttl=False) is not None:
            if time.perf_counter() - start > LONGEST_S:
                return "never"
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


READS, PUTS = 100_000, 1_000
OF_PEERS = 10_000, 100


def measure(makers: Makers, url: str) -> dict[str, dict[str, Any]]:
    """The same probes of every store; peers, which are slower, get a tenth of the calls."""
    found: dict[str, dict[str, Any]] = {}
    for name, make in makers.items():
        reads, puts = (READS, PUTS) if name == "MemoryStore" else OF_PEERS
        found[name] = {
            "reads during overwrites": reads,
            "of these missing": told(lambda: missing_reads(make(), reads)),  # noqa: B023 - called here
            "racing puts of 16 threads": 16 * puts,
            "copies left": told(lambda: racing_puts(make(), puts)),  # noqa: B023 - as above
            "counter, 800 is right": told(lambda: counter(make())),  # noqa: B023 - as above
            "largest TTL error at 0.5 s, ms": told(lambda: expiry_error_ms(make())),  # noqa: B023 - as above
        }
    found["MemoryStore"]["keys left after expiry"] = keys_after_expiry(url)
    return found


def told(probe: Callable[[], Any]) -> Any:
    """The figure, or the error a peer raised instead."""
    try:
        return probe()
    except Exception as error:  # noqa: BLE001 - a peer that fails is a finding
        return f"raises {type(error).__name__}"


def show(title: str, found: dict[str, dict[str, Any]]) -> None:
    """A table of one column a store."""
    names = dict.fromkeys(name for part in found.values() for name in part)
    rows = [{"": name, **{s: part.get(name) for s, part in found.items() if s}} for name in names]
    if list(found) == [""]:
        rows = [{"": name, "MemoryStore": figure} for name, figure in found[""].items()]
    print_table(title, rows)
