"""LangSmith fed from a graph's root: our run ids, costs, `plumb_*` metadata, nothing left open."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from langchain_core.outputs import LLMResult
from langchain_core.tracers.langchain import LangChainTracer
from langsmith import Client, utils
from langsmith.run_trees import RunTree

from plumbgraph.clock import SYSTEM
from plumbgraph.tracing.context import from_runtime
from plumbgraph.tracing.costs import Pricing, add_costs
from plumbgraph.tracing.emit import Sink, write
from plumbgraph.tracing.handler import Trace
from plumbgraph.tracing.langsmith_facts import Facts
from plumbgraph.tracing.langsmith_repair import (
    RepairFailed,
    RunsRepaired,
    UploadsDone,
    close_spans,
    open_spans,
    process_lives,
)
from plumbgraph.tracing.reader import read_log
from plumbgraph.tracing.redact import redact

_WAIT_S = 5.0
_MOST_FACTS = 10_000
_FAILED = "LANGSMITH_FAILED_TRACES_DIR"
_making = threading.Lock()
_SUSPECT = re.compile(
    r"@|://|-----BEGIN|eyJ|AIza|AKIA|ASIA|(?:sk|pk|rk|hf|lsv2|xox|gh[a-z]|glpat)[-_]"
    r"|key|passw|pwd|secret|token|bearer",
    re.IGNORECASE,
)


class LangSmith:
    """LangSmith's tracer and our own trace, to be attached together at a graph's root.

    The event log is the record; LangSmith gets the same runs under the same ids. Runs that a
    dead process left open there are closed when this is made, from the log, in the background.
    Uploads that fail are kept in a folder for `plumbgraph trace replay`. Secrets and mail
    addresses are taken out of inputs, outputs, errors, metadata, names and tags before anything
    is sent. Nothing waits for the network but `close`, and that not longer than `wait_s`.

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
        self.client = client or _client(url, kept)
        self.wait_s = wait_s
        self.session_id = session_id
        self.unsent = False
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
        for each in self._work:
            each.join(max(0.0, until - SYSTEM.monotonic()))
        flushing = threading.Thread(target=self._flush, daemon=True)
        flushing.start()
        flushing.join(max(0.0, until - SYSTEM.monotonic()))
        self.unsent = any(each.is_alive() for each in (*self._work, flushing))
        if not self.unsent:
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

    def _flush(self) -> None:
        self.client.flush(timeout=self.wait_s)

    def _repair(self, log: str | os.PathLike[str]) -> None:
        try:
            spans = open_spans(read_log(log), process_lives)
        except OSError:
            return
        if not spans:
            return
        try:
            count = close_spans(self.client, spans)
        except Exception as fault:  # noqa: BLE001 - a sink never raises; the next start tries again
            text = redact(f"{type(fault).__name__}: {fault}")
            write(RepairFailed(error=text), self.trace.plumb_sinks)
            return
        roots = tuple(sorted({span.root_id for span in spans}))
        write(RunsRepaired(roots=roots, spans=count), self.trace.plumb_sinks)


def _client(url: str | None, kept: Path | None) -> Client:
    """A client that redacts, and keeps what it cannot send.

    The SDK takes that folder from the environment alone, when a client is made.
    """
    forget: Any = getattr(utils.get_env_var, "cache_clear", lambda: None)
    with _making:
        before = os.environ.get(_FAILED)
        if kept is not None:
            os.environ[_FAILED] = str(kept)
        forget()
        try:
            key = os.environ.get("LANGSMITH_API_KEY") or ("none" if url else None)
            return Client(api_url=url, api_key=key, anonymizer=anonymized)
        finally:
            os.environ.pop(_FAILED, None)
            if before is not None:
                os.environ[_FAILED] = before
            forget()


class Tracer(LangChainTracer):
    """LangChain's own tracer, with redacted names and tags and what our events say of a run."""

    def __init__(
        self,
        *,
        tell: Callable[[str], Facts] | None = None,
        price: Pricing | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.price = price
        self.tell = tell or (lambda _: Facts())

    def copy_with_metadata_defaults(self, **defaults: Any) -> Self:
        """A copy for nested runs, which shares what is known of the runs."""
        copy: Any = super().copy_with_metadata_defaults(**defaults)
        copy.tell, copy.price = self.tell, self.price
        return copy  # type: ignore[no-any-return]

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **more: Any) -> RunTree:
        """A model answered; its cost is added where nobody told it."""
        if self.price is not None:
            add_costs(response, self.price)
        return super().on_llm_end(response, run_id=run_id, **more)

    def _start_trace(self, run: RunTree) -> None:
        run.name = _clean(run.name)
        if run.tags:
            run.tags = [_clean(tag) for tag in run.tags]
        told = run.extra.setdefault("metadata", {})
        parent = self.run_map.get(str(run.parent_run_id)) if run.parent_run_id else None
        if parent is None:
            told["plumb_run_id"] = str(run.id)
        elif checkpoint := from_runtime().get("checkpoint_id"):
            told["plumb_checkpoint_id"] = checkpoint
            # The node around it was started before its checkpoint could be known.
            parent.extra.setdefault("metadata", {}).setdefault("plumb_checkpoint_id", checkpoint)
        super()._start_trace(run)

    def _on_chain_end(self, run: RunTree) -> None:
        self._tell(run)
        super()._on_chain_end(run)

    def _on_chain_error(self, run: RunTree) -> None:
        self._tell(run)
        super()._on_chain_error(run)

    def _tell(self, run: RunTree) -> None:
        """Add to a root what its events said."""
        if run.parent_run_id is not None:
            return
        facts = self.tell(str(run.id))
        if run.error:
            facts.tags.add("plumb:error")
        run.tags = sorted({*(run.tags or ()), *facts.tags})
        run.extra.setdefault("metadata", {}).update(facts.metadata)


def anonymized(data: Any) -> Any:
    """Plain data with secrets and mail addresses taken out of every string in it."""
    if isinstance(data, str):
        return _clean(data)
    if isinstance(data, dict):
        return {_clean(key): anonymized(value) for key, value in data.items()}
    if isinstance(data, list):
        return [anonymized(value) for value in data]
    return data


def _clean(text: str) -> str:
    if len(text) > 2048:  # noqa: PLR2004 - longer texts would crowd the cache
        return redact(text) if _SUSPECT.search(text) else text
    return _cleaned(text)


@lru_cache(maxsize=8192)
def _cleaned(text: str) -> str:
    # A thread's messages come again with every step; looking once at each is enough.
    return redact(text) if _SUSPECT.search(text) else text
