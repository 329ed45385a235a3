"""Close in LangSmith what a crash left open, read from the log that survived the crash."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from plumbgraph.tracing.events import Event

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


@dataclass(frozen=True, slots=True)
class OpenSpan:
    """A run that LangSmith may show as pending for ever.

    Attributes:
        error: What to close it with; `None` for a root whose end is known and may only not have
            arrived.
        ended_at: When its process last said something.
    """

    span_id: str
    root_id: str
    parent_id: str | None
    ended_at: datetime
    error: str | None


def open_spans(
    records: Iterable[Mapping[str, Any]], lives: Callable[[int], bool]
) -> list[OpenSpan]:
    """The runs of dead processes that were begun, not ended, and not closed by an earlier repair.

    A root that ended is listed too unless its process said that everything had arrived.
    """
    opened: dict[str, Mapping[str, Any]] = {}
    ended: dict[str, Mapping[str, Any]] = {}
    last_at: dict[int, str] = {}
    for record in records:
        event, pid = str(record.get("event", "")), int(record.get("pid") or 0)
        last_at[pid] = str(record.get("ts", ""))
        span = str(record.get("span_id") or "")
        if event == "trace.flushed":
            ended = {key: each for key, each in ended.items() if each.get("pid") != pid}
        elif event == "trace.repaired":
            done = set(record.get("roots") or ())
            opened = {key: each for key, each in opened.items() if each.get("run_id") not in done}
            ended = {key: each for key, each in ended.items() if each.get("run_id") not in done}
        elif event.endswith(".started") and span:
            opened[span] = record
        elif event.endswith(_ENDS) and span in opened:
            begun = opened.pop(span)
            if begun.get("event") == "run.started":
                ended[span] = record
    found = [*_spans(opened, last_at, "crashed"), *_spans(ended, last_at, None)]
    return [span for span, pid in found if not lives(pid)]


def _spans(
    records: Mapping[str, Mapping[str, Any]], last_at: Mapping[int, str], error: str | None
) -> Iterable[tuple[OpenSpan, int]]:
    for span, record in records.items():
        pid = int(record.get("pid") or 0)
        step = record.get("step")
        where = "" if step is None else f" at step {step}"
        failed = f"{record.get('error.type')}: {record.get('error')}"
        told = f"{error}{where}: the process died" if error else None
        if error is None and record.get("event") == "run.failed":
            told = failed
        at = datetime.fromisoformat(last_at[pid])
        parent = record.get("parent_span_id")
        root = str(record.get("run_id") or span)
        yield OpenSpan(span, root, str(parent) if parent else None, at, told), pid


def close_spans(client: Any, spans: Iterable[OpenSpan]) -> int:
    """Tell LangSmith the end of each; how many."""
    count = 0
    for span in spans:
        tags = ["plumb", "plumb:crashed"] if span.error and span.parent_id is None else None
        client.update_run(
            span.span_id,
            end_time=span.ended_at,
            error=span.error,
            parent_run_id=span.parent_id,
            tags=tags,
        )
        count += 1
    return count


def process_lives(pid: int) -> bool:
    """Whether a process of this number runs on this machine; this one counts as running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
