"""From a request in words to ranked skills, with reasons and an honest verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from plumbgraph.html import table
from plumbgraph.skills.ranking.analysis import Vocabulary
from plumbgraph.skills.ranking.index import BACKGROUND, Floats, Index, Ints
from plumbgraph.skills.ranking.synonyms import synonyms
from plumbgraph.skills.ranking.words import doers, terms_of
from plumbgraph.skills.values import SkillRecord

MAX_QUERY_CHARS = 4_000
FITS_FROM = 0.5
_HALF = 0.55
_SOLE_SYNONYM = 2.0
_COMPANY = 5
_COMPANY_WEIGHT = 0.7
_SHARE_OF_DENSE = 0.5
_REASON_WORDS = 6


class DenseScorer(Protocol):
    """An optional second opinion, for example sentence embeddings."""

    def __call__(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """How near each text is to the query, 0 to 1 (a cosine will do)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One ranked skill.

    Attributes:
        score: Comparable across requests: above `FITS_FROM` it probably fits.
        reason: The words that decided.
    """

    record: SkillRecord
    score: float
    reason: str

    @property
    def name(self) -> str:
        """The skill's name."""
        return self.record.name


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Hit]):
    """Hits, the best first, and whether any of them fits at all.

    Attributes:
        fits: False when nothing fits: then the hits are the nearest, not answers.
        verdict: The same in a sentence.
    """

    hits: tuple[Hit, ...]
    fits: bool
    verdict: str

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204 - a tuple's own overloads
        return self.hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def _repr_html_(self) -> str:
        rows = [(hit.name, f"{hit.score:.2f}", hit.reason) for hit in self.hits]
        return table(("skill", "score", "reason"), rows, caption=self.verdict)


@dataclass(frozen=True, slots=True)
class Query:
    """A request as weighted terms, and its own terms in order, -1 where no skill uses one."""

    terms: dict[int, float]
    exact: tuple[int, ...]
    words: tuple[str, ...]


def read_query(text: str, vocabulary: Vocabulary, index: Index) -> Query:
    """The terms of a request, and terms that may stand for them.

    Where no skill uses a word, what may stand for it counts more. Terms that came into the
    vocabulary after the index was built are none to it.
    """
    words = terms_of(text[:MAX_QUERY_CHARS])
    numbers = [index.known(vocabulary.number_of(word)) for word in words]
    counts = Counter(number for number in numbers if number >= 0)
    terms = {number: 1 + math.log(count) for number, count in counts.items()}
    own = dict(zip(words, numbers, strict=True))
    for word, number in own.items():
        weight = index.weights.synonym * terms.get(number, _SOLE_SYNONYM)
        for other in (*sorted(synonyms().get(word, ())), *doers(word)):
            near = index.known(vocabulary.number_of(other))
            if near >= 0 and near not in counts:
                terms[near] = max(terms.get(near, 0.0), weight)
    return Query(terms, tuple(numbers), tuple(own))


def rank(
    index: Index,
    vocabulary: Vocabulary,
    records: Sequence[SkillRecord],
    text: str,
    *,
    k: int,
    dense: DenseScorer | None = None,
) -> SearchResult:
    """The `k` best of `records` for a request; `records[i]` is the index's document `i`."""
    query = read_query(text, vocabulary, index)
    if not records or not query.terms:
        return SearchResult((), False, _verdict(None, bool(records), bool(query.words)))
    best, raw = index.best(index.scores(query.terms, query.exact))
    confidence = _confidence(raw, len(records))
    if dense is not None:
        best, confidence = _with_dense(text, records, best, confidence, dense)
    hits = tuple(
        Hit(records[i], round(float(score), 4), _reason(index, vocabulary, query, int(i)))
        for i, score in zip(best[:k], confidence[:k], strict=True)
    )
    fits = bool(hits) and hits[0].score >= FITS_FROM
    return SearchResult(hits, fits, _verdict(hits[0] if hits else None, True, True))


def named_first(result: SearchResult, record: SkillRecord, k: int) -> SearchResult:
    """The result with a skill in front whose very name was asked for."""
    hit = Hit(record, 1.0, "is its name")
    others = [other for other in result.hits if other.record is not record]
    return SearchResult((hit, *others)[:k], True, _verdict(hit, True, True))


def _confidence(raw: Floats, count: int) -> Floats:
    """Raw sums on a scale that does not grow with the library, 0 to 1, in the same order.

    A skill that shares words by chance stands alone; a topic the library covers is shared by
    several. So in a large library the best score counts less without company.
    """
    if not raw.size:
        return raw
    trust = _COMPANY_WEIGHT * count / (count + BACKGROUND)
    company = float(raw[:_COMPANY].sum()) / _COMPANY / float(raw[0])
    scaled = raw * np.float32((1 - trust + trust * company) / math.log(2 + count + BACKGROUND))
    confidence: Floats = scaled / (scaled + np.float32(_HALF))
    return confidence


def _with_dense(
    text: str, records: Sequence[SkillRecord], best: Ints, confidence: Floats, dense: DenseScorer
) -> tuple[Ints, Floats]:
    texts = [f"{record.name}: {record.description}" for record in records]
    near = np.clip(np.asarray(dense(text, texts), np.float32), 0, 1)
    lexical = np.zeros(len(records), np.float32)
    lexical[best] = confidence
    mixed = (1 - _SHARE_OF_DENSE) * lexical + _SHARE_OF_DENSE * near
    order = np.argsort(-mixed, kind="stable")
    return order, mixed[order]


def _reason(index: Index, vocabulary: Vocabulary, query: Query, document: int) -> str:
    shares = index.shares(query.terms, document)
    words = [vocabulary.terms[term] for term, _ in shares[:_REASON_WORDS]]
    return f"shares {', '.join(words)}" if words else "near in meaning"


def _verdict(best: Hit | None, any_skill: bool, any_word: bool) -> str:  # noqa: FBT001 - private
    if not any_skill:
        return "There are no skills."
    if not any_word:
        return "Nothing fits: the request holds no word to search for."
    if best is None:
        return "Nothing fits: no skill shares a word with the request."
    if best.score < FITS_FROM:
        return f"Nothing fits; the nearest is {best.name!r} ({best.score:.2f} of {FITS_FROM})."
    return f"{best.name!r} fits best ({best.score:.2f}; {best.reason})."
