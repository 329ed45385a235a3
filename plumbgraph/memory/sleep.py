"""What a sleep would do to a namespace: decided from the records alone, without a model."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from plumbgraph.memory.attributes import Attributes, near_duplicates
from plumbgraph.memory.dates import absolute
from plumbgraph.memory.facts import Fact
from plumbgraph.memory.items import MemoryItem
from plumbgraph.memory.records import Marks, Record, from_us
from plumbgraph.memory.words import plain, terms

Deed: TypeAlias = Literal["merged", "archived", "dated", "filed", "rewritten"]
Refine: TypeAlias = Callable[[Sequence[MemoryItem]], Iterable["Rewrite"]]
"""An optional step of your own, for example by a model: items in, rewrites out."""

_DAY_US = 86_400_000_000
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepRules:
    """How much a sleep forgets.

    Attributes:
        alike: Share of common stems from which two texts are the same memory.
        half_life_days: Time in which an unused memory loses half its strength.
        archive_below: Strength under which a memory is archived; 0 archives none.
        max_items: Most memories left to surface; the weakest beyond are archived.
    """

    alike: float = 0.9
    half_life_days: float = 60.0
    archive_below: float = 0.05
    max_items: int | None = None


@dataclass(frozen=True, slots=True)
class Sleeper:
    """One live record as a sleep sees it."""

    key: str
    record: Record
    uses: int = 0

    @property
    def free(self) -> bool:
        """Whether sleep may change it: no fact's slot, nothing pinned, nothing that expires."""
        record = self.record
        return (
            record.claim is None
            and not record.ttl_ms
            and not record.marks.pinned
            and record.marks.status == "active"
        )


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A new value for an item, proposed by a refining step."""

    key: str
    value: Mapping[str, Any]
    reason: str = "refined"


@dataclass(frozen=True, slots=True)
class Action:
    """One change: applied only if the item still has the version that was looked at.

    Attributes:
        value: The new value; `None` leaves it.
        file: For a quarantined fact that a declaration now fits: the fact to remember instead.
    """

    deed: Deed
    key: str
    version: int
    reason: str
    marks: Marks | None = None
    value: Mapping[str, Any] | None = None
    file: Fact | None = field(default=None)


@dataclass(frozen=True, slots=True)
class SleepReport:
    """What a sleep did, or would do; `undo(report)` takes it back.

    Attributes:
        skipped: Keys that somebody changed meanwhile; their writes stand.
        contested: Keys of facts that wait for someone to settle them.
        alike_attributes: Attribute names that mean about the same: declare one of each pair.
    """

    id: str
    namespace: tuple[str, ...]
    dry_run: bool
    actions: tuple[Action, ...] = ()
    skipped: tuple[str, ...] = ()
    contested: tuple[str, ...] = ()
    alike_attributes: tuple[tuple[str, str], ...] = ()

    def count(self, deed: Deed) -> int:
        """How many changes of one kind."""
        return sum(action.deed == deed for action in self.actions)


def strength(sleeper: Sleeper, *, now_us: int, half_life_days: float) -> float:
    """How strong a memory is: by its confidence and use, halved by every half-life unused."""
    age_days = max(0, now_us - sleeper.record.updated_us) / _DAY_US
    stretch = 1 + math.log2(1 + sleeper.uses)
    decayed: float = 0.5 ** (age_days / (half_life_days * stretch))
    return sleeper.record.marks.confidence * stretch * decayed


def dream(
    sleepers: Sequence[Sleeper], rules: SleepRules, attributes: Attributes, *, now_us: int
) -> list[Action]:
    """Every change a sleep would make, at most one for each key.

    Merges copies, files quarantined facts that a declaration now fits, writes dates behind
    relative ones, and archives what is weak or beyond the budget. Facts in their slots, pinned
    items and items that expire by themselves stay as they are.
    """
    actions: dict[str, Action] = {}
    for made in (
        _filed(sleepers, attributes),
        _merged(sleepers, rules, now_us),
        _archived(sleepers, rules, now_us),
        _dated(sleepers),
    ):
        for action in made:
            actions.setdefault(action.key, action)
    return list(actions.values())


def alike_attributes(sleepers: Iterable[Sleeper]) -> tuple[tuple[str, str], ...]:
    """Pairs of attribute names in use that mean about the same."""
    names = [s.record.value["attribute"] for s in sleepers if s.record.claim is not None]
    return tuple(near_duplicates(names))


def _filed(sleepers: Iterable[Sleeper], attributes: Attributes) -> Iterator[Action]:
    for sleeper in sleepers:
        record = sleeper.record
        if record.claim is None or record.marks.status != "quarantined":
            continue
        value = record.value
        match = attributes.match(value["attribute"])
        if match.how == "undeclared":
            continue
        fact = Fact(
            value["subject"],
            match.attribute.name,
            value["value"],
            valid_from=from_us(record.valid_from_us),
            confidence=record.marks.confidence,
            source=record.provenance.source,
            aliases=record.marks.aliases,
            scopes=record.marks.scopes,
        )
        yield Action("filed", sleeper.key, record.number, match.reason, file=fact)


def _merged(sleepers: Sequence[Sleeper], rules: SleepRules, now_us: int) -> Iterator[Action]:
    texts = {s.key: _text(s.record) for s in sleepers if s.free}
    held = {s.key: s for s in sleepers if s.free}
    gone: set[str] = set()
    for one, other, why in _pairs(texts, held, rules.alike):
        if one in gone or other in gone:
            continue
        strong, weak = sorted(
            (held[one], held[other]),
            key=lambda s: (-_power(s, rules, now_us), s.record.created_us, s.key),
        )
        gone.add(weak.key)
        marks = replace(weak.record.marks, status="merged")
        reason = f"{why} {strong.key!r}"
        yield Action("merged", weak.key, weak.record.number, reason, marks=marks)
        union = _united(strong.record.marks, weak.record.marks)
        if union != strong.record.marks:
            gone.add(strong.key)
            reason = f"took the names of {weak.key!r}"
            yield Action("merged", strong.key, strong.record.number, reason, marks=union)


def _power(sleeper: Sleeper, rules: SleepRules, now_us: int) -> float:
    return round(strength(sleeper, now_us=now_us, half_life_days=rules.half_life_days), 6)


def _united(strong: Marks, weak: Marks) -> Marks:
    return replace(
        strong,
        aliases=tuple(dict.fromkeys((*strong.aliases, *weak.aliases))),
        scopes=tuple(dict.fromkeys((*strong.scopes, *weak.scopes))),
        confidence=max(strong.confidence, weak.confidence),
    )


def _pairs(
    texts: Mapping[str, str], held: Mapping[str, Sleeper], alike: float
) -> Iterator[tuple[str, str, str]]:
    same: dict[tuple[str, str, str], str] = {}
    for key, text in texts.items():
        marks = held[key].record.marks
        name = (text, marks.kind, marks.name)
        if name in same:
            yield same[name], key, "says the same as"
        else:
            same[name] = key
    yield from _near(texts, held, alike)


def _near(
    texts: Mapping[str, str], held: Mapping[str, Sleeper], alike: float
) -> Iterator[tuple[str, str, str]]:
    stems = {key: frozenset(terms(text)) for key, text in texts.items()}
    digits = {key: tuple(sorted(_DIGITS.findall(text))) for key, text in texts.items()}
    holders: dict[str, int] = defaultdict(int)
    for words in stems.values():
        for word in words:
            holders[word] += 1
    blocks: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for key, words in stems.items():
        rarest = sorted(words, key=lambda word: (holders[word], word))
        for drop in range(min(3, len(rarest))):
            blocks[tuple(w for i, w in enumerate(rarest[:3]) if i != drop)].append(key)
    told: set[tuple[str, str]] = set()
    for block in blocks.values():
        for i, one in enumerate(block[:50]):
            for other in block[i + 1 : 50]:
                if (one, other) in told or digits[one] != digits[other]:
                    continue
                told.add((one, other))
                kinds = {held[one].record.marks.kind, held[other].record.marks.kind}
                if len(kinds) == 1 and _share(stems[one], stems[other]) >= alike:
                    yield one, other, "says about the same as"


def _share(one: frozenset[str], other: frozenset[str]) -> float:
    union = one | other
    return len(one & other) / len(union) if union else 0.0


def _text(record: Record) -> str:
    return " ".join(plain(record.value_text).split())


def _archived(sleepers: Sequence[Sleeper], rules: SleepRules, now_us: int) -> Iterator[Action]:
    free = [s for s in sleepers if s.free]
    powers = {s.key: _power(s, rules, now_us) for s in free}
    weak = {key for key, power in powers.items() if power < rules.archive_below}
    reasons = dict.fromkeys(weak, "not used for long")
    if rules.max_items is not None:
        active = sum(s.record.marks.status == "active" for s in sleepers)
        surplus = active - len(weak) - rules.max_items
        ranked = sorted(
            (s for s in free if s.key not in weak), key=lambda s: (powers[s.key], s.key)
        )
        reasons.update({s.key: "beyond the budget" for s in ranked[: max(0, surplus)]})
    for sleeper in free:
        if sleeper.key in reasons:
            marks = replace(sleeper.record.marks, status="archived")
            reason = f"{reasons[sleeper.key]}: strength {powers[sleeper.key]:.3f}"
            yield Action("archived", sleeper.key, sleeper.record.number, reason, marks=marks)


def _dated(sleepers: Iterable[Sleeper]) -> Iterator[Action]:
    for sleeper in sleepers:
        if not sleeper.free:
            continue
        value = sleeper.record.value
        on = from_us(sleeper.record.valid_from_us).date()
        dated = _each_text(value, lambda text, on=on: absolute(text, on))  # type: ignore[misc]
        if dated != value:
            reason = f"dates counted from {on}"
            yield Action("dated", sleeper.key, sleeper.record.number, reason, value=dated)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _each_text(part, change) for name, part in value.items()}
    if isinstance(value, list):
        return [_each_text(part, change) for part in value]
    return value
