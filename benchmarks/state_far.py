"""The savers with the database further and further away: throughput, and what can be lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import empty_checkpoint
from psycopg.conninfo import conninfo_to_dict

from benchmarks.state_peers import PG, TEXTS, US, Peer, Rows, behind, config, graph, peers, run
from benchmarks.state_peers import start as start_value
from plumbgraph.state import PlumbSaver

if TYPE_CHECKING:
    from collections.abc import Iterator


def threads(
    url: str, redis_url: str | None, delays: tuple[int, ...], count: int = 16, steps: int = 40
) -> Rows:
    """Steps a second of 16 threads in one process (of 16 tasks, for an asynchronous saver)."""
    rows: Rows = []
    for delay in delays:
        with _away(url, delay) as near, peers(near, redis_url if not delay else None) as found:
            ours = found[US]
            ours.opened.append(
                PlumbSaver(near, schema=str(ours.schema), adopt="off", pool_max=count)
            )
            base = 0.0
            for name, peer in found.items():
                run(peer, "first", 2)  # opens the saver, which not all do safely in 16 threads
                together(peer, "warm", count, 8)
                began = time.perf_counter()
                together(peer, "t", count, steps)
                rate = count * steps / (time.perf_counter() - began)
                base = rate if name == PG else base
                rows.append({"round trip ms": delay, "saver": name, "steps/s": rate})
            for row in rows[-len(found) :]:
                row["x pg"] = row["steps/s"] / base
            ours.saver.close()
    return rows


def together(peer: Peer, name: str, count: int, steps: int) -> None:
    """Run so many threads of a graph at a time."""
    if peer.loop is not None:
        made = graph(peer.saver, steps)

        async def all_of_them() -> None:
            runs = (
                made.ainvoke(start_value(), config(f"{name}{at}"), durability="sync")
                for at in range(count)
            )
            await asyncio.gather(*runs)

        peer.loop.run_until_complete(all_of_them())
        return
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda at: run(peer, f"{name}{at}", steps), range(count)))


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
