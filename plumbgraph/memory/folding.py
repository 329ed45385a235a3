"""An older text that a newer one contradicts: found at read time, told as a guess, at most once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plumbgraph.memory.words import plain, terms

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_NUMBER = re.compile(r"(?<![\w.])[$€£]?(\d[\d,]*(?:\.\d+)?)\s*(%|[a-z]+)?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?:{'|'.join(_MONTHS)})[a-z]*"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE = re.compile(rf"\b(?:\d{{4}}-\d\d-\d\d|(?:{_DAY}\s+)?{_MONTH}\.?(?:\s+\d{{1,2}})?)\b")
_VALUE = re.compile(rf"\d|\b{_MONTH}")
_DIGIT = re.compile(r"\d")
_COVERED = 0.3


@dataclass(frozen=True, slots=True)
class Told:
    """A text that may take part: where it stands and when it was last changed."""

    place: int
    at_us: int
    text: str


@dataclass(frozen=True, slots=True)
class Fold:
    """The older text and the newer one that seems to contradict it; `confidence` is 0 to 1."""

    older: int
    newer: int
    confidence: float


def contradiction(
    query: Sequence[str], told: Sequence[Told], idf: Callable[[str], float], language: str
) -> Fold | None:
    """The one pair of texts that most clearly disagree about what the query asks.

    Both hold a sentence that shares words of the query worth at least 0.3 of its weight, with
    a value of the same kind (a number with the same unit, or a date) that differs.
    """
    weights = {term: idf(term) for term in set(query)}
    mass = sum(weights.values())
    if mass <= 0:
        return None
    # most texts hold no value at all, and then there is nothing to stem
    valued = [entry for entry in told if _holds_value(plain(entry.text))]
    if len(valued) < 2:  # noqa: PLR2004 - a pair
        return None
    spoken = [
        (entry, [part for part in _parts(entry.text, weights, language) if part[1]])
        for entry in valued
    ]
    best: Fold | None = None
    for i, (one, of_one) in enumerate(spoken):
        for two, of_two in spoken[i + 1 :]:
            if one.at_us == two.at_us:
                continue
            covered = _disagreement(of_one, of_two, weights) / mass
            if covered >= _COVERED and (best is None or covered > best.confidence):
                older, newer = sorted((one, two), key=lambda entry: entry.at_us)
                best = Fold(older.place, newer.place, min(1.0, covered))
    return best


def _holds_value(text: str) -> bool:
    if _DIGIT.search(text):
        return True
    # looking for a month at each letter is slow, and most texts do not hold its letters anywhere
    return any(month in text for month in _MONTHS) and _VALUE.search(text) is not None


def _parts(
    text: str, weights: dict[str, float], language: str
) -> list[tuple[set[str], dict[str, set[str]]]]:
    parts = []
    for sentence in _SENTENCE.split(text):
        if not _holds_value(plain(sentence)):
            continue
        shared = set(terms(sentence, language)) & set(weights)
        if shared:
            parts.append((shared, _values(plain(sentence))))
    return parts


def _values(sentence: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    dates = _DATE.findall(sentence)
    if dates:
        found["date"] = set(dates)
    for number, unit in _NUMBER.findall(_DATE.sub(" ", sentence)):
        found.setdefault(unit or "#", set()).add(number.replace(",", ""))
    return found


def _disagreement(
    left: Sequence[tuple[set[str], dict[str, set[str]]]],
    right: Sequence[tuple[set[str], dict[str, set[str]]]],
    weights: dict[str, float],
) -> float:
    best = 0.0
    for words, values in left:
        for others, other_values in right:
            kinds = [k for k in values if k in other_values and not values[k] & other_values[k]]
            if kinds:
                best = max(best, sum(weights[term] for term in words & others))
    return best
