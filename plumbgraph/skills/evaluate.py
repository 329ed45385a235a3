"""Measure how well skills are found by what people ask: recall, rank and "nothing fits"."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbgraph.errors import SettingsError
from plumbgraph.skills.ranking.search import SearchResult

NONE = "none"
CUTS = (1, 3, 5, 10)
_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One request: its class, the skills that would be right, and the words.

    Attributes:
        kind: Free text to group by; `none` means that no skill is right.
        accepted: Names that count as right; empty for `none`.
    """

    kind: str
    accepted: frozenset[str]
    query: str


@dataclass(frozen=True, slots=True)
class Miss:
    """A request whose first hit was wrong."""

    query: str
    accepted: tuple[str, ...]
    got: tuple[str, ...]
    rank: int | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        cases: Requests with a right skill that were counted.
        skipped: Requests whose skills are not in the library.
        recall: Share of requests with a right skill among the first k.
        mrr: Mean reciprocal rank within ten.
        auc: How often a request with a right skill scores above one without; None without both.
        false_fits: Share of `none` requests for which something was said to fit.
        missed_fits: Share of the others for which nothing was said to fit.
        by_kind: Recall at 1 and at 5 of each class.
    """

    cases: int
    skipped: int
    negatives: int
    recall: dict[int, float]
    mrr: float
    auc: float | None
    false_fits: float | None
    missed_fits: float | None
    by_kind: dict[str, tuple[float, float]]
    misses: tuple[Miss, ...]


def read_cases(path: Path | str) -> list[Case]:
    """Cases of a TSV file: class, accepted names joined by `|`, request; `none` and `-` for none.

    Raises:
        SettingsError: A line has other columns, or the file holds no case.
    """
    cases: list[Case] = []
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(
                csv.reader(file, delimiter="\t", quotechar=None, quoting=csv.QUOTE_NONE), 1
            ):
                if not row or row[0].startswith("#"):
                    continue
                if len(row) != _COLUMNS:
                    raise SettingsError(
                        f"Line {number} of {str(path)!r} has {len(row)} columns, not {_COLUMNS}.",
                        hint="Write class, accepted names joined by |, and the request.",
                    )
                kind, names, query = (cell.strip() for cell in row)
                accepted = frozenset() if kind == NONE else frozenset(names.split("|")) - {"", "-"}
                cases.append(Case(kind, accepted, query))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{str(path)!r} cannot be read: {error}.") from error
    if not cases:
        raise SettingsError(f"{str(path)!r} holds no case.")
    return cases


def evaluate(
    search: Callable[[str, int], SearchResult], cases: Iterable[Case], known: Iterable[str]
) -> Evaluation:
    """Ask every case; a case whose accepted names are all unknown is skipped and counted."""
    names = frozenset(known)
    cases = list(cases)
    usable = [case for case in cases if case.kind == NONE or case.accepted & names]
    asked = [(case, search(case.query, max(CUTS))) for case in usable]
    positive = [(case, result) for case, result in asked if case.kind != NONE]
    negative = [result for case, result in asked if case.kind == NONE]
    ranks = [_rank(case, result) for case, result in positive]
    return Evaluation(
        cases=len(positive),
        skipped=len(cases) - len(usable),
        negatives=len(negative),
        recall={k: _share([rank is not None and rank <= k for rank in ranks]) for k in CUTS},
        mrr=sum(1 / rank for rank in ranks if rank) / max(len(ranks), 1),
        auc=_auc([_best(result) for _, result in positive], [_best(r) for r in negative]),
        false_fits=_share([r.fits for r in negative]) if negative else None,
        missed_fits=_share([not r.fits for _, r in positive]) if positive else None,
        by_kind=_by_kind([case for case, _ in positive], ranks),
        misses=tuple(
            Miss(case.query, tuple(sorted(case.accepted)), tuple(h.name for h in result[:3]), rank)
            for (case, result), rank in zip(positive, ranks, strict=True)
            if rank != 1
        ),
    )


def _rank(case: Case, result: SearchResult) -> int | None:
    places = (place for place, hit in enumerate(result, 1) if hit.name in case.accepted)
    return next(places, None)


def _best(result: SearchResult) -> float:
    return result[0].score if result else 0.0


def _share(facts: Sequence[bool]) -> float:
    return sum(facts) / max(len(facts), 1)


def _auc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    if not positive or not negative:
        return None
    wins = sum((a > b) + 0.5 * (a == b) for a in positive for b in negative)
    return wins / (len(positive) * len(negative))


def _by_kind(cases: Sequence[Case], ranks: Sequence[int | None]) -> dict[str, tuple[float, float]]:
    kinds: dict[str, list[int | None]] = {}
    for case, rank in zip(cases, ranks, strict=True):
        kinds.setdefault(case.kind, []).append(rank)
    return {
        kind: (_share([r == 1 for r in rs]), _share([r is not None and r <= 5 for r in rs]))  # noqa: PLR2004 - recall at 5
        for kind, rs in sorted(kinds.items())
    }
