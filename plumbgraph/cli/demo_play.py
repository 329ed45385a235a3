"""The demo's plot: start servers, run the assistant, kill it, resume it, prove what happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbgraph import servers
from plumbgraph.cli.demo_proof import Claim, database_claims, log_claims, timeline
from plumbgraph.cli.demo_show import Show
from plumbgraph.cli.graphs import shipped
from plumbgraph.errors import PlumbError
from plumbgraph.postgres.pool import Database, Statement
from plumbgraph.settings import Settings
from plumbgraph.tracing.reader import LogReader

TASK = "Read the incident reports in documents/, take notes, and write report.md."
_CHECKPOINTS = """
SELECT encode(c.id, 'hex'), c.step FROM {schema}.checkpoint c
JOIN {schema}.stream s ON s.id = c.stream JOIN {schema}.thread t ON t.id = s.thread
WHERE t.tenant = %s AND t.thread_id = %s AND s.ns = ''"""
_PATIENCE_S = 60.0
_TRACERS = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2")


class DemoFailed(PlumbError, RuntimeError):
    """A process of the demo ended when it should not have."""

    code = "cli.demo_failed"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays: a folder with the home, the workspace and the event log."""

    folder: Path
    thread_id: str

    @property
    def home(self) -> Path:
        """The servers' data."""
        return self.folder / "home"

    @property
    def workspace(self) -> Path:
        """The agent's files."""
        return self.folder / "workspace"

    @property
    def log(self) -> Path:
        """The event log of both processes."""
        return self.folder / "events.jsonl"

    @property
    def errors(self) -> Path:
        """What the processes say to stderr."""
        return self.folder / "stderr.txt"


def play(show: Show, *, kill_step: int, keep: bool) -> dict[str, Any]:
    """Play the whole demo; what it found, for `--json`.

    Raises:
        DemoFailed: A process ended too early; shows what it said.
        ServerStartFailed: The servers cannot be started.
    """
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="plumbgraph-demo-"))
    stage = Stage(folder, f"demo-{uuid.uuid4().hex[:6]}")
    show.title()
    try:
        documents = _prepare(stage)
        told = Settings.load(home=str(stage.home))
        with _process(stage, _run_words(stage)) as child:  # it imports while the servers start
            with show.waiting("starting PostgreSQL and Valkey"):
                endpoints = servers.up(settings=told)
            with endpoints, _checkpoints(endpoints.postgres_url, told) as checkpoints:
                show.servers(endpoints.versions, time.monotonic() - began, stage.home)
                show.task(documents)
                found = _acts(stage, show, child, checkpoints, kill_step=kill_step)
    finally:
        _strike(stage, keep=keep)
    found |= {"seconds": round(time.monotonic() - began, 2), "folder": folder if keep else None}
    show.end(found)
    return found


def _acts(
    stage: Stage,
    show: Show,
    child: subprocess.Popen[str],
    checkpoints: Callable[[str], dict[str, int]],
    *,
    kill_step: int,
) -> dict[str, Any]:
    first, killed = _first_process(stage, show, child, kill_step)
    before = checkpoints(stage.thread_id)
    show.between(stage.thread_id, before)
    second, outcome = _second_process(stage, show)
    records = list(LogReader(stage.log).read())
    rows = timeline(records, first, second)
    show.timeline(rows, first, second)
    claims = [
        *log_claims(records, rows),
        *database_claims(before, checkpoints(stage.thread_id), rows),
        _files_claim(stage),
    ]
    show.proof(claims)
    return {
        "proven": all(claim.holds for claim in claims) and outcome["status"] == "done",
        "claims": [
            {"from": each.source, "holds": each.holds, "says": each.text} for each in claims
        ],
        "killed": {"pid": first, "step": killed},
        "resumed": {"pid": second, "answer": outcome["answer"]},
        "thread_id": stage.thread_id,
    }


def _prepare(stage: Stage) -> int:
    """Lay out the documents; how many there are."""
    target = stage.workspace / "documents"
    shutil.copytree(shipped("documents"), target)
    return len(list(target.glob("*.md")))


def _run_words(stage: Stage) -> list[str]:
    words = ["run", "assistant", TASK, "--thread", stage.thread_id, "--model", "scripted"]
    return [*words, "--workspace", str(stage.workspace)]


def _first_process(
    stage: Stage, show: Show, child: subprocess.Popen[str], kill_step: int
) -> tuple[int, int]:
    """Watch the assistant until it works on `kill_step`, then kill it; its pid and the step."""
    show.process(child.pid, ["run", "assistant", "'Read the incident reports …'"])
    with show.waiting("importing LangGraph"):
        line = _line(child)
    for record in _lines(child, line):
        if record["event"] == "step":
            show.step(record)
        if record.get("step") == kill_step - 1:
            break
    else:
        raise _ended(stage, "the first process ended before it could be killed")
    with show.waiting(f"step {kill_step}"):
        step = _await_step(stage, child, LogReader(stage.log), kill_step)
    child.send_signal(signal.SIGKILL)
    show.killed(child.pid, step, child.wait())
    return child.pid, step


def _second_process(stage: Stage, show: Show) -> tuple[int, dict[str, Any]]:
    """Resume the thread in a new process to its end; its pid and outcome."""
    with _process(stage, ["resume", stage.thread_id]) as child:
        show.process(child.pid, ["resume", stage.thread_id])
        with show.waiting("importing LangGraph"):
            line = _line(child)
        for record in _lines(child, line):
            if record["event"] == "step":
                show.step(record)
            elif record["event"] == "outcome":
                return child.pid, record
    raise _ended(stage, "the second process did not finish")


@contextmanager
def _process(stage: Stage, words: list[str]) -> Iterator[subprocess.Popen[str]]:
    with stage.errors.open("a") as said:
        child = subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, "-m", "plumbgraph.cli", *words, "--json"],
            stdout=subprocess.PIPE,
            stderr=said,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=stage.folder,
            env=_environment(stage),
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def _environment(stage: Stage) -> dict[str, str]:
    own = {"PLUMBGRAPH_HOME": str(stage.home), "PLUMBGRAPH_LOG": str(stage.log)}
    kept = {key: value for key, value in os.environ.items() if key not in _TRACERS}
    return {**kept, **own, "PYTHONUNBUFFERED": "1"}


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def _lines(child: subprocess.Popen[str], line: str) -> Iterator[dict[str, Any]]:
    while line:
        try:
            record = json.loads(line)
        except ValueError:
            record = {}
        if isinstance(record, dict) and "event" in record:
            yield record
        line = _line(child)


def _await_step(stage: Stage, child: subprocess.Popen[str], log: LogReader, step: int) -> int:
    """Wait until a model or tool is at work in the step, or the next that has one; which it is."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and child.poll() is None:
        for record in log.read():
            begun = record["event"] in {"model.started", "tool.started"}
            if begun and (record.get("step") or 0) >= step:
                return int(record["step"])
        time.sleep(0.002)
    raise _ended(stage, f"step {step} never began")


def _ended(stage: Stage, what: str) -> DemoFailed:
    said = stage.errors.read_text().strip() if stage.errors.exists() else ""
    return DemoFailed(
        f"The demo failed: {what}. {said[-1500:]}", hint="Run `plumbgraph doctor`, then try again."
    )


@contextmanager
def _checkpoints(url: str, settings: Settings) -> Iterator[Callable[[str], dict[str, int]]]:
    """Reads a thread's checkpoints as id → step, out of the tables and past our own saver."""
    with Database(url, schema=settings.schema_name, auto_setup=False) as database:

        def read(thread_id: str) -> dict[str, int]:
            ((*rows,),) = database.send((Statement(_CHECKPOINTS, (settings.tenant, thread_id)),))
            return {str(row[0]): int(row[1]) for row in rows}

        yield read


def _files_claim(stage: Stage) -> Claim:
    notes = list((stage.workspace / "notes").glob("*.md"))
    documents = list((stage.workspace / "documents").glob("*.md"))
    report = stage.workspace / "report.md"
    size = report.stat().st_size if report.exists() else 0
    good = len(notes) == len(documents) and size > 0
    return Claim("files", good, f"{len(notes)} notes and report.md with {size:,} bytes")


def _strike(stage: Stage, *, keep: bool) -> None:
    """Stop the demo's own servers, and remove its folder unless it is to be kept."""
    if (stage.home / "servers").exists():
        servers.down(stage.home)
    if not keep:
        shutil.rmtree(stage.folder, ignore_errors=True)
