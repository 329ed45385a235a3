"""Two runs or forks beside each other: where they part, and what differs after that."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from plumbgraph.timeline.steps import StepRow

if TYPE_CHECKING:
    from plumbgraph.timeline.face import Timeline


@dataclass(frozen=True, slots=True)
class Pair:
    """The same place in both stories; `same` says whether the same happened there."""

    step: int
    left: StepRow | None
    right: StepRow | None
    same: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two stories part.

    Attributes:
        parted_at: The first step that differs, or `None` when none does.
        pairs: All steps of the two, side by side.
        usd: Dollars of the second minus those of the first.
    """

    left: str
    right: str
    parted_at: int | None
    pairs: tuple[Pair, ...]
    usd: float
    verdicts: tuple[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As plain data: the steps that differ, by what they did."""
        return {
            "left": self.left,
            "right": self.right,
            "parted_at": self.parted_at,
            "usd": self.usd,
            "verdicts": list(self.verdicts),
            "steps": [
                {"step": each.step, "left": did(each.left), "right": did(each.right)}
                for each in self.pairs
                if not each.same
            ],
        }


def difference(left: Timeline, right: Timeline) -> Difference:
    """Where two timelines part."""
    mine, theirs = _done(left.rows), _done(right.rows)
    pairs = tuple(Pair((a or b).step, a, b, _same(a, b)) for a, b in zip_longest(mine, theirs))
    parted = next((each.step for each in pairs if not each.same), None)
    return Difference(
        left.thread_id,
        right.thread_id,
        parted,
        pairs,
        right.spent.usd - left.spent.usd,
        (left.verdict.text, right.verdict.text),
    )


def _done(rows: list[StepRow]) -> list[StepRow]:
    """The rows that count: of a step that was cut off and done again, the last attempt."""
    last: dict[tuple[int, str], StepRow] = {}
    for number, row in enumerate(rows):
        again = (row.step, f"{row.node} {number}" if row.status == "done" else row.node)
        last[again] = row
    finished = {(row.step, row.node) for row in rows if row.status == "done"}
    kept = [
        row for row in last.values() if row.status == "done" or (row.step, row.node) not in finished
    ]
    return sorted(kept, key=lambda row: (row.step, row.run))


def did(row: StepRow | None) -> str:
    """What a row did, in a few words."""
    if row is None:
        return "nothing"
    words = [row.node, *(f"{tool.name}:{tool.status}" for tool in row.tools), *row.models]
    words += [note.text for note in row.notes if note.event in {"route.decided", "skill.loaded"}]
    return " ".join([*words, *([row.status] if row.status != "done" else [])])


def _same(left: StepRow | None, right: StepRow | None) -> bool:
    return left is not None and right is not None and did(left) == did(right)
