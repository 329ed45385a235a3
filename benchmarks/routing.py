"""Routing: quality, labels needed, drift, decision time, budgets, switching and faults.

`--data FOLDER` names the folder of public data sets; without it the tables that need them are
left out. Every `FOLDER/routing/*_pair.csv.gz` is measured, so a set that nobody has seen can be
put beside the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import routing_budget, routing_faults, routing_quality, routing_switching
from benchmarks.setting import redis_url
from benchmarks.tables import machine, print_table, write_json
from plumbgraph import servers

USES_DATA = True
TITLES = {
    "quality": "Routing between two models, five-fold (peer: RouteLLM's best published figure)",
    "labels": "How many labels it takes",
    "strangers": "Where the labels are of other tasks: no router travels well",
    "drift": "Thresholds that live with the traffic",
    "decision": "One decision",
    "switching": "Changing the model in mid-thread, replayed with prompt-cache prices",
    "faults": "A primary that fails over real HTTP",
    "budget": "Budgets under many clients, two of eight processes killed",
}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of public data sets")
    parser.add_argument("--only", nargs="*", help=f"any of: {', '.join(TITLES)}")
    asked, _ = parser.parse_known_args(argv)
    wanted = set(asked.only or TITLES)
    tables: dict[str, Any] = {}
    if asked.data and (parts := wanted & set(routing_quality.PARTS)):
        tables |= routing_quality.measure(asked.data, parts)
    if asked.data and "switching" in wanted:
        tables["switching"] = routing_switching.measure(asked.data)
    if "faults" in wanted:
        tables["faults"] = routing_faults.measure()
    if "budget" in wanted:
        url = redis_url()
        if url:
            tables["budget"] = routing_budget.measure(url)
        else:
            with servers.up() as up:
                tables["budget"] = routing_budget.measure(up.redis_url)
    for name, rows in tables.items():
        print_table(TITLES[name], rows)
    payload = {"machine": machine("langgraph", "numpy"), "tables": tables}
    write_json("routing", payload)
    return payload


if __name__ == "__main__":
    main()
