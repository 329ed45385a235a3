"""Trials of the benchmark of kills are measured in pieces, which add up."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tables, workspace_crash
from plumbgraph.testing.crash import Setting

WAY = "chain, exit"


class Told:
    """A report of three trials, in each of which one thing was asked."""

    def __init__(self, setting: Setting) -> None:
        self.kills = setting.kills
        self.trials: tuple[Any, ...] = ()

    def total(self, name: str) -> int:
        return self.kills if name == "asked" else 0


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for module in (tables, workspace_crash):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(workspace_crash, "servers_up", nullcontext)
    monkeypatch.setattr(workspace_crash, "postgres_url", lambda: "")
    monkeypatch.setattr(workspace_crash, "crashtest", Told)
    monkeypatch.setattr(workspace_crash, "machine", lambda *_: {})

    def told() -> dict[str, int]:
        found = json.loads((tmp_path / "workspace_crash.json").read_text())["rows"]
        return {r["run"]: r["asked"] for r in found if r["saver"] == "plumbgraph"}

    return told


def test_pieces_add_up_and_other_rows_stay(rows: Any) -> None:
    workspace_crash.main(["--kills", "100"])
    whole = rows()
    assert whole[WAY] == 10
    workspace_crash.main(["--kills", "100", "--only", WAY, "--add", "--seed", "2"])
    assert rows() == {**whole, WAY: 20}
    workspace_crash.main(["--kills", "200", "--add", "--seed", "3"])
    assert rows() == {name: 3 * asked for name, asked in whole.items()} | {WAY: 40}
    workspace_crash.main(["--kills", "50", "--only", WAY])
    assert rows()[WAY] == 5
    workspace_crash.main(["--kills", "100"])
    assert rows() == whole


def test_pieces_may_run_at_once(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace_crash.main(["--kills", "100"])
    other: list[int] = []

    def meanwhile(setting: Setting) -> Told:
        if not other:
            other.append(1)
            workspace_crash.main(["--kills", "100", "--only", WAY, "--add", "--seed", "2"])
        return Told(setting)

    monkeypatch.setattr(workspace_crash, "crashtest", meanwhile)
    workspace_crash.main(["--kills", "100", "--only", WAY, "--add", "--seed", "3"])
    assert rows()[WAY] == 30
