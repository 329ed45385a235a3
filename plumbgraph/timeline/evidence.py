"""What is known about a thread, as values, and the protocol of those who know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeAlias

Record: TypeAlias = Mapping[str, Any]
"""One line of the event log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """A tool's answer as a message tells it: what was called, with what, and what came back."""

    name: str
    args: Mapping[str, Any]
    text: str
    failed: bool
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """A model's answer as a message tells it.

    Attributes:
        model: Its name, as far as it is told.
        input_tokens: Cached ones included.
        cost_usd: As the message itself tells it.
    """

    model: str | None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    tool_calls: tuple[str, ...] = ()

    @property
    def by_model(self) -> bool:
        """Whether a model said it, as far as it shows; a guard's notice names none."""
        return not (self.model is None and self.input_tokens is None and self.cost_usd is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFact:
    """One checkpoint of the thread's own namespace.

    Attributes:
        step: Its super-step; -1 is the input of a first run.
        source: `input`, `loop`, `update` or `fork`.
        changed: Channels that its step changed, without triggers.
        next: The nodes left to run after it, as far as its pending writes and channels say.
        interrupts: Values of the questions that were asked and not answered.
        error: Why a task failed on it, if one did.
        answers: Model answers that came with it.
        tools: Tool results that came with it.
        values: The small values worth showing: `stop_reason`, `workspace`, `route`, …
    """

    id: str
    parent_id: str | None
    step: int
    source: str
    at: datetime | None
    run_id: str | None = None
    changed: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    interrupts: tuple[Any, ...] = ()
    error: str | None = None
    answers: tuple[ModelAnswer, ...] = ()
    tools: tuple[ToolResult, ...] = ()
    values: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusFact:
    """What the store says of the thread now: see `plumbgraph.state.status.RunStatus`."""

    state: str
    next: tuple[str, ...] = ()
    owner: str | None = None
    since: datetime | None = None
    reason: str | None = None
    checkpoint_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectFact:
    """One effect in the journal; `state` is `intent`, `raised`, `void` or `done`."""

    name: str
    state: str
    call_id: str
    attempt: int
    at: datetime | None
    error: str | None = None
    live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known about a thread; pieces of it are added with `+`.

    Attributes:
        records: The thread's lines of the event log, oldest first.
        live: Runs of those lines whose process still runs, by their id and its number.
        checkpoints: Oldest first.
        status: What the store says of the thread.
        effects: The journal, oldest first.
        remarks: What could not be read, or was lost, one sentence each.
    """

    records: tuple[Record, ...] = ()
    live: frozenset[tuple[str, int]] = frozenset()
    checkpoints: tuple[CheckpointFact, ...] = ()
    status: StatusFact | None = None
    effects: tuple[EffectFact, ...] = ()
    remarks: tuple[str, ...] = ()

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            records=(*self.records, *other.records),
            live=self.live | other.live,
            checkpoints=(*self.checkpoints, *other.checkpoints),
            status=self.status or other.status,
            effects=(*self.effects, *other.effects),
            remarks=(*self.remarks, *other.remarks),
        )

    def __bool__(self) -> bool:
        return bool(self.records or self.checkpoints or self.status or self.effects)


class Source(Protocol):
    """Somebody who knows something about threads: all that a timeline asks of others."""

    def read(self, thread_id: str) -> Evidence:
        """What is known about this thread; empty when nothing is."""

    async def aread(self, thread_id: str) -> Evidence:
        """What is known about this thread, without blocking the loop."""


def in_order(pieces: Sequence[Evidence]) -> Evidence:
    """All pieces as one, each kind oldest first.

    Lines of one log stay in the order of the file, which no jump of a clock disturbs; lines of
    several logs are ordered by their time.
    """
    whole = sum(pieces, Evidence())
    records = whole.records
    if sum(bool(piece.records) for piece in pieces) > 1:
        records = tuple(sorted(records, key=lambda record: str(record.get("ts", ""))))
    return replace(
        whole,
        records=records,
        checkpoints=tuple(sorted(whole.checkpoints, key=lambda each: each.id)),
        effects=tuple(sorted(whole.effects, key=lambda each: str(each.at or ""))),
    )
