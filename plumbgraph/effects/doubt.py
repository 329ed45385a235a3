"""When nobody knows whether an effect happened: the question to a person, and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from langgraph.types import interrupt

from plumbgraph.effects.values import Call, Done, Outcome, Row

Answer: TypeAlias = Done | Outcome
_SHORT = 16
KIND = "effects_in_doubt"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A call that may or may not have happened."""

    key: str
    call: Call
    row: Row

    @property
    def id(self) -> str:
        """Its name in question and answer."""
        return self.key[:_SHORT]


def question(doubts: Sequence[Doubt]) -> dict[str, Any]:
    """What the interrupt carries: plain data, to be shown to a person."""
    return {
        "plumbgraph": KIND,
        "text": "A crash fell between these effects and their records. Did they happen?",
        "effects": [
            {
                "id": doubt.id,
                "name": doubt.call.name,
                "args": doubt.call.args,
                "begun_at": datetime.fromtimestamp(doubt.row.since, UTC).isoformat(),
                "error": doubt.row.error,
            }
            for doubt in doubts
        ],
        "answer": 'Resume with {"effects": {id: "not_done" | "done" | {"done": result}, …}}.',
    }


def answers(value: Any, doubts: Sequence[Doubt]) -> dict[str, Answer] | None:
    """The answer for each doubt by its key; nothing when `value` does not answer this question."""
    if isinstance(value, Mapping) and "effects" in value:
        told = value["effects"]
    elif len(doubts) == 1:
        told = {doubts[0].id: value}
    else:
        return None
    if not isinstance(told, Mapping):
        return None
    found = {doubt.key: _answer(told.get(doubt.id)) for doubt in doubts}
    return {key: each for key, each in found.items() if each} if all(found.values()) else None


def _answer(told: Any) -> Answer | None:
    match told:
        case "not_done":
            return Outcome.NOT_DONE
        case "done":
            return Done()
        case {"done": result, **rest} if not rest:
            return Done(result)
        case _:
            return None


def ask(doubts: Sequence[Doubt]) -> dict[str, Answer]:
    """Interrupt the run until a person says what happened.

    A value that answers something else belongs to an earlier question of the same task, for
    example a tool's own; then this one is asked anew.
    """
    while True:
        found = answers(interrupt(question(doubts)), doubts)
        if found is not None:
            return found
