"""What a policy reports: a refusal, with its rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from plumbgraph.tracing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRefused(Event):
    """A rule refused something."""

    name: ClassVar[str] = "policy.refused"

    rule: str
    verdict: str
    digest: str
