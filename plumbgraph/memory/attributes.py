"""Declared attributes: under which slot a wording belongs, and in which form values compare."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory.conflict import POLICIES, Policy
from plumbgraph.memory.thesaurus import concept
from plumbgraph.memory.words import name_words, one_edit_apart, plain

Cardinality: TypeAlias = Literal["one", "many"]
Normaliser: TypeAlias = Literal["text", "exact", "number", "date"] | Callable[[Any], str]
How: TypeAlias = Literal["declared", "alias", "wording", "open", "undeclared"]

_ENOUGH = 0.5
_CLEARLY = 0.1
_EMPTY = (
    "the a an of is are was my your his her their our user users person current currently now "
    "today latest new main primary usual usually value name info information detail details "
    "what which who how does do did has have he she they i we it its to in at on for s as be "
    "been by with names needs skills own owned contact data record fact list id no known taken "
    "used use choice habit habits history entry field attribute property status"
)
_EMPTY_WORDS = frozenset(_EMPTY.split())
_SORT_WORDS = {
    "where": "place address",
    "when": "date day time year",
    "how many": "number amount count size",
    "what": "type kind model title",
}
_LIGHT = {word: sort for sort, words in _SORT_WORDS.items() for word in words.split()}
_LIGHTLY = 0.4
_UNKNOWN = 0.5
_LEAST_MISTYPED = 6


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing that can be known about a subject, declared so that wordings of it meet.

    Attributes:
        name: The slot's name, for example `home_city`.
        aliases: Other wordings that mean the same.
        cardinality: `one` value at a time, or `many` side by side.
        normalise: How values are compared: `text` (case and spaces do not count), `exact`,
            `number`, `date`, or a function that returns the normal form.
        policy: What to do when values differ; by default the store's.
        sources: For the policy `source`: the most trusted first.
    """

    name: str
    aliases: tuple[str, ...] = ()
    cardinality: Cardinality = "one"
    normalise: Normaliser = "text"
    policy: Policy | None = None
    sources: tuple[str, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        if not slug(self.name):
            raise MemoryInvalid(f"The attribute name {self.name!r} has no word in it.")
        if self.policy is not None and self.policy not in POLICIES:
            raise MemoryInvalid(f"The policy {self.policy!r} is unknown.")

    def norm(self, value: Any) -> str:
        """The normal form of a value.

        Raises:
            MemoryInvalid: The value is no number or date where one was declared.
        """
        return normalised(value, self.normalise, self.name)

    def rank(self, source: str | None) -> int:
        """How trusted a source is, 0 the most."""
        return self.sources.index(source) if source in self.sources else len(self.sources)


def normalised(value: Any, how: Normaliser, name: str) -> str:
    """The form in which two values are compared.

    Raises:
        MemoryInvalid: The value is no number or date where one was declared.
    """
    if callable(how):
        return str(how(value))
    try:
        if how == "number":
            return repr(float(str(value).replace(",", "")))
        if how == "date":
            return datetime.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        raise MemoryInvalid(f"{value!r} is no {how}, which {name!r} wants.") from error
    return str(value) if how == "exact" else " ".join(plain(str(value)).split()).strip(" .,;:!?\"'")


@dataclass(frozen=True, slots=True)
class Match:
    """Where a wording belongs, and why.

    Attributes:
        how: `declared` by name, by `alias`, by `wording`; `open` when nothing is declared at
            all, so that every name is taken; `undeclared` when no slot is clearly meant.
    """

    attribute: Attribute
    how: How
    reason: str


@dataclass(frozen=True, slots=True)
class _Form:
    attribute: Attribute
    wording: str
    terms: frozenset[str]


@dataclass(frozen=True, slots=True)
class Attributes:
    """The declared attributes of a store."""

    declared: tuple[Attribute, ...] = ()
    _names: dict[str, tuple[Attribute, How, str]] = field(init=False, repr=False, compare=False)
    _forms: tuple[_Form, ...] = field(init=False, repr=False, compare=False)
    _weights: dict[str, float] = field(init=False, repr=False, compare=False)
    _held: dict[str, frozenset[str]] = field(init=False, repr=False, compare=False)
    _sorts: dict[str, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names: dict[str, tuple[Attribute, How, str]] = {}
        for attribute in self.declared:
            _claim(names, attribute, attribute.name, "declared")
        for attribute in self.declared:
            for alias in attribute.aliases:
                _claim(names, attribute, alias, "alias")
        forms = tuple(
            _Form(attribute, wording, meaning(wording))
            for attribute in self.declared
            for wording in (attribute.name, *attribute.aliases)
        )
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_forms", forms)
        object.__setattr__(self, "_weights", _weights(self.declared, forms))
        held = {
            attribute.name: frozenset(t for f in forms if f.attribute is attribute for t in f.terms)
            for attribute in self.declared
        }
        sorts = {name: _sorts(terms) for name, terms in held.items()}
        object.__setattr__(self, "_held", held)
        object.__setattr__(self, "_sorts", sorts)

    def match(self, wording: str) -> Match:
        """The slot a wording belongs to; see `Match.how` for how sure that is.

        A name or alias decides. Else the words do: stems, a small thesaurus and one typing
        error, weighted by how few attributes share them; words that tell what sort of value it
        is (date, place, number) count less. A wording that ends in a whole declared one is closer
        to it than to those it shares a word with. Two slots that fit about as well leave the
        wording undeclared rather than guessed.
        """
        key = slug(wording)
        if not key:
            raise MemoryInvalid(f"The attribute {wording!r} has no word in it.")
        if not self.declared:
            return Match(Attribute(key), "open", "no attributes are declared")
        if key in self._names:
            attribute, how, known = self._names[key]
            return Match(attribute, how, f"{wording!r} is {known!r}")
        return self._by_words(wording, key)

    def _by_words(self, wording: str, key: str) -> Match:
        asked = meaning(wording)
        best: dict[str, tuple[float, _Form]] = {}
        head = next((_term(w) for w in reversed(name_words(wording)) if w not in _EMPTY_WORDS), "")
        sorts = _sorts(asked)
        for form in self._forms:
            known = self._sorts[form.attribute.name]
            if sorts and known and not sorts & known:
                continue
            held = self._held[form.attribute.name]
            score = self._likeness(asked, form.terms, held, head)
            if score > best.get(form.attribute.name, (0.0, form))[0]:
                best[form.attribute.name] = (score, form)
        ranked = sorted(best.values(), key=lambda pair: -pair[0])
        if not ranked or ranked[0][0] < _ENOUGH:
            return Match(Attribute(key), "undeclared", "no declared attribute has these words")
        score, form = ranked[0]
        if len(ranked) > 1 and score - ranked[1][0] < _CLEARLY:
            rival = ranked[1][1].attribute.name
            why = f"it could be {form.attribute.name!r} or {rival!r}"
            return Match(Attribute(key), "undeclared", why)
        why = f"{wording!r} reads like {form.wording!r} ({score:.2f})"
        return Match(form.attribute, "wording", why)

    def _likeness(
        self, asked: frozenset[str], known: frozenset[str], held: frozenset[str], head: str
    ) -> float:
        shared = {term for term in asked if any(_alike(term, other) for other in known)}
        if not shared:
            return 0.0
        common = sum(self._weight(term) for term in shared)
        total = max(
            sum(self._weight(term) for term in asked),
            sum(self._weight(term) for term in known),
        )
        if asked <= held and not known - asked:
            return 1.0
        share = common / total
        whole = all(any(_alike(term, other) for other in asked) for term in known)
        ends = any(_alike(head, term) for term in known if term not in _LIGHT)
        return _ENOUGH + (1 - _ENOUGH) * share if whole and ends else share

    def _weight(self, term: str) -> float:
        weight = self._weights.get(term) or _UNKNOWN * math.log(2 + len(self.declared))
        return weight * _LIGHTLY if term in _LIGHT else weight

    @property
    def names(self) -> tuple[str, ...]:
        """The declared names, as offered to a model."""
        return tuple(attribute.name for attribute in self.declared)


def _claim(
    names: dict[str, tuple[Attribute, How, str]], attribute: Attribute, wording: str, how: How
) -> None:
    key = slug(wording)
    taken = names.get(key)
    if taken is not None and taken[0].name != attribute.name:
        raise MemoryInvalid(
            f"{wording!r} is claimed by two attributes: {taken[0].name!r} and {attribute.name!r}."
        )
    names.setdefault(key, (attribute, how, wording))


def _weights(declared: Sequence[Attribute], forms: Iterable[_Form]) -> dict[str, float]:
    holders: Counter[str] = Counter()
    per_attribute: dict[str, set[str]] = {}
    for form in forms:
        per_attribute.setdefault(form.attribute.name, set()).update(form.terms)
    for held in per_attribute.values():
        holders.update(held)
    return {term: math.log(1 + len(declared) / count) for term, count in holders.items()}


def slug(wording: str) -> str:
    """A wording as a name: lower case words joined by underscores."""
    return "_".join(name_words(wording))


def meaning(wording: str) -> frozenset[str]:
    """The concepts a wording names; its bare words when nothing else is left."""
    words = name_words(wording)
    carrying = [word for word in words if word not in _EMPTY_WORDS] or words
    return frozenset(map(_term, carrying))


def _term(word: str) -> str:
    return word if word in _LIGHT else concept(word)


def _sorts(terms: Iterable[str]) -> frozenset[str]:
    return frozenset(_LIGHT[term] for term in terms if term in _LIGHT)


def _alike(term: str, other: str) -> bool:
    if term == other:
        return True
    return (
        min(len(term), len(other)) >= _LEAST_MISTYPED
        and term[:2] == other[:2]
        and one_edit_apart(term, other)
    )


def near_duplicates(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of attribute names that mean about the same: candidates for one declaration."""
    told: list[tuple[str, str]] = []
    meanings = [(name, meaning(name)) for name in sorted(set(names))]
    for i, (left, of_left) in enumerate(meanings):
        for right, of_right in meanings[i + 1 :]:
            union = of_left | of_right
            if union and len(of_left & of_right) / len(union) >= _ENOUGH:
                told.append((left, right))
    return told
