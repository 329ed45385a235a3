"""What a recall asks, and what may answer it: values that every way of finding shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.recollection import Mode, TokenCounter, about
from plumbgraph.memory.records import Marks

MARGIN = 8
_NO_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Find what a query calls up; the result is a `Recollection`.

    Attributes:
        token_budget: Most tokens of all texts together.
        max_items: Most items besides the pinned ones; 0 for none.
        at_us: Show each item as it was valid at this moment.
        mode: `broad` scores the words of texts; `precise` lets only names and aliases call.
        scopes: Only items with any of these labels.
        kinds: Only items of these kinds.
        pinned: Whether pinned items come first.
    """

    namespace: Namespace
    query: str
    token_budget: int = 1_000
    max_items: int | None = 10
    at_us: int | None = None
    mode: Mode = "broad"
    scopes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    pinned: bool = True
    count: TokenCounter = about
    language: str = field(default="english", kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.query, str):
            raise MemoryInvalid(f"A query is a text, not {type(self.query).__name__}.")
        if self.mode not in {"broad", "precise"}:
            raise MemoryInvalid(f"The mode {self.mode!r} is neither broad nor precise.")
        if self.token_budget < 0 or (self.max_items is not None and self.max_items < 0):
            raise MemoryInvalid(
                f"token_budget={self.token_budget} and max_items={self.max_items} must not be "
                "negative."
            )
        given: tuple[Any, ...] = (self.scopes, self.kinds)
        if any(isinstance(labels, str) for labels in given):
            raise MemoryInvalid("scopes and kinds are tuples of labels, not one text.")

    @property
    def wanted(self) -> int:
        """How many candidates to look at, since some may turn out to be gone."""
        return (_NO_LIMIT if self.max_items is None else self.max_items) + MARGIN

    def lets(self, marks: Marks) -> bool:
        """Whether an item with these marks may surface."""
        return shows(marks, frozenset(self.scopes), frozenset(self.kinds))


def shows(marks: Marks, scopes: frozenset[str], kinds: frozenset[str]) -> bool:
    """Whether an item may surface under these filters; empty ones let everything pass."""
    return (
        marks.status == "active"
        and (not scopes or bool(scopes.intersection(marks.scopes)))
        and (not kinds or marks.kind in kinds)
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key that may be recalled, its raw score and why."""

    key: str
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found before anything is fetched.

    Attributes:
        found: Candidates, best first.
        pinned: Keys of pinned items, the last changed first.
        pending: How many changes were taken in first.
        idf: How much a word tells.
    """

    found: list[Candidate]
    pinned: Sequence[str]
    pending: int
    idf: Callable[[str], float]
