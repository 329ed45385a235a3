from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plumbgraph.errors import SettingsError, ThreadNotFound
from plumbgraph.testing.faults import FAULTS, Stage
from plumbgraph.timeline import Timeline

runner = CliRunner()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    stage = Stage(tmp_path)
    FAULTS["same_call_again_and_again"].play(stage)
    return stage.log


def test_an_unknown_thread_and_a_strange_source_are_refused(log: Path) -> None:
    with pytest.raises(ThreadNotFound, match="nobody"):
        Timeline.load("nobody", log=log)
    with pytest.raises(ThreadNotFound, match="no event log"):
        Timeline.load("t", log=log.with_name("none"))
    with pytest.raises(SettingsError, match="int"):
        Timeline.load("t", sources=[3])


async def test_both_colours_tell_the_same(log: Path) -> None:
    found = await Timeline.aload("t", log=log)
    other = await asyncio.to_thread(Timeline.load, "t", log=log)
    assert found.to_dict() == other.to_dict()


def test_losses_of_the_log_are_told(log: Path) -> None:
    whole = log.read_bytes()
    lost = json.dumps({"v": 1, "ts": "2026-01-01T00:00:00.000Z", "event": "trace.lost", "count": 3})
    newer = json.dumps({"v": 9, "ts": "z", "event": "brand.new", "thread_id": "t", "pid": 1})
    log.write_bytes(lost.encode() + b"\n" + newer.encode() + b"\nno json\n" + whole[:-30])
    remarks = " ".join(Timeline.load("t", log=log).evidence.remarks)
    assert "3 events could not be written" in remarks
    assert "2 lines of the log are cut off" in remarks
    assert "1 lines of the log were written by a newer plumbgraph" in remarks


def test_a_clock_that_jumps_back_changes_no_order(log: Path) -> None:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for index, line in enumerate(lines):
        line["ts"] = f"2026-01-01T00:{59 - index % 60:02d}:00.000Z"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    verdict = Timeline.load("t", log=log).verdict
    assert (verdict.code, verdict.step) == ("looping", 2)


def test_the_page_is_self_contained_and_escapes(log: Path) -> None:
    text = log.read_text().replace('"status"', '"<script>alert(1)</script>"')
    log.write_text(text)
    page = Timeline.load("t", log=log).to_html()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert " src=" not in page
    assert " href=" not in page
    assert "url(" not in page
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def invoke(*words: str, code: int = 0) -> str:
    from plumbgraph.cli.app import app

    done = runner.invoke(app, ["trace", *words])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_says_the_verdict_first(log: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    told = invoke("t", "--log-only", "--log", str(log), "--html", str(page))
    first = next(line for line in told.splitlines() if not line.startswith("written"))
    assert first.startswith("looping: Looping since step 2")
    assert page.read_text().startswith("<!doctype html>")
    found: Any = json.loads(invoke("t", "--log-only", "--log", str(log), "--json"))
    assert (found["verdict"]["code"], found["verdict"]["step"]) == ("looping", 2)
    invoke("nobody", "--log-only", "--log", str(log), code=5)


def test_two_runs_are_compared(log: Path, tmp_path: Path) -> None:
    stage = Stage(tmp_path, thread_id="u")
    FAULTS["loop_after_good_work"].play(stage)
    told = invoke("diff", "t", "u", "--log-only", "--log", str(log))
    assert told.startswith("they part at step 2")
    same = invoke("diff", "t", "t", "--log-only", "--log", str(log))
    assert same.startswith("the same steps in both")
