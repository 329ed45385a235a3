"""What the journal reports: intents, results, replays, doubts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from plumbgraph.tracing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectIntended(Event):
    """An effect is about to be recorded as intended, and then to happen."""

    name: ClassVar[str] = "effect.intended"
    effect: str
    key: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectReturned(Event):
    """An effect happened; its result is not recorded yet."""

    name: ClassVar[str] = "effect.returned"
    effect: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectDone(Event):
    """An effect's result is recorded."""

    name: ClassVar[str] = "effect.done"
    effect: str
    key: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectReplayed(Event):
    """A repeated call got the recorded result; nothing happened again."""

    name: ClassVar[str] = "effect.replayed"
    effect: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectVoided(Event):
    """An effect is known not to have happened."""

    name: ClassVar[str] = "effect.voided"
    effect: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectDoubted(Event):
    """Whether an effect happened is unknown; somebody is asked."""

    name: ClassVar[str] = "effect.doubted"
    level: ClassVar[int] = logging.WARNING
    effect: str
    key: str
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsRepaired(Event):
    """Tool calls that a crash left without an answer got a true one."""

    name: ClassVar[str] = "effect.calls_repaired"
    level: ClassVar[int] = logging.WARNING
    not_started: int
    done: int
    unknown: int
