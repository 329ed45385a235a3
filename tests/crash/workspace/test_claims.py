"""Processes that share a workspace: in turn, killed, and stopped beyond their lease."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plumbgraph.content import PostgresBlobs
from plumbgraph.postgres.pool import Database
from plumbgraph.workspace import SharedWorkspace, Workspace

Start = Callable[..., subprocess.Popen[str]]
ATTACHER = Path(__file__).parent / "attacher.py"


@pytest.fixture
def database(postgres_url: str, schema: str) -> Iterator[Database]:
    with Database(postgres_url, schema=schema) as database:
        database.setup()
        yield database


@pytest.fixture
def start(postgres_url: str, schema: str, tmp_path: Path) -> Iterator[Start]:
    begun: list[subprocess.Popen[str]] = []

    def begin(name: str, rounds: int, hold_s: float = 0.0, lease_s: float = 30.0) -> object:
        words = [postgres_url, schema, str(tmp_path / name), str(rounds), str(hold_s), str(lease_s)]
        command = [sys.executable, str(ATTACHER), *words]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return begun[-1]

    yield begin  # type: ignore[misc]
    for process in begun:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def log(database: Database, tmp_path: Path) -> list[str]:
    head = SharedWorkspace(database, "shared").head()
    assert head is not None
    blobs = PostgresBlobs(database)
    return Workspace(tmp_path / "look", blobs=blobs).read(head, "log").decode().splitlines()


def test_processes_that_work_in_turn_lose_nothing(
    database: Database, start: Start, tmp_path: Path
) -> None:
    processes = [start(name, 5) for name in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    lines = log(database, tmp_path)
    assert sorted(lines) == sorted(f"{name} {number}" for name in "abc" for number in range(5))


def test_a_killed_holder_is_replaced_and_its_half_work_is_not_seen(
    database: Database, start: Start, tmp_path: Path
) -> None:
    holder = start("dies", 1, hold_s=60, lease_s=0.5)
    assert said(holder) == "attached"
    holder.kill()
    heir = start("heir", 1)
    assert heir.wait(30) == 0
    assert log(database, tmp_path) == ["heir 0"]


def test_a_stopped_holder_wakes_too_late_to_save(
    database: Database, start: Start, tmp_path: Path
) -> None:
    holder = start("sleeps", 1, hold_s=5, lease_s=0.5)
    assert said(holder) == "attached"
    holder.send_signal(signal.SIGSTOP)
    heir = start("heir", 1)
    assert heir.wait(30) == 0
    holder.send_signal(signal.SIGCONT)
    assert holder.wait(30) == 3
    assert said(holder) == "lost"
    assert log(database, tmp_path) == ["heir 0"]
