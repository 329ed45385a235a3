"""Close in LangSmith what a crash left open, read from the log that survived the crash."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from plumbgraph.tracing.events import Event
from plumbgraph.tracing.processes import Process, lives, process_of

_ENDS = (".ended", ".failed", ".interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadsDone(Event):
    """Everything this process had for LangSmith has arrived there."""

    name = "trace.flushed"
    sink: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsRepaired(Event):
    """Runs that a dead process had left open were closed."""

    name = "trace.repaired"
    roots: tuple[str, ...]
    spans: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairFailed(Event):
    """LangSmith did not answer; the next start tries again."""

    name = "trace.repair_failed"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadFailed(Event):
    """LangSmith did not take an upload; `kept` is the folder where it waits for a replay."""

    name = "trace.upload_failed"
    level = logging.WARNING
    sink: str
    error: str
    kept: str | None = None


@dataclass(frozen=True, slots=True)
class OpenSpan:
    """A run that LangSmith may show as pending for ever, or not at all.

    Attributes:
        error: What to close it with; `None` for a root whose end is known and may only not have
            arrived.
        started_at: When it began.
        ended_at: When its process last said something.
        was_sent: Whether LangSmith was told of its beginning.
    """

    span_id: str
    root_id: str
    parent_id: str | None
    name: str
    run_type: str
    started_at: datetime
    ended_at: datetime
    error: str | None
    was_sent: bool = True


Lives: TypeAlias = Callable[..., bool]


def open_spans(records: Iterable[Mapping[str, Any]], lives: Lives = lives) -> list[OpenSpan]:
    """The runs of dead processes that were begun, not ended, and not closed by an earlier repair.

    A root that ended is listed too unless its process said that everything had arrived.
    """
    log = _Log()
    for record in records:
        log.take(record)
    dead: dict[tuple[Process, str], bool] = {}
    found = []
    for record, end in log.left():
        process, began = process_of(record), str(record.get("ts", ""))
        last_at = log.last_at[process]
        if (process, began) not in dead:
            dead[process, began] = not lives(process, first_at=began, last_at=last_at)
        if dead[process, began]:
            found.append(_span(record, end, last_at, parents=log.parents))
    return found


class _Log:
    """What is open after the lines seen so far."""

    def __init__(self) -> None:
        self.opened: dict[str, Mapping[str, Any]] = {}
        self.ended: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        self.last_at: dict[Process, str] = {}
        self.parents: set[str] = set()

    def take(self, record: Mapping[str, Any]) -> None:
        event, process = str(record.get("event", "")), process_of(record)
        self.last_at[process] = str(record.get("ts", ""))
        span = str(record.get("span_id") or "")
        if event == "trace.flushed":
            kept = self.ended.items()
            self.ended = {key: each for key, each in kept if process_of(each[1]) != process}
        elif event == "trace.repaired":
            self._forget(set(record.get("roots") or ()))
        elif event.endswith(".started") and span:
            self.opened[span] = record
            self.parents.add(str(record.get("parent_span_id")))
        elif event.endswith(_ENDS) and span in self.opened:
            begun = self.opened.pop(span)
            if begun.get("event") == "run.started":
                self.ended[span] = begun, record

    def _forget(self, roots: set[str]) -> None:
        self.opened = {
            k: each for k, each in self.opened.items() if each.get("run_id") not in roots
        }
        ended = self.ended.items()
        self.ended = {k: each for k, each in ended if each[0].get("run_id") not in roots}

    def left(self) -> Iterable[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
        for record in self.opened.values():
            yield record, None
        yield from self.ended.values()


def _span(
    record: Mapping[str, Any],
    end: Mapping[str, Any] | None,
    last_at: str,
    *,
    parents: set[str],
) -> OpenSpan:
    span, kind = str(record["span_id"]), str(record.get("event", "")).partition(".")[0]
    step, parent = record.get("step"), record.get("parent_span_id")
    where = "" if step is None else f" at step {step}"
    told: str | None = f"crashed{where}: the process died"
    if end is not None:
        failed = f"{end.get('error.type')}: {end.get('error')}"
        told = failed if end.get("event") == "run.failed" else None
    names = {"model": "gen_ai.request.model", "tool": "gen_ai.tool.name", "node": "node"}
    return OpenSpan(
        span_id=span,
        root_id=str(record.get("run_id") or span),
        parent_id=str(parent) if parent else None,
        name=str(record.get(names.get(kind, "graph")) or kind),
        run_type={"model": "llm", "tool": "tool"}.get(kind, "chain"),
        started_at=datetime.fromisoformat(str(record.get("ts"))),
        ended_at=datetime.fromisoformat(str(end.get("ts")) if end is not None else last_at),
        error=told,
        was_sent=parent is None or span in parents,
    )


def close_spans(client: Any, spans: Iterable[OpenSpan], *, project: str | None = None) -> int:
    """Tell LangSmith the end of each, or of its whole life where it heard nothing; how many."""
    count = 0
    for span in spans:
        tags = ["plumb", "plumb:crashed"] if span.error and span.parent_id is None else None
        if span.was_sent:
            client.update_run(
                span.span_id,
                end_time=span.ended_at,
                error=span.error,
                parent_run_id=span.parent_id,
                tags=tags,
            )
        else:
            client.create_run(
                span.name,
                {},
                span.run_type,
                project_name=project,
                id=span.span_id,
                parent_run_id=span.parent_id,
                start_time=span.started_at,
                end_time=span.ended_at,
                error=span.error,
            )
        count += 1
    return count
