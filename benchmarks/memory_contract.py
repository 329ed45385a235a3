"""What the conformance kit says of each store; `--only contract` prints the table of docs."""

from __future__ import annotations

from typing import Any

from benchmarks.memory_peers import Makers
from plumbgraph.testing import check_store


def measure(makers: Makers) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, make in makers.items():
        report = check_store(make)
        groups = dict.fromkeys(check.group for check in report.checks)
        told: dict[str, Any] = {}
        for group in groups:
            passed, failed, skipped = report.count(group)
            told[group] = "none" if skipped == passed + failed + skipped else _share(passed, failed)
        told["failed"] = [check.name for check in report.failed]
        found[name] = told
    return found


def _share(passed: int, failed: int) -> str:
    return f"{passed} of {passed + failed}"


def show(found: dict[str, dict[str, Any]]) -> None:
    """The table in Markdown, ready for a page."""
    names = list(found)
    groups = [group for group in found[names[0]] if group != "failed"]
    print(f"| checks of | {' | '.join(names)} |")
    print(f"|---|{'---|' * len(names)}")
    for group in groups:
        print(f"| {group} | {' | '.join(found[name][group] for name in names)} |")
    for name in names:
        for check in found[name]["failed"]:
            print(f"- {name} fails: {check}")
