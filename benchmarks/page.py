"""`python -m benchmarks.page`: write docs/benchmarks.md from the figures in benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
TITLES = {
    "base": "The base",
    "servers": "Embedded servers",
    "state": "State",
    "workspace": "Workspace",
    "workspace_crash": "Workspace and effects under kills",
    "memory": "Memory",
    "skills": "Skills",
    "routing": "Routing and budgets",
    "tracing": "Tracing",
    "tracing_guard": "Guard against loops",
    "whole": "The whole agent",
    "soak": "Soak",
    "sizing": "Sizing",
}
HEAD = """# Benchmarks

Made by `make bench DATA=folder`; no number on this page was typed by hand. Peers are measured in
the same run on the same machine, in turns, so that ratios mean more than milliseconds. A dash is a
figure that does not exist for that row. How each is measured stands in `benchmarks/`.
"""
APART = {"machine", "measured on", "tables", "targets"}
SHORT = 14


def page(results: Path = RESULTS) -> str:
    """The page for all results in a folder."""
    parts = [HEAD]
    for name, title in TITLES.items():
        path = results / f"{name}.json"
        if path.exists():
            parts.extend(_part(name, title, json.loads(path.read_text(encoding="utf-8"))))
    return "\n".join(parts)


def _part(name: str, title: str, payload: Mapping[str, Any]) -> Iterator[str]:
    command = f"python -m benchmarks{'.' if '_' in name else ' '}{name}"
    yield f"## {title}\n\n`{command}`\n"
    tables = {k: v for k, v in payload.items() if k not in APART} | payload.get("tables", {})
    for heading, content in tables.items():
        if rows := _rows(content):
            yield _table("" if heading == "rows" else heading, rows)
    yield from _machines(payload)


def _rows(content: object) -> list[dict[str, Any]]:
    """Rows of whatever a benchmark keeps as a table; nothing for raw samples."""
    if isinstance(content, list):
        return [row for row in content if isinstance(row, dict)]
    if not isinstance(content, dict) or not content:
        return []
    if all(isinstance(value, dict) for value in content.values()):
        return [{"": name, **value} for name, value in content.items() if value]
    if len(content) <= SHORT and not any(isinstance(v, list | dict) for v in content.values()):
        return [{"figure": name, "value": value} for name, value in content.items()]
    return []


def _table(heading: str, rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [
        _line(columns),
        _line(["--:" if _numeric(column, rows) else "---" for column in columns]),
        *(_line([_shown(row.get(column)) for column in columns]) for row in rows),
    ]
    above = [f"**{heading}**", ""] if heading else []
    return "\n".join([*above, *lines, ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _numeric(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    return all(isinstance(row.get(column), int | float | None) for row in rows)


def _shown(value: object) -> str:
    if value is None or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _machines(payload: Mapping[str, Any]) -> Iterator[str]:
    facts = [payload["machine"], *payload.get("measured on", {}).values()]
    told = []
    for fact in facts:
        if not isinstance(fact, dict):
            continue
        packages = ", ".join(f"{name} {version}" for name, version in fact["packages"].items())
        place = f"{fact['system']}, {fact['cores']} cores, Python {fact['python']}"
        told.append(f"{fact['day']}, {place}, {packages}")
    yield f"Measured {'; '.join(dict.fromkeys(told))}.\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}.")
