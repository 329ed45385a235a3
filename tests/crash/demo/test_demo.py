from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.cli.demo_proof import CALL_ID, Row, database_claims, log_claims, timeline
from plumbgraph.tracing import read_log


def test_the_demo_kills_resumes_and_proves(tmp_path: Path) -> None:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("PLUMBGRAPH_")
    }
    done = subprocess.run(
        [sys.executable, "-m", "plumbgraph.cli", "demo", "--keep", "--kill-step", "8"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert "in the middle of step 8: exit status -9" in done.stdout
    assert "Nothing was lost, nothing ran twice." in done.stdout
    assert "✗" not in done.stdout.partition("proof")[2]
    (folder,) = tmp_path.glob("plumbgraph-demo-*")
    assert "What we promised" in (folder / "workspace" / "report.md").read_text()
    check_log(folder / "events.jsonl")
    assert not _server_processes(folder)


def check_log(path: Path) -> None:
    """The proof once more, in other words than the demo's own."""
    by_process: dict[int, list[dict[str, Any]]] = {}
    for record in read_log(path):
        by_process.setdefault(record["pid"], []).append(record)
    first, second = by_process.values()
    assert "run.ended" not in {record["event"] for record in first}
    assert second[-1]["status"] == "done"
    finished = {record["step"] for record in first if record["event"] == "node.ended"}
    begun = {record["step"] for record in second if record["event"] == "node.started"}
    assert finished == set(range(1, max(finished) + 1))
    assert finished & begun == set()
    assert finished | begun == set(range(1, 30))


def _server_processes(folder: Path) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words:
            found.append(words.decode(errors="replace"))
    return found


def event(name: str, step: int, pid: int, **more: Any) -> dict[str, Any]:
    return {"event": name, "step": step, "pid": pid, "node": "n", "duration_ms": 1.0, **more}


GOOD = [
    event("node.started", 1, 10),
    event("tool.ended", 1, 10, **{CALL_ID: "a"}),
    event("node.ended", 1, 10),
    event("node.started", 2, 10),
    event("node.started", 2, 20),
    event("node.ended", 2, 20),
]


def claims(records: list[dict[str, Any]]) -> list[bool]:
    rows = timeline(records, 10, 20)
    return [claim.holds for claim in log_claims(records, rows)]


def test_the_proof_holds_for_a_true_story() -> None:
    assert claims(GOOD) == [True, True]
    assert timeline(GOOD, 10, 20) == [
        Row(1, "n", 1.0, None, cut=False),
        Row(2, "n", None, 1.0, cut=True),
    ]


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ([event("node.started", 1, 20), event("node.ended", 1, 20)], [False, True]),
        ([event("tool.ended", 2, 20, **{CALL_ID: "a"})], [True, False]),
        ([event("node.started", 3, 10)], [False, True]),
    ],
)
def test_the_proof_fails_when_something_ran_twice_or_was_dropped(
    added: list[dict[str, Any]], expected: list[bool]
) -> None:
    assert claims([*GOOD, *added]) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 0, "b": 1}, {"a": 0, "b": 1, "c": 2}, [True, True]),
        ({"a": 0, "b": 1}, {"a": 0, "x": 1, "c": 2}, [False, True]),
        ({"a": 0}, {"a": 0, "c": 2}, [False, True]),
        ({"a": 0, "b": 1}, {"a": 0, "b": 1, "c": 1}, [True, False]),
        ({"a": 0, "b": 1}, {"a": 0, "b": 1}, [True, False]),
    ],
)
def test_the_database_must_agree(
    before: dict[str, int], after: dict[str, int], expected: list[bool]
) -> None:
    rows = [Row(1, "n", 1.0, None, cut=False), replace(Row(2, "n", None, 1.0, cut=True))]
    assert [claim.holds for claim in database_claims(before, after, rows)] == expected
