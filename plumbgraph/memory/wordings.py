"""What an attribute's name asks for, word by word, and whether two names ask for the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Literal, TypeAlias

from plumbgraph.memory.thesaurus import Concepts, lexicon, stem
from plumbgraph.memory.words import name_words, one_edit_apart

Role: TypeAlias = Literal["thing", "sort", "taste", "choice"]
_LIKING = ("taste", "choice")

_SAME_GROUP = 0.9
_MISTYPED = 0.85
_A_KIND = 0.7
_IMPLIED = 0.6
_LIGHTLY = 0.3
_LEAST_MISTYPED = 6
_NONE: Concepts = frozenset()
_OF_A_NAME: Concepts = frozenset(("org", "tool"))


@dataclass(frozen=True, slots=True)
class Term:
    """One word or phrase of a name.

    Attributes:
        stem: Its stems.
        written: Its words as they are written.
        means: The groups it may stand for; empty for a word the thesaurus does not know.
        sorts: For one that tells what sort of value it is: which (date, place, number).
        role: `taste` (favorite) and `choice` (preferred); `sort`; else a `thing` to be matched.
        says: What goes without saying of it, its sorts among that.
        wider: What it is a kind of.
    """

    stem: str
    written: str
    means: Concepts
    sorts: Concepts
    role: Role
    says: Concepts = field(init=False)
    wider: Concepts = field(init=False)

    def __post_init__(self) -> None:
        implied, kinds = lexicon().implied, lexicon().kinds
        says = self.sorts.union(*(implied.get(group, _NONE) for group in self.means))
        object.__setattr__(self, "says", says)
        object.__setattr__(self, "wider", _NONE.union(*(kinds.get(g, _NONE) for g in self.means)))

    @property
    def weight(self) -> float:
        """How much it counts."""
        return 1.0 if self.role == "thing" else _LIGHTLY


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name asks for.

    Attributes:
        terms: Its words and phrases.
        open_to: The sorts of value that a preposition at its end leaves open: `moved in on` may
            ask for a date.
    """

    terms: tuple[Term, ...]
    open_to: Concepts = _NONE

    @property
    def stems(self) -> frozenset[str]:
        """The stems that carry it."""
        return frozenset(term.stem for term in self.terms)

    @property
    def sorts(self) -> Concepts:
        """The sorts of value it names."""
        return _NONE.union(*(term.sorts for term in self.terms))


@lru_cache(maxsize=4096)
def meaning(name: str) -> Meaning:
    """What a name asks for; its bare words when nothing else is left."""
    words = name_words(name)
    terms = tuple(_terms([word for word in words if word not in lexicon().grammar]))
    open_to = lexicon().ends.get(words[-1], _NONE) if words else _NONE
    if any(term.role == "thing" for term in terms):
        return Meaning(terms, open_to)
    if any(term.role == "sort" for term in terms):
        return Meaning(tuple(map(_alone, terms)), open_to)
    bare = tuple(Term(stem(word), word, _NONE, _NONE, "thing") for word in words)
    return Meaning(terms + bare, open_to)


def _terms(words: Sequence[str]) -> Iterable[Term]:
    known, place, stems = lexicon(), 0, [stem(word) for word in words]
    while place < len(stems):
        for length in range(min(known.longest, len(stems) - place), 0, -1):
            phrase = " ".join(stems[place : place + length])
            written = " ".join(words[place : place + length])
            means, sorts = known.means(written, phrase), known.sorts.get(phrase, _NONE)
            if means or sorts:
                yield Term(phrase, written, means, sorts, "thing" if means else "sort")
                break
        else:
            length, word = 1, stems[place]
            if word not in known.empty:
                yield Term(word, words[place], _NONE, _NONE, _role(word))
        place += length


def _role(word: str) -> Role:
    known = lexicon()
    return "taste" if word in known.taste else "choice" if word in known.choice else "thing"


def _alone(term: Term) -> Term:
    """A word for a sort of value that has nothing beside it names the thing itself."""
    if term.role != "sort":
        return term
    home = frozenset(("residence",)) if "place" in term.sorts else _NONE
    return Term(term.stem, term.written, term.sorts | home, term.sorts, "thing")


def likeness(asked: Meaning, form: Meaning, known: Sequence[Term]) -> float:
    """How well a name fits one wording of an attribute, 0 to 1.

    Both must ask for the same: each word of the name is explained by a word of the attribute, each
    word of the wording by one of the name, and they may not name different sorts of value.

    Args:
        asked: The name.
        form: One wording of the attribute.
        known: The words of all its wordings.
    """
    if (told := explained(asked, known)) is None:
        return 0.0
    return fit(asked, form, known, told)


def explained(asked: Meaning, known: Sequence[Term]) -> float | None:
    """How well the words of an attribute explain those of a name; None when one is unexplained."""
    if not known or not any(term.role == "thing" for term in asked.terms):
        return None
    told: list[tuple[Term, float]] = []
    for term in asked.terms:
        strength = max(_near(term, other) or _said(term, other) for other in known)
        if not strength and not _spared(term, known):
            return None
        told.append((term, strength))
    return _mean(told)


def fit(asked: Meaning, form: Meaning, known: Sequence[Term], told: float) -> float:
    """The likeness of a name that the attribute explains, `told`, to one wording of it."""
    if not form.terms or not _one_sort(asked, form, known):
        return 0.0
    held = [(f, max(_near(t, f) or _said(f, t) for t in asked.terms)) for f in form.terms]
    if any(not strength and not _spared(term, known) for term, strength in held):
        return 0.0
    return (told + _mean(held)) / 2


def _spared(term: Term, known: Sequence[Term]) -> bool:
    """Whether a word needs no match: one for a sort; a choice too, where no sort is at stake."""
    return term.role == "sort" or (term.role == "choice" and not _sorted(known))


def _mean(parts: Sequence[tuple[Term, float]]) -> float:
    total = sum(term.weight for term, _ in parts)
    return sum(term.weight * strength for term, strength in parts) / total


def _one_sort(asked: Meaning, form: Meaning, known: Sequence[Term]) -> bool:
    """Whether the sort of value that one names is one that the other may have."""
    if asked.sorts and not asked.sorts & (form.sorts or _meant(known)):
        return not form.sorts and not _sorted(known) and "kind" in asked.sorts
    said = asked.sorts or _meant(asked.terms) | asked.open_to
    return not form.sorts or bool(form.sorts & said)


def _sorted(terms: Iterable[Term]) -> bool:
    return not _of_values().isdisjoint(_meant(terms))


@cache
def _of_values() -> Concepts:
    return _NONE.union(*lexicon().sorts.values()) - _OF_A_NAME


def _meant(terms: Iterable[Term]) -> Concepts:
    """What goes without saying of the terms, and their sorts."""
    return _NONE.union(*(term.says for term in terms))


def _near(asked: Term, form: Term) -> float:
    """How well a word of a name fits one of an attribute: the same, or a kind of it."""
    if asked.stem == form.stem and asked.means == form.means:
        return 1.0
    if not asked.means.isdisjoint(form.means) or not asked.sorts.isdisjoint(form.sorts):
        return _SAME_GROUP
    if asked.role in _LIKING and form.role in _LIKING:
        return _SAME_GROUP
    if asked.role == form.role == "thing" and _mistyped(asked, form):
        return _MISTYPED
    return 0.0 if asked.wider.isdisjoint(form.means) else _A_KIND


def _said(term: Term, other: Term) -> float:
    """Whether another word says this one without saying it."""
    if term.role in _LIKING:
        return _IMPLIED if "taste" in other.says else 0.0
    said = not (term.means.isdisjoint(other.says) and term.sorts.isdisjoint(other.says))
    return _IMPLIED if said else 0.0


def _mistyped(term: Term, other: Term) -> bool:
    if term.means and other.means:
        return False
    return _one_slip(term.stem, other.stem) or _one_slip(term.written, other.written)


def _one_slip(word: str, other: str) -> bool:
    return (
        min(len(word), len(other)) >= _LEAST_MISTYPED
        and word[:2] == other[:2]
        and one_edit_apart(word, other)
    )
