"""What the saver stores, writes and takes, beside LangGraph's other savers in the same run."""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.setting import postgres_url, stack_url
from benchmarks.state_far import threads, window
from benchmarks.state_gates import gates
from benchmarks.state_kit import into_docs, kit
from benchmarks.state_long import long_threads
from benchmarks.state_peers import PG, US, Peer, Rows, config, graph, peers, run, start
from benchmarks.tables import machine, median, print_table, write_json
from plumbgraph.state import PlumbSaver

if TYPE_CHECKING:
    from collections.abc import Callable


def wal_mb(connection: psycopg.Connection[Any]) -> float:
    """Megabytes of write-ahead log so far."""
    row = connection.execute("SELECT (pg_current_wal_lsn() - '0/0')::float8").fetchone()
    assert row is not None
    return float(row[0]) / 1e6


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
    with (
        peers(url, redis_url, wide=True) as found,
        psycopg.connect(url, autocommit=True) as connection,
    ):
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


def growth(url: str, lengths: tuple[int, ...]) -> Rows:
    """Bytes and log of ever longer runs; a saver that stores lists whole would take hours."""
    rows: Rows = []
    for steps in lengths:
        with peers(url, None) as found, psycopg.connect(url, autocommit=True) as connection:
            peer = found[US]
            _ = peer.saver
            before = wal_mb(connection)
            ms = run(peer, "t", steps)
            assert peer.weigh is not None
            row = {"saver": US, "steps": steps, "stored MB": peer.weigh()}
            rows.append({**row, "WAL MB": wal_mb(connection) - before, "ms/step": ms})
    for shorter, row in itertools.pairwise(rows):
        more = row["stored MB"] / shorter["stored MB"]
        row["exponent"] = math.log(more) / math.log(row["steps"] / shorter["steps"])
    return rows


def speed(url: str, redis_url: str | None, rounds: int) -> Rows:
    """Milliseconds a step and of each read, savers taken in turn."""
    with peers(url, redis_url, wide=True) as found:
        steps: dict[str, list[float]] = {name: [] for name in found}
        for at in range(rounds):
            for name, peer in found.items():
                steps[name].append(run(peer, f"t{at}"))
        reads = _reads(found, rounds)
    rows = [{"saver": name, "ms/step": median(steps[name]), **reads[name]} for name in found]
    return _with_ratios(rows, *(key for key in rows[0] if key != "saver"))


def _reads(found: dict[str, Peer], rounds: int) -> dict[str, dict[str, float]]:
    middle = {name: peer.list(config("t0"), 100)[-1].config for name, peer in found.items()}
    kinds: dict[str, tuple[Callable[[Peer], object], bool]] = {
        "get hot": (lambda peer: peer.get(config("t0")), False),
        "get cold": (lambda peer: peer.get(config("t0")), True),
        "mid cold": (lambda peer: peer.get(middle[peer.name]), True),
        "list(10)": (lambda peer: peer.list(config("t0"), 10), True),
    }
    out: dict[str, dict[str, float]] = {name: {} for name in found}
    for kind, (act, cold) in kinds.items():
        times: dict[str, list[float]] = {name: [] for name in found}
        for at in range(max(9, rounds * 3) + 6):
            for name, peer in found.items():
                if cold and isinstance(peer.saver, PlumbSaver):
                    peer.saver.forget()
                began = time.perf_counter()
                act(peer)
                times[name] += [time.perf_counter() - began] if at > 5 else []
        for name, values in times.items():
            out[name][kind] = median(values) * 1000
    return out


def lists(url: str, size: int = 2000, rounds: int = 5) -> Rows:
    """Milliseconds of `list(10)` on a long thread."""
    rows: Rows = []
    with peers(url, None) as found:
        for name, peer in found.items():
            peer.invoke(graph(peer.saver, 12), start(count=size), "long")
            taken = []
            for _ in range(rounds):
                if isinstance(peer.saver, PlumbSaver):
                    peer.saver.forget()
                began = time.perf_counter()
                peer.list(config("long"), 10)
                taken.append((time.perf_counter() - began) * 1000)
            rows.append({"saver": name, f"list(10) of {size} ms": median(taken)})
    return _with_ratios(rows, f"list(10) of {size} ms")


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
    parser.add_argument("--page", type=Path, help="docs page to put the kit's table into")
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
        "growth": lambda: growth(url, (500, 1000, 2000)),
        "threads": lambda: threads(url, asked.redis, (0, 2, 10)),
        "kit": lambda: kit(url, asked.redis),
        "window": lambda: window(url),
        "long": lambda: long_threads(url, asked.redis, (100, 2000, 5000)),
        "lists": lambda: lists(url),
        "gates": lambda: gates(url, asked.rounds),
    }
    if asked.full:
        parts["volume 2000"] = lambda: volume(url, None, "messages", 2000)
    results: dict[str, Any] = {}
    for name, part in parts.items():
        if asked.only and name.split()[0] not in asked.only and name not in asked.only:
            continue
        results[name] = part()
        print_table(name, results[name])
    if asked.page and "kit" in results:
        into_docs(results["kit"], asked.page)
    write_json(
        "state", {"machine": machine("langgraph", "langgraph-checkpoint-postgres"), **results}
    )


if __name__ == "__main__":
    main()
