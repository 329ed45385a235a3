"""Lived experience beside benchmarks, task by task, and what shadow calls say of a change."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from plumbgraph.routing.feedback import OutcomeRow
from plumbgraph.routing.shown import PairRows, TaskRows

_ENOUGH = 10
_Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """How one model does at one task.

    Attributes:
        task: The task cell.
        model: The model.
        count: Lived outcomes.
        lived: Their mean score.
        low: Lower end of its 95 % interval (Wilson).
        high: Upper end.
        benchmark: Mean score of benchmark outcomes, `None` where there are none.
        gap: Lived less benchmark.
        flagged: The benchmark lies outside the interval: it does not speak for this task.
        usd: Mean cost of an answer.
    """

    task: str
    model: str
    count: int
    lived: float
    low: float
    high: float
    benchmark: float | None
    gap: float | None
    flagged: bool
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """Two models on the same requests, from shadow calls.

    Attributes:
        task: The task cell.
        model: Whose answers were returned.
        shadow: Whose were not.
        count: Requests.
        difference: Mean score of the shadow less that of the model.
        low: Lower end of the difference's 95 % interval.
        high: Upper end.
        saved_usd: Mean cost of the model less that of the shadow.
        verdict: `promote` where the shadow is no worse and not dearer, `keep` where it is worse,
            `wait` where that is not known yet.
    """

    task: str
    model: str
    shadow: str
    count: int
    difference: float
    low: float
    high: float
    saved_usd: float
    verdict: Literal["promote", "keep", "wait"]


def tasks(rows: Iterable[OutcomeRow]) -> TaskRows:
    """Every task and model with lived outcomes, in the order of their names."""
    lived: dict[tuple[str, str], list[OutcomeRow]] = defaultdict(list)
    public: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.benchmark:
            public[(row.task, row.model)].append(row.score)
            public[("", row.model)].append(row.score)
        else:
            lived[(row.task, row.model)].append(row)
    return TaskRows(
        _task_row(task, model, own, public.get((task, model)) or public.get(("", model)))
        for (task, model), own in sorted(lived.items())
    )


def pairs(rows: Iterable[OutcomeRow], *, margin: float = 0.02) -> PairRows:
    """What shadow calls say, task by task.

    Args:
        rows: Outcomes; those with a `pair` are used.
        margin: So much worse still counts as no worse.
    """
    by_pair: dict[str, list[OutcomeRow]] = defaultdict(list)
    for row in rows:
        if row.pair:
            by_pair[row.pair].append(row)
    cells: dict[tuple[str, str, str], list[tuple[OutcomeRow, OutcomeRow]]] = defaultdict(list)
    for told in by_pair.values():
        answer = next((row for row in told if not row.shadow), None)
        shadow = next((row for row in told if row.shadow), None)
        if answer and shadow:
            cells[(answer.task, answer.model, shadow.model)].append((answer, shadow))
    return PairRows(_pair_row(*key, told, margin) for key, told in sorted(cells.items()))


def _task_row(task: str, model: str, own: list[OutcomeRow], public: list[float] | None) -> TaskRow:
    count, mean = len(own), sum(row.score for row in own) / len(own)
    low, high = _wilson(mean, count)
    benchmark = sum(public) / len(public) if public else None
    return TaskRow(
        task=task,
        model=model,
        count=count,
        lived=mean,
        low=low,
        high=high,
        benchmark=benchmark,
        gap=None if benchmark is None else mean - benchmark,
        flagged=benchmark is not None and not low <= benchmark <= high,
        usd=sum(row.usd for row in own) / count,
    )


def _pair_row(
    task: str,
    model: str,
    shadow: str,
    told: list[tuple[OutcomeRow, OutcomeRow]],
    margin: float,
) -> PairRow:
    count = len(told)
    differences = [other.score - own.score for own, other in told]
    mean = sum(differences) / count
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / max(count - 1, 1))
    # A spread of zero from few pairs is no certainty: one more differing pair is imagined.
    half = _Z * max(spread, 1 / count) / math.sqrt(count)
    saved = sum(own.usd - other.usd for own, other in told) / count
    verdict: Literal["promote", "keep", "wait"] = "wait"
    if count >= _ENOUGH and mean - half >= -margin and saved >= 0:
        verdict = "promote"
    elif count >= _ENOUGH and mean + half < -margin:
        verdict = "keep"
    return PairRow(
        task=task,
        model=model,
        shadow=shadow,
        count=count,
        difference=mean,
        low=mean - half,
        high=mean + half,
        saved_usd=saved,
        verdict=verdict,
    )


def _wilson(mean: float, count: int) -> tuple[float, float]:
    z2 = _Z * _Z
    center = (mean + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * math.sqrt(mean * (1 - mean) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return max(center - half, 0.0), min(center + half, 1.0)
