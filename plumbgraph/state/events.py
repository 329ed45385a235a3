"""What the saver tells the event stream."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from plumbgraph.tracing import emit
from plumbgraph.tracing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadForked(Event):
    """A put continued an older checkpoint, and its descendants are a branch of their own."""

    name: ClassVar[str] = "state.forked"
    thread_id: str
    branch: str
    parent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterRefused(Event):
    """A put or its writes were refused; `code` is the error's."""

    name: ClassVar[str] = "state.refused"
    level: ClassVar[int] = logging.WARNING
    thread_id: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTaken(Event):
    """This process owns a thread."""

    name: ClassVar[str] = "state.claimed"
    thread_id: str
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimWasLost(Event):
    """The lease of a claim ran out before it was renewed, or passed on."""

    name: ClassVar[str] = "state.claim_lost"
    level: ClassVar[int] = logging.WARNING
    thread_id: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadRecovered(Event):
    """A crashed or accepted run was taken up; `outcome` says how that ended."""

    name: ClassVar[str] = "state.recovered"
    thread_id: str
    outcome: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadParked(Event):
    """Recovery gave a thread up after several attempts."""

    name: ClassVar[str] = "state.parked"
    level: ClassVar[int] = logging.WARNING
    thread_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadAdopted(Event):
    """A thread of LangGraph's PostgresSaver was taken over."""

    name: ClassVar[str] = "state.adopted"
    thread_id: str
    checkpoints: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignWrite(Event):
    """An old worker wrote to a thread after it was taken over; what it wrote is not seen here."""

    name: ClassVar[str] = "state.foreign_write"
    level: ClassVar[int] = logging.WARNING
    thread_id: str
    checkpoint_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedAround(Event):
    """The database was used in another way than planned, as behind a transaction pooler."""

    name: ClassVar[str] = "postgres.worked_around"
    level: ClassVar[int] = logging.WARNING
    what: str
    reason: str


def worked_around(what: str, reason: str) -> None:
    """Tell that something was worked around; what `Database(on_event=…)` is given."""
    emit(WorkedAround(what=what, reason=reason))
