"""What goes wrong around a log or a sink never stops a run, is counted, and is shown."""

from __future__ import annotations

import itertools
import multiprocessing
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from plumbgraph import tracing
from plumbgraph.agents import create_agent
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.testing.ingest import IngestServer
from plumbgraph.timeline import Timeline
from plumbgraph.timeline.text import lines
from plumbgraph.tracing.encode import MAX_LINE_BYTES
from plumbgraph.tracing.langsmith import LangSmith
from plumbgraph.tracing.otel import OpenTelemetry

ASK: Any = {"messages": [("user", "hi")]}


@tool
def look(q: str) -> str:
    """Look something up."""
    return f"found {q}"


def agent(tools: Any = (look,), *script: Any) -> Any:
    return create_agent(ScriptedChatModel([*(script or [call("look", q="a")]), "done"]), tools)


def config(callbacks: Any = (), thread: str = "t") -> Any:
    return {"callbacks": list(callbacks), "configurable": {"thread_id": thread}}


def remarks(log: Path) -> str:
    return " ".join(lines(Timeline.load("t", log=log)))


def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.symlink_to("/dev/full")
    trace = tracing.trace(path=log)
    assert trace.log is not None

    @tool
    def make_room(q: str) -> str:
        """Make room on the disk."""
        assert trace.log is not None
        trace.log.close()
        log.unlink()
        trace.log._retry_at = 0.0
        return q

    done = agent([make_room], call("make_room", q="a")).invoke(ASK, config([trace]))
    assert done["messages"][-1].text == "done"
    assert trace.log.lost > 3
    assert f"{trace.log.lost} events could not be written" in remarks(log)


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    trace = tracing.trace(path=tmp_path / "file" / "events.jsonl")
    done = agent().invoke(ASK, config([trace]))
    assert done["messages"][-1].text == "done"
    assert trace.log is not None
    assert trace.log.lost > 8


def _one_of_two(log: str, thread: str) -> None:
    with tracing.trace(path=log):
        for _ in range(5):
            agent().invoke(ASK, config(thread=thread))


def test_two_processes_on_one_log(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_one_of_two, args=(str(log), name)) for name in "ab"]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
    assert [each.exitcode for each in both] == [0, 0]
    for name in "ab":
        found = Timeline.load(name, log=log)
        assert (found.verdict.code, len(found.runs)) == ("finished", 5)
        assert {run.pid for run in found.runs} == {found.runs[0].pid}
        assert found.evidence.remarks == ()


class Jumping:
    """A wall clock that goes back an hour at each look."""

    def __init__(self) -> None:
        self.hours = itertools.count()

    def now(self) -> float:
        return 1_800_000_000.0 - 3600.0 * next(self.hours)

    def monotonic(self) -> float:
        return time.monotonic()


def test_a_clock_that_jumps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "events.jsonl"
    monkeypatch.setattr(sys.modules["plumbgraph.tracing.emit"], "SYSTEM", Jumping())
    with tracing.trace(path=log):
        agent().invoke(ASK, config())
    found = Timeline.load("t", log=log)
    assert (found.verdict.code, found.verdict.step) == ("finished", 3)
    assert all(row.duration_ms is not None and row.duration_ms >= 0 for row in found.rows)


def test_five_megabytes_and_binary_content(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    content: Any = [
        {"type": "text", "text": "x" * 5_000_000},
        {"type": "file", "base64": "AAEC/w==", "mime_type": "application/octet-stream"},
        {"type": "text", "text": "\udc80 half a character"},
    ]
    with (
        IngestServer() as server,
        LangSmith(log=log, url=server.url, project="p", wait_s=30) as sink,
    ):
        told = {"messages": [HumanMessage(content), HumanMessage("and?")]}
        done = agent().invoke(told, config(sink.config["callbacks"]))
        assert done["messages"][-1].text == "done"
        sink.close()
        assert server.open_roots() == []
        assert server.orphans() == []
        assert not sink.failed
    assert max(map(len, log.read_bytes().splitlines())) <= MAX_LINE_BYTES
    assert Timeline.load("t", log=log).verdict.code == "finished"


def test_a_payload_that_langsmith_refuses_is_kept_and_shown(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    with IngestServer(size_limit_bytes=100) as server:
        with LangSmith(log=log, url=server.url, project="p", wait_s=30) as sink:
            agent().invoke(ASK, config(sink.config["callbacks"]))
        assert sink.failed
        assert server.runs == {}
    told = remarks(log)
    assert f"{sink.failed} uploads to langsmith failed" in told
    assert f"plumbgraph trace replay {tmp_path / 'langsmith-failed'}" in told


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A receiver that takes connections and never says a word."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen(20)
        yield f"http://127.0.0.1:{made.getsockname()[1]}"


def test_langsmith_that_never_answers(black_hole: str, tmp_path: Path) -> None:
    sink = LangSmith(log=tmp_path / "l", url=black_hole, project="p", wait_s=0.5, repair=False)
    start = time.monotonic()
    done = agent().invoke(ASK, config(sink.config["callbacks"]))
    sink.close()
    assert done["messages"][-1].text == "done"
    assert sink.unsent
    assert time.monotonic() - start < 20


def test_opentelemetry_that_never_answers(black_hole: str) -> None:
    sink = OpenTelemetry(endpoint=f"{black_hole}/v1/traces", wait_s=0.5)
    start = time.monotonic()
    done = agent().invoke(ASK, config(sink.callbacks))
    sink.close()
    assert done["messages"][-1].text == "done"
    assert sink.unsent
    assert time.monotonic() - start < 20


def test_spans_that_are_refused_are_counted(tmp_path: Path) -> None:
    export = pytest.importorskip("opentelemetry.sdk.trace.export")

    class Refusing(export.SpanExporter):  # type: ignore[misc, name-defined]
        def export(self, spans: Any) -> Any:
            return export.SpanExportResult.FAILURE

        def shutdown(self) -> None:
            """Nothing to end."""

        def force_flush(self, timeout_millis: int = 0) -> bool:
            return True

    log = tmp_path / "events.jsonl"
    with tracing.JsonLog(log) as kept:
        tracing.attach(kept)
        try:
            with OpenTelemetry(exporter=Refusing()) as sink:
                agent().invoke(ASK, config([*sink.callbacks, tracing.trace(sinks=[kept])]))
        finally:
            tracing.detach(kept)
    assert sink.failed > 5
    assert "uploads to opentelemetry failed; they are lost" in remarks(log)
