"""Outcomes kept beyond a process: one JSON line each, as `plumbgraph router fit` reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from plumbgraph.errors import SettingsError
from plumbgraph.routing.outcomes import ALL, Outcome, renamed
from plumbgraph.routing.values import Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow:
    """How well one answer did.

    Attributes:
        model: `provider:name` that answered.
        score: 0 (useless) to 1 (right).
        task: The task cell `node/skill/task`, or a bare task label, which speaks for that task
            whichever node asks; empty for outcomes that speak for all tasks alike.
        text: The request's text, what the text model learns from; may be empty.
        charge_id: Of the ledger; empty for outcomes from elsewhere.
        propensity: With which the model was chosen.
        usd: What the answer cost.
        shadow: The answer was asked for in shadow and never returned.
        benchmark: The outcome is from a public benchmark, not from lived experience.
        pair: Outcomes of several models on one request share this.
        comment: Free text.
        at: Seconds since the epoch.
    """

    model: str
    score: float
    task: str = ""
    text: str = ""
    charge_id: str = ""
    propensity: float = 1.0
    usd: float = 0.0
    shadow: bool = False
    benchmark: bool = False
    pair: str = ""
    comment: str = ""
    at: float = 0.0

    @classmethod
    def of(cls, charge: Charge, score: float, **more: Any) -> OutcomeRow:
        """The outcome of a charge."""
        told: dict[str, Any] = {
            "model": charge.model,
            "task": charge.task,
            "charge_id": charge.charge_id,
            "propensity": charge.propensity,
            "usd": charge.nano / 1e9,
        }
        return cls(score=score, **{**told, **more})

    def outcome(self) -> Outcome:
        """What the task cells learn from it.

        An outcome that no charge stands behind was written by hand: where it names the node
        under which `RouterNode` once decided, it counts under today's name too.
        """
        also = ALL if self.charge_id else renamed(self.task)
        return Outcome(self.task, self.model, self.score, also)


class Outcomes(Protocol):
    """Keeps outcomes."""

    def append(self, row: OutcomeRow) -> None:
        """Keep one."""

    def read(self) -> Iterable[OutcomeRow]:
        """All that were kept, oldest first."""


class NoOutcomes:
    """Keeps nothing beyond the process."""

    def append(self, row: OutcomeRow) -> None:
        """Not kept."""

    def read(self) -> Iterable[OutcomeRow]:
        """None."""
        return ()


class JsonlOutcomes:
    """Outcomes in a file of JSON lines, shared by all processes that name it.

    A line is written in one call to a file opened for appending, so lines of several processes
    do not mix. The file holds the texts of requests: keep it as safe as the threads.

    Args:
        path: The file; made, readable by its owner alone, when the first outcome comes.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def append(self, row: OutcomeRow) -> None:
        """Keep one outcome."""
        line = json.dumps(asdict(row), ensure_ascii=False, separators=(",", ":")) + "\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def read(self) -> list[OutcomeRow]:
        """All outcomes of the file; none where it does not exist."""
        if not self._path.exists():
            return []
        with self._path.open(encoding="utf-8", errors="replace") as file:
            return [
                parse_row(line, f"{self._path}:{number}")
                for number, line in enumerate(file, 1)
                if line.strip()
            ]


def parse_row(line: str, source: str) -> OutcomeRow:
    """One outcome from a JSON line; needs `model` and `score`.

    Raises:
        SettingsError: The line is no outcome; the message says where.
    """
    try:
        told = json.loads(line)
        known = OutcomeRow.__dataclass_fields__.keys()
        row = OutcomeRow(**{key: value for key, value in told.items() if key in known})
        wrong = "" if 0 <= float(row.score) <= 1 else f"the score {row.score!r} is not in 0 to 1"
        for name in ("model", "task", "text", "charge_id"):
            if not isinstance(value := getattr(row, name), str):
                wrong = f"{name} is {value!r}, not a string"
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SettingsError(
            f"{source}: not an outcome: {error}.",
            hint='A line is {"model": "provider:name", "score": 0.0 to 1.0, "text": …, "task": …}.',
        ) from error
    if wrong:
        raise SettingsError(f"{source}: not an outcome: {wrong}.")
    return row
