"""`Timeline`: what happened in a thread, with the verdict first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from shlex import quote
from typing import Any, Self

from plumbgraph.errors import ThreadNotFound
from plumbgraph.timeline.compare import Difference, difference
from plumbgraph.timeline.evidence import Evidence, Record, in_order
from plumbgraph.timeline.findings import Finding, findings_of
from plumbgraph.timeline.money import Spent, spent_of
from plumbgraph.timeline.runs import Run, runs_of
from plumbgraph.timeline.session import Session, session
from plumbgraph.timeline.sources import as_sources, logs_first, quicker
from plumbgraph.timeline.steps import StepRow, rows_of
from plumbgraph.timeline.verdict import Verdict, judge


class Timeline:
    """A thread's story, joined from whatever tells of it.

    `Timeline.load` reads; everything else is decided from what was read, without further I/O.
    In a notebook it shows itself as the same page that `plumbgraph trace --html` writes.

    Attributes:
        thread_id: The thread.
        evidence: What was read.
    """

    def __init__(self, thread_id: str, evidence: Evidence) -> None:
        self.thread_id = thread_id
        self.evidence = evidence

    @classmethod
    def load(
        cls,
        thread_id: str,
        *,
        sources: Any = (),
        log: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Read what is known about a thread; one source is enough.

        Args:
            thread_id: The thread.
            sources: One or several of: a checkpointer, an effects' journal, the result of
                `plumbgraph.open()`, an event log's path, or any object with `read` and `aread`.
            log: An event log's path, besides.

        Raises:
            ThreadNotFound: No source knows the thread.
            SettingsError: A source cannot be read by a timeline.
        """
        found: list[Evidence] = []
        for source in logs_first(as_sources(sources, log)):
            told = any(piece.records for piece in found)
            found.append(quicker(source, told=told).read(thread_id))
        return cls._from(thread_id, found)

    @classmethod
    async def aload(
        cls,
        thread_id: str,
        *,
        sources: Any = (),
        log: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Read what is known about a thread; see `load`."""
        found: list[Evidence] = []
        for source in logs_first(as_sources(sources, log)):
            told = any(piece.records for piece in found)
            found.append(await quicker(source, told=told).aread(thread_id))
        return cls._from(thread_id, found)

    @classmethod
    def _from(cls, thread_id: str, found: Sequence[Evidence]) -> Self:
        evidence = in_order(found)
        if not evidence:
            raise ThreadNotFound(
                f"Nothing is known about thread {thread_id!r}."
                + "".join(f" {remark}" for remark in evidence.remarks),
                thread_id=thread_id,
            )
        return cls(thread_id, evidence)

    @property
    def events(self) -> tuple[Record, ...]:
        """The thread's lines of the event log, oldest first."""
        return self.evidence.records

    @cached_property
    def runs(self) -> list[Run]:
        """The calls of the graph on this thread."""
        return runs_of(self.evidence.records, self.evidence.live)

    @cached_property
    def rows(self) -> list[StepRow]:
        """One row for each node's work in each step."""
        return rows_of(self.evidence, self.runs)

    @cached_property
    def session(self) -> Session:
        """What the verdict is about: everything since the last new input."""
        return session(self.evidence, self.runs, self.rows)

    @cached_property
    def findings(self) -> list[Finding]:
        """Everything that went wrong in the session."""
        return findings_of(self.session, self.evidence.effects)

    @cached_property
    def verdict(self) -> Verdict:
        """What is the matter: a code, a step, a sentence."""
        return judge(self.evidence, self.session, self.findings)

    @cached_property
    def spent(self) -> Spent:
        """Money and tokens, in all and by model."""
        return spent_of(self.evidence, self.rows)

    @cached_property
    def first_error(self) -> str | None:
        """The session's first error, where it happened and what it said."""
        for record in self.session.records:
            if str(record.get("event", "")).endswith(".failed") and record.get("error.type"):
                kind = str(record["error.type"]).rpartition(".")[2]
                step = self.session.places.step(record)
                where = record.get("node") or "graph"
                where = where if step is None else f"step {step}, {where}"
                return f"{where}: {kind}: {record.get('error')}"
        failed = next((use for use in self.session.uses if use.failed), None)
        if failed is not None:
            return f"step {failed.step}, {failed.tool}: {failed.text}"
        head = self.session.head
        return head.error if head else None

    @property
    def resume(self) -> str | None:
        """The command that goes on with the thread, or `None` where nothing is left to do."""
        ended = self.session.last is not None and self.session.last.ending == "done"
        left = any(row.status == "left" for row in self.rows)
        if self.verdict.code in {"finished", "running"} or (ended and not left):
            return None
        waits = self.verdict.code in {"interrupted", "effect_in_doubt"}
        return f"plumbgraph resume {quote(self.thread_id)}" + (" --answer …" if waits else "")

    def diff(self, other: Timeline) -> Difference:
        """Where this story and another one part, and what that did to money and outcome."""
        return difference(self, other)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the raw events, as plain data."""
        return {
            "thread_id": self.thread_id,
            "verdict": self.verdict.to_dict(),
            "resume": self.resume,
            "first_error": self.first_error,
            "findings": [asdict(finding) for finding in self.findings],
            "spent": asdict(self.spent),
            "steps": [asdict(row) for row in self.rows],
            "effects": [asdict(effect) for effect in self.evidence.effects],
            "remarks": list(self.evidence.remarks),
        }

    def to_html(self) -> str:
        """One self-contained page, readable on a phone and in print, dark and light."""
        from plumbgraph.timeline.page import page  # noqa: PLC0415 - only when shown

        return page(self)

    def __repr__(self) -> str:
        return f"<Timeline of {self.thread_id!r}: {self.verdict.text}>"

    def _repr_html_(self) -> str:
        from plumbgraph.timeline.page import fragment  # noqa: PLC0415 - only when shown

        return fragment(self)
