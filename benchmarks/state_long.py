"""Long threads: resuming them, and what a step at their end takes."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.state_peers import PG, US, Peer, Rows, config, graph, peers, start
from plumbgraph.state import PlumbSaver


def long_threads(
    url: str, redis_url: str | None, sizes: tuple[int, ...], steps: int = 30, rounds: int = 3
) -> Rows:
    """Resuming a long thread in an emptied process, and steps at its end.

    Every thread is seeded with all its messages in one input: a saver whose steps cost what the
    thread's length is could not be brought there step by step in reasonable time.
    """
    rows: Rows = []
    with peers(url, redis_url, wide=True) as found:
        for size in sizes:
            known = {"none": None, **found}
            if size > 2000:
                known = {name: known[name] for name in ("none", "InMemorySaver", PG, US)}
            rows += [_long(name, peer, size, steps, rounds) for name, peer in known.items()]
            base = next(row for row in rows if row["messages"] == size and row["saver"] == PG)
            for row in rows:
                if row["messages"] == size and row["saver"] != "none":
                    row["resume x pg"] = row["resume + 1 step ms"] / base["resume + 1 step ms"]
                    row["ms/step x pg"] = row["ms/step"] / base["ms/step"]
    for row in rows:
        row["growth beyond the graph's own"] = _growth(rows, row, sizes[0])
    return rows


def _long(name: str, peer: Peer | None, size: int, steps: int, rounds: int) -> dict[str, Any]:
    resumed, taken = [], []
    for at in range(rounds):
        thread = f"long{size}-{at}"
        if peer is None:
            began = time.perf_counter()
            graph(None, steps).invoke(start(count=size), config(thread))
            taken.append((time.perf_counter() - began) / steps * 1000)
            continue
        peer.invoke(graph(peer.saver, 1), start(count=size), thread)
        if isinstance(peer.saver, PlumbSaver):
            peer.saver.forget()
        began = time.perf_counter()
        peer.invoke(graph(peer.saver, 1), {"n": 0}, thread)
        resumed.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        peer.invoke(graph(peer.saver, steps), {"n": 0}, thread)
        taken.append((time.perf_counter() - began) / steps * 1000)
    return {
        "messages": size,
        "saver": name,
        "resume + 1 step ms": sorted(resumed)[len(resumed) // 2] if resumed else None,
        "ms/step": sorted(taken)[len(taken) // 2],
    }


def _growth(rows: Rows, row: dict[str, Any], first: int) -> float | None:
    """What a saver adds to a step here over what it adds on the shortest thread."""
    if row["saver"] == "none" or row["messages"] == first:
        return None
    own = {r["messages"]: r["ms/step"] for r in rows if r["saver"] == "none"}
    mine = {r["messages"]: r["ms/step"] for r in rows if r["saver"] == row["saver"]}
    if first not in mine:
        return None
    here = row["messages"]
    return float((mine[here] - own[here]) / (mine[first] - own[first]))
