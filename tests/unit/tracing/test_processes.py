from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plumbgraph.tracing.jsonl import JsonLog
from plumbgraph.tracing.processes import HOST, Process, born_of, lives, process_of
from plumbgraph.tracing.reader import LogTail


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def me(**changes: object) -> Process:
    told = {"host": HOST, "pid": os.getpid(), "born": born_of(os.getpid()), **changes}
    return process_of(told)


def test_a_number_that_was_given_again_is_another_process() -> None:
    born = born_of(os.getpid())
    if born is None:
        pytest.skip("no /proc here")
    assert lives(me(), first_at=ago(1))
    # A clock that was set forward makes no living process dead.
    assert lives(me(), first_at=ago(365 * 86400))
    assert not lives(me(born=born - 1), first_at=ago(1))
    assert not lives(me(born=None), first_at=ago(365 * 86400))
    assert lives(me(born=None), first_at=ago(0))


def test_a_dead_process_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert not lives(me(pid=child.pid), first_at=ago(1))


def test_another_machines_process_is_judged_by_its_last_line() -> None:
    elsewhere = me(host="another-machine")
    assert lives(elsewhere, first_at=ago(5000), last_at=ago(10))
    assert not lives(elsewhere, first_at=ago(5000), last_at=ago(2000))


def test_a_tail_gives_what_comes_and_misses_nothing_at_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with JsonLog(path, rotate_bytes=2_000, keep=9) as log:
        log.write({"v": 1, "n": -1})
        tail = LogTail(path)
        assert list(tail.read()) == []
        found = []
        for number in range(60):
            log.write({"v": 1, "n": number, "pad": "x" * 100})
            if number % 7 == 0:
                found += [record["n"] for record in tail.read()]
        found += [record["n"] for record in tail.read()]
    assert path.with_name("events.jsonl.1").exists()
    assert found == list(range(60))


def test_a_tail_of_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = LogTail(path)
    assert list(tail.read()) == []
    with JsonLog(path) as log:
        log.write({"v": 1, "n": 1})
        assert [record["n"] for record in tail.read()] == [1]
