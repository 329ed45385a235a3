"""What the saver stores, writes and takes, beside LangGraph's other savers in the same run."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import psycopg
from langgraph.checkpoint.base import empty_checkpoint
from psycopg.conninfo import conninfo_to_dict

from benchmarks.setting import postgres_url, stack_url
from benchmarks.state_peers import TEXTS, Peer, behind, config, graph, peers, start
from benchmarks.tables import interleaved, machine, median, print_table, write_json
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import check_saver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = 200
PG, US = "PostgresSaver", "PlumbSaver"
Rows = list[dict[str, Any]]


def wal_mb(connection: psycopg.Connection[Any]) -> float:
    """Megabytes of write-ahead log so far."""
    row = connection.execute("SELECT (pg_current_wal_lsn() - '0/0')::float8").fetchone()
    assert row is not None
    return float(row[0]) / 1e6


def run(peer: Peer, thread: str, steps: int = STEPS, kind: str = "messages") -> float:
    """Milliseconds a step of one synchronous, durable run."""
    made, value = graph(peer.saver, steps, kind), start(kind)
    began = time.perf_counter()
    made.invoke(value, config(thread), durability="sync")
    return (time.perf_counter() - began) / steps * 1000


def _ratio(row: dict[str, Any], base: dict[str, Any], key: str) -> float | None:
    return row[key] / base[key] if row.get(key) and base.get(key) else None


def _with_ratios(rows: Rows, *keys: str) -> Rows:
    base = next(row for row in rows if row["saver"] == PG)
    for row in rows:
        for key in keys:
            row[f"{key} x pg"] = _ratio(row, base, key)
    return rows


def volume(url: str, redis_url: str | None, kind: str, steps: int) -> Rows:
    """Bytes kept, log written and time of one run on an empty saver."""
    rows: Rows = []
    with peers(url, redis_url) as found, psycopg.connect(url, autocommit=True) as connection:
        for peer in found.values():
            _ = peer.saver
            before, size = wal_mb(connection), peer.weigh() if peer.weigh else None
            ms = run(peer, "t", steps, kind)
            after = peer.weigh() if peer.weigh else None
            stored = after if peer.schema or size is None or after is None else after - size
            rows.append(
                {
                    "saver": peer.name,
                    "stored MB": stored,
                    "WAL MB": wal_mb(connection) - before if peer.schema else None,
                    "ms/step": ms,
                }
            )
    return _with_ratios(rows, "stored MB", "WAL MB")


def speed(url: str, redis_url: str | None, rounds: int) -> Rows:
    """Milliseconds a step and of each read, savers taken in turn."""
    with peers(url, redis_url) as found:
        steps: dict[str, list[float]] = {name: [] for name in found}
        for at in range(rounds):
            for name, peer in found.items():
                steps[name].append(run(peer, f"t{at}"))
        reads = _reads(found, rounds)
    rows = [{"saver": name, "ms/step": median(steps[name]), **reads[name]} for name in found]
    return _with_ratios(rows, *(key for key in rows[0] if key != "saver"))


def _reads(found: dict[str, Peer], rounds: int) -> dict[str, dict[str, float]]:
    middle = {
        name: list(peer.saver.list(config("t0"), limit=100))[-1].config
        for name, peer in found.items()
    }

    def cold(peer: Peer, action: Callable[[Any], object]) -> Callable[[], object]:
        def act() -> object:
            if isinstance(peer.saver, PlumbSaver):
                peer.saver.forget()
            return action(peer.saver)

        return act

    kinds: dict[str, Callable[[Peer], Callable[[], object]]] = {
        "get hot": lambda p: lambda: p.saver.get_tuple(config("t0")),
        "get cold": lambda p: cold(p, lambda s: s.get_tuple(config("t0"))),
        "mid cold": lambda p: cold(p, lambda s: s.get_tuple(middle[p.name])),
        "list(10)": lambda p: cold(p, lambda s: list(s.list(config("t0"), limit=10))),
    }
    out: dict[str, dict[str, float]] = {name: {} for name in found}
    for kind, make in kinds.items():
        times = interleaved({n: make(p) for n, p in found.items()}, max(9, rounds * 3), warm=6)
        for name, values in times.items():
            out[name][kind] = median(values) * 1000
    return out


def threads(url: str, delays: tuple[int, ...], count: int = 16, steps: int = 40) -> Rows:
    """Steps a second of 16 threads in one process, with the database further and further away."""
    rows: Rows = []
    for delay in delays:
        with _away(url, delay) as near, peers(near, None) as found:
            for name in ("InMemorySaver", PG, US):
                peer = found[name]
                if name == US:
                    peer.opened.append(
                        PlumbSaver(near, schema=str(peer.schema), adopt="off", pool_max=16)
                    )
                with ThreadPoolExecutor(count) as pool:
                    list(pool.map(lambda at, p=peer: run(p, f"warm{at}", 8), range(count)))
                    began = time.perf_counter()
                    list(pool.map(lambda at, p=peer: run(p, f"t{at}", steps), range(count)))
                    taken = time.perf_counter() - began
                rows.append(
                    {"round trip ms": delay, "saver": name, "steps/s": count * steps / taken}
                )
                if name == US:
                    peer.saver.close()
    return rows


def window(url: str, delay: int = 30, branches: int = 12, rounds: int = 8) -> Rows:
    """How long finished parallel branches are not yet stored, the database far away."""
    rows: Rows = []
    with _away(url, delay) as far, peers(far, None) as found:
        for name in (PG, US):
            saver = found[name].saver
            if name == US:
                saver = PlumbSaver(far, schema=str(found[US].schema), adopt="off", pool_max=16)
            waits: list[float] = []
            with ThreadPoolExecutor(branches) as pool:
                for at in range(rounds):
                    head = saver.put(config(f"w{at}"), empty_checkpoint(), {"step": 0}, {})
                    began = time.perf_counter()

                    def note(
                        task: int, head: Any = head, began: float = began, saver: Any = saver
                    ) -> float:
                        saver.put_writes(head, [("messages", TEXTS[task])], f"task-{task}")
                        return time.perf_counter() - began

                    waits += pool.map(note, range(branches)) if at > 1 else []
                    list(pool.map(note, range(branches)))
            waits.sort()
            rows.append(
                {
                    "saver": name,
                    "median ms": waits[len(waits) // 2] * 1000,
                    "longest ms": waits[-1] * 1000,
                }
            )
            if name == US:
                saver.close()
    return rows


def _opened(peer: Peer) -> Callable[[], Any]:
    return lambda: nullcontext(peer.saver)


def kit(url: str, redis_url: str | None) -> Rows:
    """What `check_saver` says of each saver, probe by probe."""
    with peers(url, redis_url) as found:
        reports = {name: check_saver(_opened(peer)) for name, peer in found.items()}
    rows: Rows = []
    for at, finding in enumerate(reports[US].findings):
        outcomes = {name: report.findings[at].outcome for name, report in reports.items()}
        rows.append({"probe": finding.probe, **outcomes})
    for name, report in reports.items():
        for each in report.failures:
            print(f"{name}: {each.probe}: {each.reason}")
    return rows


@contextmanager
def _away(url: str, delay_ms: int) -> Iterator[str]:
    if not delay_ms:
        yield url
        return
    parts = conninfo_to_dict(url)
    command = [
        sys.executable,
        "-m",
        "benchmarks.state_proxy",
        str(parts.get("host", "127.0.0.1")),
        str(parts.get("port", 5432)),
        str(delay_ms),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield behind(url, int(proxy.stdout.readline()))
        finally:
            proxy.terminate()


def long_threads(url: str, sizes: tuple[int, ...], steps: int = 30) -> Rows:
    """Resuming a long thread in an emptied process, and what a step at its end takes."""
    rows: Rows = []
    with peers(url, None) as found:
        for size in sizes:
            for name in ("none", "InMemorySaver", PG, US):
                peer = found.get(name)
                saver = peer.saver if peer else None
                sync: Any = {"durability": "sync"} if peer else {}
                first = graph(saver, 1)
                thread = config(f"long{size}")
                first.invoke(start(count=size), thread, **sync)
                if isinstance(saver, PlumbSaver):
                    saver.forget()
                began = time.perf_counter()
                value = {"n": 0} if peer else start(count=size)
                graph(saver, 1).invoke(value, thread, **sync)
                resumed = (time.perf_counter() - began) * 1000
                began = time.perf_counter()
                graph(saver, steps).invoke(value, thread, **sync)
                step = (time.perf_counter() - began) / steps * 1000
                rows.append(
                    {
                        "messages": size,
                        "saver": name,
                        "resume + 1 step ms": resumed,
                        "ms/step": step,
                    }
                )
    return rows


async def asynchronous(url: str, rounds: int) -> Rows:
    """Milliseconds a step of asynchronous runs."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg_pool import AsyncConnectionPool

    rows: Rows = []
    with peers(url, None) as found:
        async with AsyncExitStack() as stack:
            schema = found[PG].schema
            _ = found[PG].saver
            options = {
                "autocommit": True,
                "prepare_threshold": 0,
                "options": f"-csearch_path={schema}",
            }
            pool = await stack.enter_async_context(
                AsyncConnectionPool(url, min_size=1, max_size=16, kwargs=options)
            )
            ours = await stack.enter_async_context(
                PlumbSaver(url, schema=str(found[US].schema), adopt="off")
            )
            either: Any = pool
            savers: dict[str, Any] = {"AsyncPostgresSaver": AsyncPostgresSaver(either), US: ours}
            times: dict[str, list[float]] = {name: [] for name in savers}
            for at in range(rounds):
                for name, saver in savers.items():
                    began = time.perf_counter()
                    await graph(saver, STEPS).ainvoke(start(), config(f"a{at}"), durability="sync")
                    times[name].append((time.perf_counter() - began) / STEPS * 1000)
    for name, values in times.items():
        rows.append({"saver": name, "ms/step": median(values)})
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(prog="benchmarks state", description=__doc__)
    parser.add_argument("--postgres", default=postgres_url())
    parser.add_argument(
        "--redis", default=stack_url(), help="URL of a Redis with search and JSON modules"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="names of parts")
    parser.add_argument("--full", action="store_true", help="2,000-step runs as well")
    asked = parser.parse_args(arguments)
    if asked.postgres is None:
        from plumbgraph import servers

        with servers.up() as up:
            _all(asked, up.postgres_url)
    else:
        _all(asked, asked.postgres)


def _all(asked: argparse.Namespace, url: str) -> None:
    parts: dict[str, Callable[[], Rows]] = {
        "speed": lambda: speed(url, asked.redis, asked.rounds),
        "volume 200": lambda: volume(url, asked.redis, "messages", 200),
        "volume 400": lambda: volume(url, asked.redis, "messages", 400),
        "delta 200": lambda: volume(url, asked.redis, "deltas", 200),
        "delta 400": lambda: volume(url, asked.redis, "deltas", 400),
        "files 200": lambda: volume(url, asked.redis, "files", 200),
        "async": lambda: asyncio.run(asynchronous(url, asked.rounds)),
        "threads": lambda: threads(url, (0, 2, 10)),
        "kit": lambda: kit(url, asked.redis),
        "window": lambda: window(url),
        "long": lambda: long_threads(url, (100, 2000, 5000)),
    }
    if asked.full:
        parts["volume 2000"] = lambda: volume(url, None, "messages", 2000)
    results: dict[str, Any] = {}
    for name, part in parts.items():
        if asked.only and name.split()[0] not in asked.only and name not in asked.only:
            continue
        results[name] = part()
        print_table(name, results[name])
    write_json(
        "state", {"machine": machine("langgraph", "langgraph-checkpoint-postgres"), **results}
    )


if __name__ == "__main__":
    main()
