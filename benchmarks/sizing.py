"""What a thread, a step, an effect, a memory and a skill cost, and how that grows to a million.

    python -m benchmarks sizing            measure, keep results/sizing.json
    python -m benchmarks.sizing --page     write the tables into docs/sizing.md

Every row says how it was found: `measured` (made through the library), `simulated` (real rows in
real servers, copied by SQL from measured ones), `computed` (the measured cost times the number).
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import sizing_memory, sizing_skills, sizing_state
from benchmarks.tables import RESULTS, machine, print_table, write_json
from plumbgraph import servers
from plumbgraph.settings import Settings

PAGE = Path(__file__).parent.parent / "docs" / "sizing.md"
PACKAGES = ("langgraph", "psycopg", "redis")
PARTS: dict[str, Callable[[Any, int], list[dict[str, Any]]]] = {
    "threads": sizing_state.threads,
    "steps of one thread": sizing_state.steps,
    "effects": sizing_state.effects,
    "memories": sizing_memory.memories,
    "skills": sizing_skills.skills,
}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part alone")
    parser.add_argument("--most", type=int, default=10**6, help="how far up to go")
    parser.add_argument("--busy", action="store_true", help="say that others use the machine too")
    parser.add_argument("--page", action="store_true", help="only write docs/sizing.md")
    asked = parser.parse_args(argv if argv is not None else [])
    if asked.page:
        PAGE.write_text(filled(PAGE.read_text(), json.loads(_results().read_text())))
        return {}
    payload: dict[str, Any] = {"machine": machine(*PACKAGES)}
    for name in asked.only or PARTS:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
            _own_servers(Path(home)) as endpoints,
        ):
            rows = PARTS[name](endpoints, asked.most)
        for row in rows if asked.busy else ():
            row["how"] = row["how"].replace("measured", "measured on a busy machine")
        print_table(f"Sizing: {name}", rows)
        payload[name] = rows
        write_json("sizing", {name: rows, "machine": payload["machine"]})
    return payload


def _own_servers(home: Path) -> Any:
    """Fresh servers, so that sizes are those of what was just written."""
    settings = Settings.load(postgres_url=None, redis_url=None)
    roomy = {"maxmemory": "8gb"}
    return servers.up(
        home, tune="test", settings=settings, grace_s=0, timeout_s=60, valkey_settings=roomy
    )


def _results() -> Path:
    return RESULTS / "sizing.json"


def filled(page: str, payload: dict[str, Any]) -> str:
    """The page with each `<!-- figures: NAME -->` … `<!-- end -->` holding its table."""

    def put(found: re.Match[str]) -> str:
        name = found["name"]
        body = taken_on(payload) if name == "machine" else table(payload[name])
        return f"<!-- figures: {name} -->\n{body}\n<!-- end -->"

    pattern = r"<!-- figures: (?P<name>[^>]+?) -->.*?<!-- end -->"
    return re.sub(pattern, put, page, flags=re.DOTALL)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["--:" for _ in columns]]
    lines += [[shown(row.get(column)) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def taken_on(payload: dict[str, Any]) -> str:
    """What the figures were taken on, in one sentence."""
    told = payload["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in told["packages"].items())
    return (
        f"Taken on {told['day']}: {told['cores']} cores shared by both servers and the client, "
        f"{told['system']}, Python {told['python']}, {packages}."
    )


def shown(value: Any) -> str:
    """A figure as the page shows it: three digits that count."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
