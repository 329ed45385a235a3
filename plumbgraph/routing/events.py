"""What routing reports: decisions, failures, charges, and money it is not sure of."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from plumbgraph.tracing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDecided(Event):
    """A model was chosen for a call."""

    name: ClassVar[str] = "route.decided"

    model: str
    code: str
    reason: str
    task: str
    p_ok: float
    expected_usd: float
    saved_usd: float
    propensity: float
    refused: dict[str, str]
    policy_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFailed(Event):
    """A model did not answer; `rest_s` is how long it is left alone."""

    name: ClassVar[str] = "route.failed"
    level: ClassVar[int] = logging.WARNING

    model: str
    kind: str
    error: str
    rest_s: float
    next_model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteCharged(Event):
    """A call was paid."""

    name: ClassVar[str] = "route.charged"

    charge_id: str
    model: str
    usd: float
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    price_source: str
    settled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteReplayed(Event):
    """A recorded answer was given again; nothing was paid."""

    name: ClassVar[str] = "route.replayed"

    charge_id: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDoubted(Event):
    """A call may have been billed without an answer of ours; its worst case counts as spent."""

    name: ClassVar[str] = "route.doubted"
    level: ClassVar[int] = logging.WARNING

    lease: str
    model: str
    worst_usd: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetDegraded(Event):
    """The budget had no room for the chosen call: its answer is limited, or a cheaper one made."""

    name: ClassVar[str] = "budget.degraded"
    level: ClassVar[int] = logging.WARNING

    account: str
    wanted: str
    model: str
    left_usd: float
    max_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOverrun(Event):
    """A call cost more than the worst case reserved for it: the bounds of its card are wrong."""

    name: ClassVar[str] = "budget.overrun"
    level: ClassVar[int] = logging.ERROR

    charge_id: str
    model: str
    reserved_usd: float
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerBehind(Event):
    """A charge could not be booked now; its lease will count as spent instead."""

    name: ClassVar[str] = "budget.ledger_behind"
    level: ClassVar[int] = logging.ERROR

    charge_id: str
    lease: str
    usd: float
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteShadowed(Event):
    """An alternative was asked as well; its answer was not returned."""

    name: ClassVar[str] = "route.shadowed"

    charge_id: str
    model: str
    shadow_charge_id: str
    shadow_model: str
    score: float | None
    shadow_score: float | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackGiven(Event):
    """An outcome was counted."""

    name: ClassVar[str] = "route.feedback"

    charge_id: str
    model: str
    task: str
    score: float
