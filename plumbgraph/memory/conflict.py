"""What a new claim does to the one that is held: the same decision as in `memory.lua`.

The server decides, so that of many writers none is lost; this is that decision to read, and the
oracle its tests compare with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

Policy: TypeAlias = Literal["newest", "last_write", "confidence", "source", "contest", "keep"]
Effect: TypeAlias = Literal[
    "created", "refreshed", "superseded", "late", "outvoted", "contested", "settled"
]

POLICIES: tuple[Policy, ...] = (
    "newest",
    "last_write",
    "confidence",
    "source",
    "contest",
    "keep",
)


@dataclass(frozen=True, slots=True)
class Held:
    """The claim that stands in a slot.

    Attributes:
        since_us: Start of its validity, or when it was written.
        affirmed_us: Latest valid time at which it was claimed again.
    """

    norm: str
    since_us: int
    confidence: float = 1.0
    rank: int = 0
    affirmed_us: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """A new claim; `since_us` is `None` when it holds from now on."""

    norm: str
    since_us: int | None = None
    confidence: float = 1.0
    rank: int = 0


def settle(policy: Policy, held: Held | None, claim: Claimed) -> tuple[Effect, str]:
    """What the claim does, and why.

    A claim that repeats the held one refreshes it. By default the one whose validity began last
    wins, so a report of an older state that comes late goes into the history. Lower confidence
    or a less trusted source is outvoted under those policies. `contest` keeps both, so that the
    agent asks instead of guessing.
    """
    if held is None:
        return "created", "nothing was known"
    earlier = claim.since_us is not None and claim.since_us < held.since_us
    if held.norm == claim.norm:
        if earlier:
            return "late", "the same value, true since earlier"
        return "refreshed", "the same value again"
    return _between(policy, held, claim)


def _between(policy: Policy, held: Held, claim: Claimed) -> tuple[Effect, str]:
    match policy:
        case "contest":
            return "contested", "another value, and nobody has settled it"
        case "keep":
            return "outvoted", "what is held was kept"
        case "last_write":
            return "superseded", "the last write wins"
        case "confidence" if claim.confidence < held.confidence:
            return "outvoted", f"less sure: {claim.confidence} against {held.confidence}"
        case "source" if claim.rank > held.rank:
            return "outvoted", "the source is less trusted"
        case "newest" if _since(claim) < max(held.since_us, held.affirmed_us):
            return "late", "what is held became true, or was affirmed, later"
    return "superseded", _WINS[policy]


def _since(claim: Claimed) -> float:
    return math.inf if claim.since_us is None else claim.since_us


_WINS: dict[Policy, str] = {
    "newest": "it became true later",
    "confidence": "at least as sure",
    "source": "the source is at least as trusted",
}
