"""What a recall gives back, chosen within a budget: pure, so that it can be tested to the token."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from plumbgraph.memory.items import MemoryItem, MemorySearchItem
from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.shown import recollection_html

Mode: TypeAlias = Literal["broad", "precise"]
Tier: TypeAlias = Literal["pinned", "relevant", "question"]
TokenCounter: TypeAlias = Callable[[str], int]

_BYTES_PER_TOKEN = 3
_DAY_US = 86_400_000_000
_FRESH = 0.1
_FRESH_HALF_LIFE_DAYS = 30
_USED = 0.05
_USED_AT_MOST = 4
_FACT = {"subject", "attribute", "value"}


def about(text: str) -> int:
    """A cautious guess at the tokens of a text: one for each three bytes."""
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Hit:
    """One memory recalled, and why.

    Attributes:
        why: The words that called it up, or how it was found.
        superseded_by_text: Key of a newer text that seems to contradict this one: a guess.
    """

    item: MemoryItem
    score: float
    tier: Tier
    why: str
    superseded_by_text: str | None = None
    confidence: float | None = None

    @property
    def key(self) -> str:
        """The item's key."""
        return self.item.key

    @property
    def text(self) -> str:
        """The memory as one line for a prompt."""
        return shown(self.item) + (
            " (perhaps outdated: a newer memory says otherwise)" if self.superseded_by_text else ""
        )


@dataclass(frozen=True, slots=True)
class Recollection:
    """The memories recalled, best first, pinned ones before all; empty when nothing fits.

    Attributes:
        tokens: Counted tokens of all texts; never more than the budget.
        dropped: How many were found and did not fit.
        pending: How many changes the index took in first.
    """

    namespace: Namespace
    query: str
    mode: Mode
    hits: tuple[Hit, ...] = ()
    tokens: int = 0
    dropped: int = 0
    pending: int = field(default=0, compare=False)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def _repr_html_(self) -> str:
        return recollection_html(self)

    def tier(self, tier: Tier) -> tuple[Hit, ...]:
        """The hits of one tier."""
        return tuple(hit for hit in self.hits if hit.tier == tier)

    @property
    def text(self) -> str:
        """The memories as lines for a prompt."""
        return "\n".join(f"- {hit.text}" for hit in self.hits)


def shown(item: MemoryItem | MemorySearchItem) -> str:
    """An item as one line: a fact as subject, attribute and value, else its texts."""
    value = item.value
    if value.keys() == _FACT:
        line = f"{value['subject']} · {value['attribute']}: {_plain(value['value'])}"
        if item.rivals:
            others = ", ".join(_plain(rival.value["value"]) for rival in item.rivals)
            line += f" (contested by: {others})"
        return line
    return _plain(value) if len(value) != 1 else _plain(next(iter(value.values())))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_plain(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(part) for part in value)
    return " ".join(str(value).split())


def weighed(score: float, *, updated_us: int, uses: int, now_us: int) -> float:
    """A score with a little more for what is fresh (a tenth) and often used (up to a fifth)."""
    age_days = max(0, now_us - updated_us) / _DAY_US
    fresh: float = 1 + _FRESH * 0.5 ** (age_days / _FRESH_HALF_LIFE_DAYS)
    used = 1 + _USED * min(math.log2(1 + uses), _USED_AT_MOST)
    return score * fresh * used


def within(
    hits: Iterable[Hit], *, token_budget: int, max_items: int | None, count: TokenCounter
) -> tuple[tuple[Hit, ...], int, int]:
    """The hits that fit, their tokens, and how many did not; pinned ones come first.

    `max_items` bounds those that are not pinned.
    """
    kept: list[Hit] = []
    tokens = dropped = unpinned = 0
    for hit in _pinned_first(list(hits)):
        cost = count(f"- {hit.text}\n")
        free = hit.tier == "pinned" or max_items is None or unpinned < max_items
        if not free or tokens + cost > token_budget:
            dropped += 1
            continue
        kept.append(hit)
        tokens += cost
        unpinned += hit.tier != "pinned"
    return tuple(kept), tokens, dropped


def _pinned_first(hits: Sequence[Hit]) -> list[Hit]:
    return [h for h in hits if h.tier == "pinned"] + [h for h in hits if h.tier != "pinned"]
