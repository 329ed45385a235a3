"""A skill as sequences of term numbers: the part of the index that is kept by fingerprint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plumbgraph.skills.ranking.words import affirmative, first_sentence, raw_words, split_words
from plumbgraph.skills.ranking.words import term as term_of
from plumbgraph.skills.values import SkillRecord

FIELDS = ("name", "description", "body")
MAX_BODY_WORDS = 20_000
_SEVERAL = -2
Ids = NDArray[np.int32]


class Vocabulary(dict[str, int]):
    """A word as it is written to its term number; one look-up a word makes indexing quick.

    A stop word's number is -1. A word that is several (`camelCase`) has a number below that: the
    place of its terms in `several`.
    """

    def __init__(self, terms: Iterable[str] = ()) -> None:
        super().__init__()
        self.terms: list[str] = []
        self.several: list[Ids] = []
        self._numbers: dict[str, int] = {}
        for stem in terms:
            self._number(stem)

    def __missing__(self, written: str) -> int:
        stems = [stem for word in split_words(written) if (stem := term_of(word))]
        if len(stems) > 1:
            number = _SEVERAL - len(self.several)
            self.several.append(np.array([self._number(stem) for stem in stems], np.int32))
        else:
            number = self._number(stems[0]) if stems else -1
        self[written] = number
        return number

    def number_of(self, stem: str) -> int:
        """The number of an index term, or -1 when no skill uses it."""
        return self._numbers.get(stem, -1)

    def ids(self, text: str) -> Ids:
        """The terms of a text in order, by number."""
        words = raw_words(text)
        numbers = np.fromiter(map(self.__getitem__, words), np.int32, len(words))
        if numbers.size and int(numbers.min()) <= _SEVERAL:
            numbers = self._expanded(numbers)
        return numbers[numbers >= 0]

    def _expanded(self, numbers: Ids) -> Ids:
        parts: list[Ids] = []
        done = 0
        for place in np.flatnonzero(numbers <= _SEVERAL).tolist():
            parts += (numbers[done:place], self.several[_SEVERAL - int(numbers[place])])
            done = place + 1
        return np.concatenate([*parts, numbers[done:]])

    def _number(self, stem: str) -> int:
        number = self._numbers.setdefault(stem, len(self.terms))
        if number == len(self.terms):
            self.terms.append(stem)
        return number


@dataclass(slots=True)
class Document:
    """One skill's fields as term numbers.

    Attributes:
        purpose: How many terms of the description belong to its first sentence, which says what
            the skill does; the rest mostly lists occasions.
    """

    key: str
    fields: tuple[Ids, Ids, Ids]
    purpose: int


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
    description = affirmative(record.description)
    purpose = vocabulary.ids(first_sentence(description))
    return Document(
        document_key(record),
        (
            vocabulary.ids(record.name.replace("_", " ")),
            vocabulary.ids(f"{description} {words}"),
            vocabulary.ids(body)[:MAX_BODY_WORDS],
        ),
        len(purpose),
    )
