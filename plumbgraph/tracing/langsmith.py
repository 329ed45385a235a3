"""LangSmith fed from a graph's root: our run ids, costs, `plumb_*` metadata, nothing left open."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from langsmith import Client

from plumbgraph.clock import SYSTEM
from plumbgraph.tracing.costs import Pricing
from plumbgraph.tracing.emit import Sink, write
from plumbgraph.tracing.handler import Trace
from plumbgraph.tracing.langsmith_client import client_for
from plumbgraph.tracing.langsmith_facts import Facts
from plumbgraph.tracing.langsmith_repair import (
    RepairFailed,
    RunsRepaired,
    UploadFailed,
    UploadsDone,
    close_spans,
    open_spans,
)
from plumbgraph.tracing.langsmith_tracer import Tracer
from plumbgraph.tracing.reader import read_log
from plumbgraph.tracing.redact import redact

_WAIT_S = 5.0
_ERROR_CHARS = 300
_MOST_FACTS = 10_000


class LangSmith:
    """LangSmith's tracer and our own trace, to be attached together at a graph's root.

    The event log is the record; LangSmith gets the same runs under the same ids. Runs that a
    dead process left open there are closed when this is made, from the log, in the background.
    Uploads that fail are kept in a folder for `plumbgraph trace replay`. Secrets and mail
    addresses are taken out of inputs, outputs, errors, metadata, names and tags before anything
    is sent; of a step's own state the last messages are shown, of a model's call all it was sent.
    Nothing waits for the network but `close`, and that not longer than `wait_s`.

        with LangSmith(log="events.jsonl", project="support") as traced:
            graph.invoke(question, traced.config)

    Args:
        log: The event log; without one, crashes cannot be repaired.
        project: LangSmith's project; else `LANGSMITH_PROJECT`.
        client: The SDK's client, with an anonymizer and failure folder of its own; else one
            is made.
        url: LangSmith's address; else `LANGSMITH_ENDPOINT`.
        failed: Folder for uploads that fail; by default `langsmith-failed` beside the log.
        price: Puts costs into answers that do not tell theirs.
        sinks: Further sinks of events.
        wait_s: Longest wait for uploads when closing.
        repair: Whether to close what a crash left open.
        session_id: Id of the project, which newer LangSmith servers want with feedback.

    Attributes:
        config: A run config with the callbacks.
        trace: Our own trace among them.
        failed: Uploads that LangSmith did not take; each is an event in the log too.
        unsent: Whether the last `close` gave up waiting.
    """

    def __init__(
        self,
        *,
        log: str | os.PathLike[str] | None = None,
        project: str | None = None,
        client: Client | None = None,
        url: str | None = None,
        failed: str | os.PathLike[str] | None = None,
        price: Pricing | None = None,
        sinks: Iterable[Sink] = (),
        wait_s: float = _WAIT_S,
        repair: bool = True,
        session_id: str | None = None,
    ) -> None:
        kept = Path(failed) if failed else Path(log).parent / "langsmith-failed" if log else None
        self.client = client or client_for(url, kept, failed=self._note_failure)
        self.wait_s = wait_s
        self.session_id = session_id
        self.unsent = False
        self.failed = 0
        self._kept = kept
        self._facts: dict[str, Facts] = {}
        self.trace = Trace(path=log, sinks=[self, *sinks], price=price)
        self.tracer = Tracer(client=self.client, project_name=project, tell=self._told, price=price)
        self.config: dict[str, Any] = {"callbacks": [self.trace, self.tracer]}
        self._work: list[threading.Thread] = []
        if log is not None and repair:
            self._work = [threading.Thread(target=self._repair, args=(log,), daemon=True)]
            self._work[0].start()

    def attach(self, graph: Any) -> Any:
        """The graph with these callbacks at its root."""
        return graph.with_config(self.config)

    def write(self, record: Mapping[str, Any]) -> None:
        """Learn from an event what LangSmith is told about its run at the end."""
        run_id = record.get("run_id")
        if run_id:
            if len(self._facts) > _MOST_FACTS:
                self._facts.pop(next(iter(self._facts)), None)
            self._facts.setdefault(str(run_id), Facts()).take(record)

    def feedback(self, run_id: str | UUID, score: float, *, comment: str | None = None) -> None:
        """Send a person's rating of a run, 0 to 1, under the key `user_score`."""
        text = redact(comment) if comment else None
        self._rate(str(run_id), {"user_score": score}, text)

    def _rate(self, run_id: str, scores: Mapping[str, float], comment: str | None = None) -> None:
        """Send scores from a thread: the SDK asks the server something first."""

        def send() -> None:
            for key, score in scores.items():
                with contextlib.suppress(Exception):  # a sink never raises
                    self.client.create_feedback(
                        run_id,
                        key,
                        score=score,
                        comment=comment,
                        trace_id=run_id,
                        session_id=self.session_id,
                    )

        self._work = [each for each in self._work if each.is_alive()]
        self._work.append(threading.Thread(target=send, daemon=True))
        self._work[-1].start()

    def close(self) -> None:
        """Wait a little for uploads, note in the log whether they arrived, close the log."""
        until = SYSTEM.monotonic() + self.wait_s
        # Without a limit of its own: only then its return means that nothing is under way.
        flushing = threading.Thread(target=self.client.flush, daemon=True)
        for each in self._work:
            each.join(max(0.0, until - SYSTEM.monotonic()))
        flushing.start()
        flushing.join(max(0.0, until - SYSTEM.monotonic()))
        self.unsent = any(each.is_alive() for each in (*self._work, flushing))
        if not self.unsent and not self.failed:
            write(UploadsDone(sink="langsmith"), self.trace.plumb_sinks)
        self.trace.close()

    def _told(self, run_id: str) -> Facts:
        """What the events said of a run; its scores are sent now."""
        facts = self._facts.pop(run_id, None) or Facts()
        if facts.feedback:
            self._rate(run_id, facts.feedback)
        return facts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note_failure(self, fault: Exception) -> None:
        self.failed += 1
        text = redact(f"{type(fault).__name__}: {fault}")[:_ERROR_CHARS]
        kept = str(self._kept) if self._kept else None
        write(UploadFailed(sink="langsmith", error=text, kept=kept), self.trace.plumb_sinks)

    def _repair(self, log: str | os.PathLike[str]) -> None:
        try:
            spans = open_spans(read_log(log))
        except OSError:
            return
        if not spans:
            return
        try:
            count = close_spans(self.client, spans, project=self.tracer.project_name)
        except Exception as fault:  # noqa: BLE001 - a sink never raises; the next start tries again
            text = redact(f"{type(fault).__name__}: {fault}")
            write(RepairFailed(error=text), self.trace.plumb_sinks)
            return
        roots = tuple(sorted({span.root_id for span in spans}))
        write(RunsRepaired(roots=roots, spans=count), self.trace.plumb_sinks)
