"""What the user's own outcomes say: P(ok) of each model by task cell, sharing strength upwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_PULL = 8.0
ALL = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes of one model in one cell: their number and the sum of their scores (0 to 1)."""

    count: float = 0.0
    score: float = 0.0

    def plus(self, score: float, *, weight: float = 1.0) -> Tally:
        """With one more outcome."""
        return Tally(self.count + weight, self.score + weight * score)


_NONE = Tally()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How well one charge's answer did."""

    cell: str
    model: str
    score: float


class Tallies:
    """Outcomes by cell and model. Every outcome counts in its cell and in the model's own total."""

    def __init__(self, known: Mapping[tuple[str, str], Tally] | None = None) -> None:
        self._known = dict(known or {})

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        for cell in {outcome.cell, ALL}:
            key = (cell, outcome.model)
            self._known[key] = self._known.get(key, Tally()).plus(outcome.score)

    def add_all(self, outcomes: Iterable[Outcome]) -> None:
        """Count several."""
        for outcome in outcomes:
            self.add(outcome)

    def get(self, cell: str, model: str) -> Tally:
        """The outcomes of a model in a cell; cell `ALL` for all of them."""
        return self._known.get((cell, model), _NONE)

    def items(self) -> list[tuple[tuple[str, str], Tally]]:
        """All tallies."""
        return sorted(self._known.items())


def posterior(tallies: Tallies, cell: str, model: str, prior: float) -> tuple[float, float]:
    """P(ok) of a model in a cell, and how many of the cell's own outcomes it rests on.

    The cell is pulled towards the model's mean over all cells, and that towards the prior, each
    with the weight of eight outcomes.
    """
    overall, own = tallies.get(ALL, model), tallies.get(cell, model)
    mean = (overall.score + _PULL * prior) / (overall.count + _PULL)
    return (own.score + _PULL * mean) / (own.count + _PULL), own.count
