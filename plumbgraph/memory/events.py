"""What memory tells the event stream: names, counts and versions, never content."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from plumbgraph.tracing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemWritten(Event):
    """An item got a new version, or was deleted (`version` is then `None`)."""

    name: ClassVar[str] = "memory.written"
    namespace: str
    key: str
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSettled(Event):
    """A fact was settled in its slot."""

    name: ClassVar[str] = "memory.fact"
    namespace: str
    key: str
    said: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled(Event):
    """A recall was answered."""

    name: ClassVar[str] = "memory.recalled"
    namespace: str
    mode: str
    hits: int
    tokens: int
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLoaded(Event):
    """An in-process index was read anew, and why."""

    name: ClassVar[str] = "memory.index_loaded"
    namespace: str
    items: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleUsed(Event):
    """The server's search module answers for a namespace from now on, or cannot, and why."""

    name: ClassVar[str] = "memory.module"
    namespace: str
    items: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slept(Event):
    """A sleep changed the memory; `report` undoes it."""

    name: ClassVar[str] = "memory.slept"
    namespace: str
    report: str
    merged: int
    archived: int
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased(Event):
    """A subject was erased; its name is told only as a digest."""

    name: ClassVar[str] = "memory.erased"
    level: ClassVar[int] = logging.WARNING
    subject_digest: str
    items: int
    versions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MayEvict(Event):
    """The server may evict keys when its memory is full, so memories could vanish."""

    name: ClassVar[str] = "memory.may_evict"
    level: ClassVar[int] = logging.WARNING
    target: str
    policy: str
