"""BM25F over name, description and body, with the name and neighbouring words counted besides.

Weighted fields follow Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted
fields" (2004). The body counts although the model will only see the description: it holds the
words people ask with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plumbgraph.skills.ranking.analysis import FIELDS, Document, Ids

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
BACKGROUND = 50
"""Skills imagined beside the library's own, so that rarity means something in a small one."""
LEAD = 80
"""So many terms of a body are its beginning, which mostly says what the rest is about."""
_KEPT = 500
_READ_CLOSELY = 200


_RANGE = range(len(FIELDS))
_NONE: Ids = np.zeros(0, np.int32)
_GAP: Ids = np.full(1, -1, np.int32)
_ZERO: Ints = np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each kind of evidence counts.

    Attributes:
        fields: Weight of name, description, body, and of what stands first: the description's
            first sentence and the body's beginning (both count as part of their field too).
        length: How far the length of each of the five is normalised, 0 to 1.
        k1: Saturation of repeated terms.
        name: Weight of a name that the request spells out, by the square of the share spelt out.
        phrase: Weight of two query terms that stand side by side.
        synonym: Weight of a term that may stand for a query term.
    """

    fields: tuple[float, float, float, float, float] = (1.5, 1.0, 0.25, 1.2, 0.3)
    length: tuple[float, float, float, float, float] = (0.4, 1.0, 0.7, 0.75, 0.75)
    k1: float = 1.6
    name: float = 0.3
    phrase: float = 0.1
    synonym: float = 0.3


@dataclass(frozen=True, slots=True)
class Arrays:
    """What an index is made of: plain arrays, which a file can hold.

    Attributes:
        text: The terms of every document in order, a -1 after each field.
        place: Where each document begins in `text`, and its end.
        names: The terms of every name.
        name_bounds: Where each name begins in `names`, and their end.
        owners: Documents of each term, ascending.
        impact: How much the term says in that document.
        start: Where each term begins in `owners` and `impact`, and their end.
        idf: How rare each term is.
    """

    text: Ids
    place: Ints
    names: Ids
    name_bounds: Ints
    owners: Ids
    impact: Floats
    start: Ints
    idf: NDArray[np.float64]


def build(documents: Sequence[Document], terms: int, weights: Weights) -> Arrays:
    """The index of documents; building is arithmetic on arrays."""
    count = len(documents)
    flat = [np.concatenate([_NONE, *(d.fields[i] for d in documents)]) for i in _RANGE]
    lengths = [np.array([len(d.fields[i]) for d in documents], np.int64) for i in _RANGE]
    bounds = [np.concatenate([_ZERO, np.cumsum(row)]) for row in lengths]
    purpose = np.array([d.purpose for d in documents], np.int64)
    parts = [
        *zip(flat, bounds, lengths, strict=True),
        (flat[1], bounds[1], np.minimum(purpose, lengths[1])),
        (flat[2], bounds[2], np.minimum(lengths[2], LEAD)),
    ]
    factors = [
        weight / _norm(length, b)
        for weight, b, (_, _, length) in zip(weights.fields, weights.length, parts, strict=True)
    ]
    cells, frequency = _weighted(_codes(parts, count), np.stack(factors), count)
    start = np.searchsorted((cells // max(count, 1)).astype(np.int32), np.arange(max(terms, 1) + 1))
    pieces = (piece for d in documents for ids in d.fields for piece in (ids, _GAP))
    return Arrays(
        text=np.concatenate([_NONE, *pieces]),
        place=np.sum(bounds, axis=0) + len(FIELDS) * np.arange(count + 1),
        names=flat[0],
        name_bounds=bounds[0],
        owners=(cells % max(count, 1)).astype(np.int32),
        impact=(frequency / (weights.k1 + frequency)).astype(np.float32),
        start=start,
        idf=_idf(np.diff(start), count),
    )


class Index:
    """Postings of a fixed set of documents.

    Args:
        arrays: See `build`.
        weights: Those the arrays were built with.
    """

    def __init__(self, arrays: Arrays, weights: Weights) -> None:
        self.arrays, self.weights = arrays, weights
        self.count = len(arrays.place) - 1
        self.owners, self.impact = arrays.owners, arrays.impact
        self.start, self.idf = arrays.start, arrays.idf

    @classmethod
    def of(cls, documents: Sequence[Document], terms: int, weights: Weights | None = None) -> Index:
        """The index of documents that use `terms` different terms."""
        weights = weights or Weights()
        return cls(build(documents, terms, weights), weights)

    def known(self, term: int) -> int:
        """The same number, or -1 when no document of this index uses the term."""
        return term if term < len(self.idf) else -1

    @cached_property
    def _name_owners(self) -> Ids:
        return np.repeat(np.arange(self.count, dtype=np.int32), np.diff(self.arrays.name_bounds))

    def scores(self, query: Mapping[int, float], exact: Sequence[int] = ()) -> Floats:
        """The score of every document.

        Args:
            query: Weighted term numbers.
            exact: The request's own terms in order, -1 where no skill uses one; without them
                neither names nor neighbours count.
        """
        total = np.zeros(self.count, np.float32)
        for term, weight in query.items():
            span = slice(self.start[term], self.start[term + 1])
            total[self.owners[span]] += np.float32(weight * self.idf[term]) * self.impact[span]
        if exact and self.count:
            self._add_names(total, {number for number in exact if number >= 0})
            pairs = dict.fromkeys(pair for pair in pairwise(exact) if min(pair) >= 0)
            self._add_phrases(total, list(pairs))
        return total

    def _add_names(self, total: Floats, asked: set[int]) -> None:
        """Add for each name what the request spells out of it."""
        wanted = np.zeros(len(self.idf), bool)
        wanted[list(asked)] = True
        names = self.arrays.names
        places = np.flatnonzero(wanted[names])
        owners = self._name_owners[places]
        mass = np.bincount(owners, self.idf[names[places]], self.count)
        length = np.maximum(np.diff(self.arrays.name_bounds), 1)
        share = np.bincount(owners, minlength=self.count) / length
        total += (self.weights.name * mass * share**2).astype(np.float32)

    def _add_phrases(self, total: Floats, pairs: Sequence[tuple[int, int]]) -> None:
        """Read the best documents again for words that stand side by side as in the request."""
        if not pairs or not self.weights.phrase:
            return
        best = np.sort(self.best(total, _READ_CLOSELY)[0])
        if not best.size:
            return
        place = self.arrays.place
        spans = zip(place[best].tolist(), place[best + 1].tolist(), strict=True)
        text = np.concatenate([self.arrays.text[start:stop] for start, stop in spans])
        lengths = place[best + 1] - place[best]
        starts = np.cumsum(lengths) - lengths
        left, right = text[:-1], text[1:]
        for a, b in pairs:
            places = np.flatnonzero(left == a)
            places = places[right[places] == b]
            if places.size:
                found = np.unique(np.searchsorted(starts, places, side="right") - 1)
                bonus = self.weights.phrase * _idf(found.size, self.count)
                total[best[found]] += np.float32(bonus)

    def shares(self, query: Mapping[int, float], document: int) -> list[tuple[int, float]]:
        """The query terms a document holds with what each adds, the weightiest first."""
        found = []
        for term, weight in query.items():
            span = slice(self.start[term], self.start[term + 1])
            place = np.searchsorted(self.owners[span], document)
            if place < span.stop - span.start and self.owners[span][place] == document:
                found.append((term, float(weight * self.idf[term] * self.impact[span][place])))
        return sorted(found, key=lambda pair: -pair[1])

    def best(self, scores: Floats, most: int = _KEPT) -> tuple[Ints, Floats]:
        """The documents that score at all, the best first, equal ones in their own order."""
        found = np.flatnonzero(scores > 0)
        if len(found) > most:
            found = np.sort(found[np.argpartition(-scores[found], most)[:most]])
        order = found[np.argsort(-scores[found], kind="stable")]
        return order, scores[order]


def _norm(lengths: Ints, b: float) -> NDArray[np.float64]:
    mean = float(lengths.mean()) if lengths.size else 0.0
    norm: NDArray[np.float64] = np.maximum(1 - b + b * lengths / max(mean, 1.0), 1e-6)
    return norm


def _codes(parts: Sequence[tuple[Ids, Ints, Ints]], count: int) -> Ints:
    """`(term * count + document) * parts + part` of every occurrence, sorted."""
    codes: list[Ints] = [np.zeros(0, np.int64)]
    for number, (flat, bounds, lengths) in enumerate(parts):
        owner = np.repeat(np.arange(count, dtype=np.int64), lengths)
        if int(lengths.sum()) == len(flat):
            terms = flat
        else:
            before = np.cumsum(lengths) - lengths
            terms = flat[np.arange(len(owner)) + np.repeat(bounds[:-1] - before, lengths)]
        codes.append((terms.astype(np.int64) * count + owner) * len(parts) + number)
    return np.sort(np.concatenate(codes))


def _weighted(
    codes: Ints, factors: NDArray[np.float64], count: int
) -> tuple[Ints, NDArray[np.float64]]:
    """Cells `term * count + document`, sorted, with their weighted frequency."""
    if not codes.size:
        return codes, np.zeros(0)
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    times = np.diff(first, append=len(codes))
    cells, part = np.divmod(codes[first], len(factors))
    worth = times * factors[part, cells % count]
    start = np.flatnonzero(np.diff(cells, prepend=-1))
    return cells[start], np.add.reduceat(worth, start)


def _idf(frequency: Any, count: int) -> NDArray[np.float64]:
    """How rare a term is, as if `BACKGROUND` skills without it stood beside the library's own."""
    absent = count - frequency + BACKGROUND
    idf: NDArray[np.float64] = np.log1p((absent + 0.5) / (frequency + 0.5))
    return idf
