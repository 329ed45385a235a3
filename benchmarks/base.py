"""Import time of the package, and what the plan driver costs an operation."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any

from benchmarks.tables import machine, median, print_table, write_json
from plumbgraph.plan import run


def _import_ms() -> float:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import plumbgraph"],
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(row for row in done.stderr.splitlines() if row.rstrip().endswith(" plumbgraph"))
    return int(line.split("|")[1]) / 1000


def _send(batch: int) -> int:
    return batch + 1


def _plan() -> Generator[int, int, int]:
    first = yield 1
    return (yield first)


def _by_hand() -> int:
    return _send(_send(1))


def _microseconds(times: int = 50_000) -> tuple[float, float]:
    start = time.perf_counter()
    for _ in range(times):
        run(_plan(), _send)
    middle = time.perf_counter()
    for _ in range(times):
        _by_hand()
    end = time.perf_counter()
    return (middle - start) / times * 1e6, (end - middle) / times * 1e6


def main(argv: list[str] | None = None) -> dict[str, Any]:  # noqa: ARG001 - all take arguments
    """Print and keep the figures."""
    imports = [_import_ms() for _ in range(9)]
    pairs = [_microseconds() for _ in range(5)]
    driver = median([plan - hand for plan, hand in pairs])
    rows = [
        {"figure": "import plumbgraph, ms", "ours": round(median(imports), 2), "target": "≤ 60"},
        {
            "figure": "plan driver over hand-written calls, µs an operation of two trips",
            "ours": round(driver, 2),
            "target": "≤ 10",
        },
    ]
    print_table("The base", rows)
    payload = {"machine": machine("langgraph"), "rows": rows}
    write_json("base", payload)
    return payload


if __name__ == "__main__":
    main()
