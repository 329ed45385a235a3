"""BM25F over name, description and body, with neighbouring words counted together.

Weighted fields follow Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted
fields" (2004). The body counts although the model will only see the description: it holds the
words people ask with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plumbgraph.skills.ranking.analysis import FIELDS, Document

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_KEPT = 500
BACKGROUND = 50
"""Skills imagined beside the library's own, so that rarity means something in a small one."""
_PAIRED_WORDS = 4_000


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each kind of evidence counts.

    Attributes:
        fields: Weight of name, description and body.
        length: How far each field's length is normalised, 0 to 1.
        k1: Saturation of repeated terms.
        phrase: Weight of two query terms that stand side by side.
        synonym: Weight of a term that may stand for a query term.
    """

    fields: tuple[float, float, float] = (3.0, 1.0, 0.3)
    length: tuple[float, float, float] = (0.5, 0.9, 0.9)
    k1: float = 2.0
    phrase: float = 0.4
    synonym: float = 0.25


class Index:
    """Postings of a fixed set of documents; building is arithmetic on arrays."""

    def __init__(
        self, documents: Sequence[Document], terms: int, weights: Weights | None = None
    ) -> None:
        self.documents = documents
        self.weights = weights or Weights()
        self._build(max(terms, 1))

    def _build(self, terms: int) -> None:
        count = len(self.documents)
        codes, frequency = _weighted_frequencies(self.documents, terms, self.weights)
        owner, term = codes // terms, codes % terms
        order = np.argsort(term, kind="stable")
        self.owners = owner[order].astype(np.int32)
        tf = frequency[order]
        self.impact = (tf / (self.weights.k1 + tf)).astype(np.float32)
        self.start = np.searchsorted(term[order], np.arange(terms + 1))
        everywhere = np.diff(self.start)
        self.pair_codes, self.pair_owners, self.pair_worths = _pairs(self.documents, terms)
        shown = _document_frequencies(self.documents, terms)
        self.idf = (_idf(everywhere, count) + _idf(shown, count)) / 2

    def scores(self, query: Mapping[int, float], phrases: Iterable[tuple[int, int]] = ()) -> Floats:
        """The score of every document for weighted term numbers and neighbouring terms."""
        total = np.zeros(len(self.documents), np.float32)
        for term, weight in query.items():
            span = slice(self.start[term], self.start[term + 1])
            total[self.owners[span]] += np.float32(weight * self.idf[term]) * self.impact[span]
        for left, right in phrases:
            self._add_phrase(total, left * len(self.idf) + right)
        return total

    def _add_phrase(self, total: Floats, code: int) -> None:
        start, stop = np.searchsorted(self.pair_codes, (code, code + 1))
        if start == stop:
            return
        bonus = np.zeros_like(total)
        np.maximum.at(bonus, self.pair_owners[start:stop], self.pair_worths[start:stop])
        idf = float(_idf(np.count_nonzero(bonus), len(total)))
        total += np.float32(self.weights.phrase * idf) * bonus

    def shares(self, query: Mapping[int, float], document: int) -> list[tuple[int, float]]:
        """The query terms a document holds with what each adds, the weightiest first."""
        found = []
        for term, weight in query.items():
            span = slice(self.start[term], self.start[term + 1])
            place = np.searchsorted(self.owners[span], document)
            if place < span.stop - span.start and self.owners[span][place] == document:
                found.append((term, float(weight * self.idf[term] * self.impact[span][place])))
        return sorted(found, key=lambda pair: -pair[1])

    def best(self, scores: Floats) -> tuple[Ints, Floats]:
        """The documents that score at all, the best first, equal ones in their own order."""
        found = np.flatnonzero(scores > 0)
        if len(found) > _KEPT:
            found = np.sort(found[np.argpartition(-scores[found], _KEPT)[:_KEPT]])
        order = found[np.argsort(-scores[found], kind="stable")]
        return order, scores[order]


def _pairs(documents: Sequence[Document], terms: int) -> tuple[Ints, NDArray[np.int32], Floats]:
    """Neighbouring terms as codes, sorted, with their document and the field's worth."""
    codes, owners, worths = [], [], []
    for number, document in enumerate(documents):
        for ids, worth in zip(document.fields, (1.0, 1.0, 0.5), strict=True):
            wide = ids[:_PAIRED_WORDS].astype(np.int64)
            code = np.unique(wide[:-1] * terms + wide[1:])
            codes.append(code)
            owners.append(np.full(len(code), number, np.int32))
            worths.append(np.full(len(code), worth, np.float32))
    flat = np.concatenate(codes) if codes else np.zeros(0, np.int64)
    order = np.argsort(flat, kind="stable")
    if not codes:
        return flat, np.zeros(0, np.int32), np.zeros(0, np.float32)
    return flat[order], np.concatenate(owners)[order], np.concatenate(worths)[order]


def _weighted_frequencies(
    documents: Sequence[Document], terms: int, weights: Weights
) -> tuple[Ints, NDArray[np.float64]]:
    """Codes `document * terms + term`, unique and sorted, with their field-weighted frequency."""
    codes: list[Ints] = []
    values: list[NDArray[np.float64]] = []
    for number, _ in enumerate(FIELDS):
        lengths = np.array([len(d.fields[number]) for d in documents], np.float64)
        if not lengths.sum():
            continue
        owner = np.repeat(np.arange(len(documents), dtype=np.int64), lengths.astype(np.int64))
        flat = np.concatenate([d.fields[number] for d in documents]).astype(np.int64)
        code, count = np.unique(owner * terms + flat, return_counts=True)
        b = weights.length[number]
        norm = 1 - b + b * lengths / max(float(lengths.mean()), 1.0)
        codes.append(code)
        values.append(weights.fields[number] * count / norm[code // terms])
    if not codes:
        return np.zeros(0, np.int64), np.zeros(0)
    merged, place = np.unique(np.concatenate(codes), return_inverse=True)
    summed = np.bincount(place.ravel(), np.concatenate(values), len(merged))
    return merged.astype(np.int64), summed.astype(np.float64)


def _document_frequencies(documents: Sequence[Document], terms: int) -> Ints:
    """In how many documents each term stands in the name or the description."""
    total = np.zeros(terms, np.int64)
    for document in documents:
        total[np.unique(np.concatenate(document.fields[:2]))] += 1
    return total


def _idf(frequency: Any, count: int) -> NDArray[np.float64]:
    """How rare a term is, as if `BACKGROUND` skills without it stood beside the library's own."""
    absent = count - frequency + BACKGROUND
    idf: NDArray[np.float64] = np.log1p((absent + 0.5) / (frequency + 0.5))
    return idf
