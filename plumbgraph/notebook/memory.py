"""A memory's history as a picture: which value held when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from plumbgraph.clock import SYSTEM
from plumbgraph.notebook.axes import INK, Picture, figure

_CHARS = 60


def memory_versions(history: Sequence[Any], *, now: datetime | None = None) -> Picture:
    """One bar a version, from when it was written to when it was superseded.

    Args:
        history: What `MemoryStore.history(namespace, key)` gave.
        now: Where bars end that are still current.
    """
    history = sorted(history, key=lambda version: version.at)
    until = now or datetime.fromtimestamp(SYSTEM.now(), UTC)
    made, (axes,) = figure(height=max(1.4, 0.45 * len(history) + 0.8))
    for row, version in enumerate(history):
        end = version.superseded_at or until
        gone = version.value is None
        current = version.superseded_at is None
        color = INK["bad"] if gone else INK["good"] if current else INK["line"]
        width = max((end - version.at).total_seconds(), 0.0)
        began = (version.at - history[0].at).total_seconds()
        axes.barh(row, width, left=began, color=color, height=0.6, alpha=0.85)
        axes.text(began, row, f" v{version.version}  {_said(version)}", va="center", fontsize=8)
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds since {history[0].at:%Y-%m-%d %H:%M:%S} UTC" if history else "")
    return Picture(made)


def _said(version: Any) -> str:
    if version.value is None:
        return str(version.kind)
    told = version.value.get("value", version.value) if isinstance(version.value, dict) else ""
    text = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False, default=str)
    return text if len(text) <= _CHARS else f"{text[: _CHARS - 1]}…"
