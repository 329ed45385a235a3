"""The router's report as a picture: scores that were lived beside those benchmarks promised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plumbgraph.notebook.axes import INK, Picture, figure


def router_report(rows: Sequence[Any]) -> Picture:
    """One line a task and model: the lived mean score, its 95 % interval, and the benchmark.

    Where the benchmark lies outside of the interval, it does not speak for the task: red.

    Args:
        rows: What `plumbgraph.routing.report.tasks` gave.
    """
    made, (axes,) = figure(height=max(1.4, 0.4 * len(rows) + 0.9))
    for place, row in enumerate(rows):
        color = INK["bad"] if row.flagged else INK["good"]
        axes.plot([row.low, row.high], [place, place], color=color, lw=5, alpha=0.35)
        axes.plot(row.lived, place, "o", color=color, ms=7)
        if row.benchmark is not None:
            axes.plot(row.benchmark, place, "|", color=INK["line"], ms=16, mew=2)
        axes.annotate(f"n={row.count}", (1.0, place), fontsize=7, va="center")
    axes.set_yticks(range(len(rows)), [f"{row.task} · {row.model}" for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.08)
    axes.set_xlabel("score: dot lived, bar its interval, blue line the benchmark")
    return Picture(made)
