from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from typer.testing import CliRunner

from plumbgraph.cli.app import app
from plumbgraph.cli.demo_proof import (
    CALL_ID,
    Row,
    bill_claim,
    database_claims,
    effects_claim,
    files_claim,
    log_claims,
    messages_claim,
    plain_claim,
    timeline,
)
from plumbgraph.cli.demo_stage import pager
from plumbgraph.tracing import read_log


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The wheel, laid out as an installer does; wheels are archives of just that."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    zipfile.ZipFile(next(out.glob("*.whl"))).extractall(out / "site")
    return out / "site"


def test_the_demo_of_an_installed_wheel_tells_the_whole_story(
    tmp_path: Path, installed: Path
) -> None:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("PLUMBGRAPH_")
    }
    own = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "plumbgraph.cli", "demo", "--keep"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, **own},
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 200
    killed = re.search(r"in the middle of step (\d+); exit status -9", done.stdout)
    assert killed
    proof = done.stdout.partition("the proof")[2]
    assert f"only step {killed[1]}, cut off, ran anew" in proof
    assert "guard = " not in done.stdout
    assert "A note about 2025-04-17-labels-printed-twice.  → write_file, read_file\n" in done.stdout
    assert proof.count("✓") == 13
    assert "✗" not in proof
    assert "Nothing was lost, nothing ran twice." in proof
    (folder,) = tmp_path.glob("plumbgraph-demo-*")
    assert "What we promised" in (folder / "workspace" / "report.md").read_text()
    (page,) = folder.glob("*.html")
    html = page.read_text()
    assert html.count('class="yes"') == 13
    assert html.count('class="plumb-timeline"') == 3
    assert "looping" in html
    check_log(folder / "events.jsonl")
    assert not _server_processes(folder)


def test_the_exit_code_says_whether_it_was_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    for proven, code in ((True, 0), (False, 1)):
        told = {"proven": proven, "claims": [], "seconds": 1.0}
        monkeypatch.setattr("plumbgraph.cli.demo_play.play", lambda *_, told=told, **__: told)
        ended = CliRunner().invoke(app, ["demo", "--json"])
        assert ended.exit_code == code
        assert json.loads(ended.stdout) == told


def check_log(path: Path) -> None:
    """The proof once more, in other words than the demo's own."""
    by_process: dict[int, list[dict[str, Any]]] = {}
    for record in read_log(path):
        by_process.setdefault(record["pid"], []).append(record)
    first, second, _ = by_process.values()
    assert "run.ended" not in {record["event"] for record in first}
    assert second[-1]["status"] == "done"
    finished = {record["step"] for record in first if record["event"] == "node.ended"}
    begun = {record["step"] for record in second if record["event"] == "node.started"}
    assert finished == set(range(1, max(finished) + 1))
    assert finished & begun == set()
    assert finished | begun == set(range(1, max(begun) + 1))
    assert len(begun) > 10


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


B_AGAIN = event("tool.ended", 2, 20, **{CALL_ID: "b"})


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
        ([event("tool.ended", 1, 20, **{CALL_ID: "a"})], [True, False]),
        ([event("tool.ended", 2, 10, **{CALL_ID: "b"}), B_AGAIN], [True, True]),
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


def test_an_alert_counts_once_for_each_key() -> None:
    with pager() as outside:
        outside.released.set()
        for key in ("a", "a", "b", "", ""):
            post(outside.url, key)
    assert outside.requests == ["a", "a", "b", "", ""]
    assert len(outside.alerts) == 4


def post(url: str, key: str) -> None:
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    data = json.dumps({"text": f"alert {key}"}).encode()
    request = urllib.request.Request(url, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202


@pytest.mark.parametrize(
    ("requests", "alerts", "holds"),
    [
        (["a", "a", "b"], ["x", "y"], True),
        (["a", "b"], ["x", "y"], False),
        (["a", "a"], ["x", "x"], False),
        (["a", "", ""], ["x", "y", "z"], False),
    ],
)
def test_the_effects_must_agree(requests: list[str], alerts: list[str], holds: bool) -> None:  # noqa: FBT001 - a case's verdict
    assert effects_claim(requests, alerts).holds is holds


@pytest.mark.parametrize(
    ("charges", "logged", "calls", "holds"),
    [
        ({"a": 1000}, {"a": 1e-6}, 1, True),
        ({"a": 2000}, {"a": 1e-6}, 1, False),
        ({"a": 1000, "b": 1}, {"a": 1e-6}, 1, False),
        ({"a": 1000}, {}, 1, False),
        ({"a": 1000}, {"a": 1e-6}, 2, False),
    ],
)
def test_the_bill_must_agree(
    charges: dict[str, int],
    logged: dict[str, float],
    calls: int,
    holds: bool,  # noqa: FBT001 - a case's verdict
) -> None:
    assert bill_claim({"a": {"cost_usd": 1e-6}}, charges, logged, calls).holds is holds


def test_files_messages_and_the_plain_saver_must_agree() -> None:
    assert files_claim("d", "d", notes=2, documents=2, size=9).holds
    assert not files_claim("d", "e", notes=2, documents=2, size=9).holds
    assert not files_claim("d", "d", notes=1, documents=2, size=9).holds
    asks = AIMessage("", tool_calls=[{"name": "t", "args": {}, "id": "1"}])
    assert messages_claim([asks, ToolMessage("x", tool_call_id="1")]).holds
    assert not messages_claim([asks]).holds
    assert plain_claim(2, 2).holds
    assert not plain_claim(1, 2).holds
