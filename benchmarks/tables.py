"""How every benchmark prints and keeps its figures."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def timed(action: Callable[[], object], rounds: int, *, warm: int = 1) -> list[float]:
    """Seconds of each of `rounds` calls, after `warm` uncounted ones."""
    found = []
    for index in range(warm + rounds):
        start = time.perf_counter()
        action()
        if index >= warm:
            found.append(time.perf_counter() - start)
    return found


def interleaved(
    actions: Mapping[str, Callable[[], object]], rounds: int, *, warm: int = 1
) -> dict[str, list[float]]:
    """Seconds of each action, taken in turn so that a drifting machine meets all alike."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for index in range(warm + rounds):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if index >= warm:
                found[name].append(time.perf_counter() - start)
    return found


def machine(*packages: str) -> dict[str, Any]:
    """What the figures were taken on: day, cores, load, Python and package versions."""
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
    }


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that share their keys, numbers to the right."""
    table = Table(title=title, title_justify="left", header_style="bold")
    columns = list(rows[0]) if rows else []
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_shown(row.get(column)) for column in columns))
    Console(width=None if os.isatty(1) else 140).print(table)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)


def _merged(known: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    tables = {
        name: {**known[name], **fresh[name]}
        for name in ("tables", "measured on")
        if name in known and name in fresh
    }
    return {**known, **fresh, **tables}


def write_json(name: str, payload: Mapping[str, Any]) -> Path:
    """Keep a benchmark's figures as `results/NAME.json`; parts not measured this time stay."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    measured = dict.fromkeys(payload, payload.get("machine"))
    merged = _merged(known, {**payload, "measured on": measured})
    text = json.dumps(merged, indent=1, default=str)
    path.write_text(text + "\n", encoding="utf-8")
    return path
