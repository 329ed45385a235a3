"""matplotlib, found when a plot is asked for, with the few habits all plots share."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any

from plumbgraph.errors import MissingExtra

INK = {"good": "#1a7f4b", "wait": "#c08a12", "bad": "#c2362b", "loop": "#7a4fd0", "line": "#2266cc"}


class Picture:
    """A plot that a notebook displays, with or without its own matplotlib set-up.

    Attributes:
        figure: The matplotlib figure.
    """

    def __init__(self, figure: Any) -> None:
        self.figure = figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file; the ending says in which format."""
        self.figure.savefig(path)

    def _repr_png_(self) -> bytes:
        data = BytesIO()
        self.figure.savefig(data, format="png", dpi=110)
        return data.getvalue()


def figure(rows: int = 1, *, height: float = 2.4, heights: list[float] | None = None) -> Any:
    """A figure and its axes, below one another, not registered with pyplot.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise MissingExtra("Plots need matplotlib.", extra="notebook") from fault
    made = Figure(figsize=(9.0, height * rows), layout="constrained")
    FigureCanvasAgg(made)
    ratios = heights or [1.0] * rows
    axes = made.subplots(rows, 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    return made, list(axes)
