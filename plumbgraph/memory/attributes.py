"""Declared attributes: under which slot a wording belongs, and in which form values compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory.conflict import POLICIES, Policy
from plumbgraph.memory.wordings import Meaning, Term, explained, fit, likeness, meaning
from plumbgraph.memory.words import name_words, plain

Cardinality: TypeAlias = Literal["one", "many"]
Normaliser: TypeAlias = Literal["text", "exact", "number", "date"] | Callable[[Any], str]
How: TypeAlias = Literal["declared", "alias", "wording", "open", "undeclared"]

_ENOUGH = 0.5
_CLEARLY = 0.05


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
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Attributes:
    """The declared attributes of a store."""

    declared: tuple[Attribute, ...] = ()
    _names: dict[str, tuple[Attribute, How, str]] = field(init=False, repr=False, compare=False)
    _forms: dict[str, tuple[_Form, ...]] = field(init=False, repr=False, compare=False)
    _known: dict[str, tuple[Term, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names: dict[str, tuple[Attribute, How, str]] = {}
        for attribute in self.declared:
            _claim(names, attribute, attribute.name, "declared")
        for attribute in self.declared:
            for alias in attribute.aliases:
                _claim(names, attribute, alias, "alias")
        forms = {
            attribute.name: tuple(
                _Form(attribute, wording, meaning(wording))
                for wording in (attribute.name, *attribute.aliases)
            )
            for attribute in self.declared
        }
        known = {
            name: tuple({term: None for form in of_name for term in form.meaning.terms})
            for name, of_name in forms.items()
        }
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_forms", forms)
        object.__setattr__(self, "_known", known)

    def match(self, wording: str) -> Match:
        """The slot a wording belongs to; see `Match.how` for how sure that is.

        A name or alias decides. Else the words do: stems, a table of common words for the same
        thing and one typing error. Every word that carries meaning must be explained, on both
        sides: `work phone` is no `phone`. Two slots that fit about as well leave the wording
        undeclared rather than guessed.
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
        for name, known in self._known.items():
            if (told := explained(asked, known)) is not None:
                scored = [(fit(asked, f.meaning, known, told), f) for f in self._forms[name]]
                score, form = max(scored, key=lambda pair: pair[0])
                if score:
                    best[name] = (score, form)
        ranked = sorted(best.values(), key=lambda pair: -pair[0])
        if not ranked:
            return Match(Attribute(key), "undeclared", "no declared attribute has these words")
        score, form = ranked[0]
        if len(ranked) > 1 and score - ranked[1][0] < _CLEARLY:
            rival = ranked[1][1].attribute.name
            why = f"it could be {form.attribute.name!r} or {rival!r}"
            return Match(Attribute(key), "undeclared", why)
        why = f"{wording!r} reads like {form.wording!r} ({score:.2f})"
        return Match(form.attribute, "wording", why)

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


def slug(wording: str) -> str:
    """A wording as a name: lower case words joined by underscores."""
    return "_".join(name_words(wording))


def near_duplicates(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of attribute names that mean about the same: candidates for one declaration."""
    told: list[tuple[str, str]] = []
    meanings = [(name, meaning(name)) for name in sorted(set(names))]
    for i, (left, of_left) in enumerate(meanings):
        for right, of_right in meanings[i + 1 :]:
            if _alike(of_left, of_right):
                told.append((left, right))
    return told


def _alike(left: Meaning, right: Meaning) -> bool:
    same = likeness(left, right, right.terms) or likeness(right, left, left.terms)
    union = left.stems | right.stems
    return bool(same) or (bool(union) and len(left.stems & right.stems) / len(union) >= _ENOUGH)
