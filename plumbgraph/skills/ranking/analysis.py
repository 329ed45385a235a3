"""A skill as sequences of term numbers: the part of the index that is kept by fingerprint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plumbgraph.skills.ranking.words import affirmative, split_words, term
from plumbgraph.skills.values import SkillRecord

FIELDS = ("name", "description", "body")
MAX_BODY_WORDS = 20_000
Ids = NDArray[np.int32]


class Vocabulary(dict[str, int]):
    """Lower-case word to term number; a stop word's number is negative."""

    def __init__(self, terms: Iterable[str] = ()) -> None:
        super().__init__()
        self.terms: list[str] = []
        self._numbers: dict[str, int] = {}
        for stem in terms:
            self._number(stem)

    def __missing__(self, word: str) -> int:
        stem = term(word)
        number = self[word] = self._number(stem) if stem else -1
        return number

    def number_of(self, stem: str) -> int:
        """The number of an index term, or -1 when no skill uses it."""
        return self._numbers.get(stem, -1)

    def ids(self, text: str) -> Ids:
        """The terms of a text in order, by number."""
        numbers = np.fromiter(map(self.__getitem__, split_words(text)), np.int32)
        return numbers[numbers >= 0]

    def _number(self, stem: str) -> int:
        number = self._numbers.setdefault(stem, len(self.terms))
        if number == len(self.terms):
            self.terms.append(stem)
        return number


@dataclass(slots=True)
class Document:
    """One skill's fields as term numbers."""

    key: str
    fields: tuple[Ids, Ids, Ids]


@dataclass(slots=True)
class Collection:
    """Every analysed skill and the vocabulary they share."""

    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    documents: dict[str, Document] = field(default_factory=dict)


def document_key(record: SkillRecord) -> str:
    """Under which an analysis is kept: it changes when `SKILL.md` does."""
    return f"{record.address}\0{record.fingerprint}"


def analyse(record: SkillRecord, body: str, vocabulary: Vocabulary) -> Document:
    """The fields of a skill as term numbers."""
    words = " ".join((record.metadata.get("tags", ""), record.metadata.get("keywords", "")))
    return Document(
        document_key(record),
        (
            vocabulary.ids(record.name.replace("_", " ")),
            vocabulary.ids(f"{affirmative(record.description)} {words}"),
            vocabulary.ids(body)[:MAX_BODY_WORDS],
        ),
    )
