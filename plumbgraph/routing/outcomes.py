"""What the user's own outcomes say: P(ok) of each model by task cell, sharing strength upwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

_PULL = 8.0
_FORMER = {"router": "model"}
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
    """How well one charge's answer did.

    Attributes:
        cell: The task cell `node/skill/task`, or a bare task label, which counts in every cell
            that ends with it.
        model: Who answered.
        score: 0 to 1.
        also: A second cell in which it counts.
    """

    cell: str
    model: str
    score: float
    also: str = ALL


def renamed(cell: str) -> str:
    """The cell's name today, where an earlier plumbgraph decided under another; else `ALL`.

    `RouterNode` once decided under its own name, now under that of the node that asks.
    """
    node, slash, rest = cell.partition("/")
    return f"{_FORMER[node]}/{rest}" if slash and node in _FORMER else ALL


@lru_cache(maxsize=1024)
def label_of(cell: str) -> str:
    """The task label at a cell's end; `ALL` where it has none or is nothing but a label."""
    return cell.partition("/")[2].partition("/")[2]


class Tallies:
    """Outcomes by cell and model. Every outcome counts in its cell and in the model's own total."""

    def __init__(self, known: Mapping[tuple[str, str], Tally] | None = None) -> None:
        self._known = dict(known or {})

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        for cell in {outcome.cell, outcome.also, ALL}:
            key = (cell, outcome.model)
            self._known[key] = self._known.get(key, Tally()).plus(outcome.score)

    def add_all(self, outcomes: Iterable[Outcome]) -> None:
        """Count several."""
        for outcome in outcomes:
            self.add(outcome)

    def get(self, cell: str, model: str) -> Tally:
        """The outcomes of a model in a cell; cell `ALL` for all of them."""
        return self._known.get((cell, model), _NONE)

    def speaking(self, cell: str, model: str) -> Tally:
        """A model's outcomes that speak for a cell: its own, and those under its bare label."""
        own, label = self.get(cell, model), label_of(cell)
        if not label:
            return own
        wide = self.get(label, model)
        return Tally(own.count + wide.count, own.score + wide.score)

    def items(self) -> list[tuple[tuple[str, str], Tally]]:
        """All tallies."""
        return sorted(self._known.items())


def posterior(tallies: Tallies, cell: str, model: str, prior: float) -> tuple[float, float]:
    """P(ok) of a model in a cell, and how many of the cell's own outcomes it rests on.

    The cell is pulled towards the model's mean over all cells, and that towards the prior, each
    with the weight of eight outcomes.
    """
    overall, own = tallies.get(ALL, model), tallies.speaking(cell, model)
    mean = (overall.score + _PULL * prior) / (overall.count + _PULL)
    return (own.score + _PULL * mean) / (own.count + _PULL), own.count
