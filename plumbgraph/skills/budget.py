"""Which loaded skills stay when their instructions outgrow the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plumbgraph.skills.channel import SkillEntry, active


@dataclass(frozen=True, slots=True)
class Fit:
    """A decision about the loaded skills.

    Attributes:
        kept: Names that stay, in loading order.
        evicted: Names that must go, the least recently used first.
        tokens: What stays costs together.
        reason: The decision in a sentence.
    """

    kept: tuple[str, ...]
    evicted: tuple[str, ...]
    tokens: int
    reason: str


def fit(entries: Mapping[str, SkillEntry], budget: int) -> Fit:
    """Keep the pinned skills, then the most recently used, as long as they fit.

    Ties are broken by the time of loading, then by name, so that every process decides alike.
    Pinned skills are never evicted; when they alone exceed the budget nothing else stays.
    """
    present = active(entries)
    order = sorted(
        present,
        key=lambda name: (
            present[name].get("mode") != "pinned",
            -present[name]["used"],
            -present[name]["at"],
            name,
        ),
    )
    kept: set[str] = set()
    used = 0
    for name in order:
        cost = present[name].get("tokens", 0)
        if present[name].get("mode") == "pinned" or used + cost <= budget:
            kept.add(name)
            used += cost
    evicted = tuple(name for name in reversed(order) if name not in kept)
    reason = f"{used} of {budget} tokens used"
    if evicted:
        reason += f"; least recently used out: {', '.join(evicted)}"
    return Fit(tuple(name for name in present if name in kept), evicted, used, reason)
