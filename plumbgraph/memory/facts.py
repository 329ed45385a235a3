"""Facts: a subject, an attribute and a value, in a slot that holds one truth at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from plumbgraph.errors import MemoryExpired, MemoryInvalid, VersionConflict
from plumbgraph.memory import timetravel
from plumbgraph.memory.attributes import Attribute, Attributes, Cardinality, Match
from plumbgraph.memory.conflict import Effect, Policy
from plumbgraph.memory.encoding import encoded
from plumbgraph.memory.items import MemoryItem
from plumbgraph.memory.keys import Namespace, check_key, joined
from plumbgraph.memory.records import (
    Marks,
    Moment,
    Provenance,
    Record,
    from_us,
    to_us,
)
from plumbgraph.memory.shown import Facts, fact_html
from plumbgraph.memory.terms import Terms, milliseconds
from plumbgraph.memory.words import plain
from plumbgraph.redis.clients import Command, RedisPlan

Said: TypeAlias = Effect | Literal["same", "quarantined"]
Judge: TypeAlias = Callable[[MemoryItem, "Fact"], Literal["supersede", "keep", "contest"]]
"""Decides between the held item and a new claim; applied only if nobody wrote meanwhile."""

_ATTEMPTS = 64
_VERDICTS: dict[str, Policy] = {"supersede": "last_write", "keep": "keep", "contest": "contest"}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known about a subject.

    Attributes:
        subject: Whom or what it is about; case and outer spaces do not count.
        attribute: What is known; matched against the declared attributes.
        value: Any JSON value.
        cardinality: `one` value at a time or `many`; by default what is declared.
        valid_from: Since when it is true; by default, from now on.
        confidence: 0 to 1.
        source: Who said so.
        aliases: Other names by which a recall finds it.
    """

    subject: str
    attribute: str
    value: Any
    cardinality: Cardinality | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    confidence: float = 1.0
    source: str | None = None
    aliases: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    kind: str = "fact"
    pinned: bool = False
    context: str = field(default="", repr=False)
    group: str = field(default="", repr=False)

    def _repr_html_(self) -> str:
        return fact_html(self)

    @classmethod
    def of(cls, item: MemoryItem) -> Fact:
        """The fact that an item of a slot holds."""
        value = item.value
        return cls(
            value["subject"],
            value["attribute"],
            value["value"],
            confidence=item.marks.confidence,
            source=item.provenance.source,
            aliases=item.marks.aliases,
            scopes=item.marks.scopes,
            kind=item.marks.kind,
            pinned=item.marks.pinned,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What remembering a fact did.

    Attributes:
        said: `created`, `refreshed`, `superseded`, `late` (true earlier, went into the history),
            `outvoted`, `contested`, `settled`, `quarantined` (no declared attribute fits), or
            `same` (a repeat under an idempotency key).
        version: The version made, or the one that stands.
        key: The slot's key in the namespace.
        reason: How the attribute was understood.
    """

    said: Said
    version: int
    key: str
    attribute: str
    reason: str
    at: datetime

    @property
    def current(self) -> bool:
        """Whether the claim is now what the store holds to be true."""
        return self.said in {"created", "refreshed", "superseded", "settled", "same"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """Settle a fact against what is known; the result is an `Outcome`."""

    namespace: Namespace
    fact: Fact
    policy: Policy | Judge | None = None
    ttl: float | None = None
    idempotency_key: str = ""
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a store knows about facts: the declared attributes and the usual policy."""

    attributes: Attributes = field(default_factory=Attributes)
    policy: Policy | Judge = "newest"


def slot(subject: str, attribute: str, norm: str | None = None) -> str:
    """The key of a slot; with a norm, of one of many values."""
    name = " ".join(plain(subject).split())
    if not name:
        raise MemoryInvalid("A fact needs a subject.")
    parts = [_escaped(name), attribute]
    if norm is not None:
        parts.append(hashlib.sha256(norm.encode()).hexdigest()[:16])
    return check_key("|".join(parts))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def subject_prefix(subject: str) -> str:
    """What the keys of a subject's slots begin with."""
    return slot(subject, "")


def remember(terms: Terms, rules: Rules, op: Remember) -> RedisPlan[Outcome]:
    """Settle a fact in its slot: one round trip, or two and more under a judge."""
    match = rules.attributes.match(op.fact.attribute)
    policy = op.policy or match.attribute.policy or rules.policy
    if callable(policy):
        return (yield from _judged(terms, op, match, policy))
    return (yield from _claimed(terms, op, match, policy))


def _judged(terms: Terms, op: Remember, match: Match, judge: Judge) -> RedisPlan[Outcome]:
    key = _key_of(op.fact, match)
    shard, text = terms.shard(op.namespace), joined(op.namespace)
    for _ in range(_ATTEMPTS):
        (raw,) = yield from terms.asked((Command("GET", shard.item(text, key)),))
        held = Record.unpacked(raw) if raw else None
        policy: Policy = "newest"
        if (
            held is not None
            and held.claim
            and held.claim.norm != match.attribute.norm(op.fact.value)
        ):
            item = MemoryItem(record=held, namespace=op.namespace, key=key)
            policy = _VERDICTS[judge(item, op.fact)]
        try:
            expected = held.number if held else 0
            return (yield from _claimed(terms, op, match, policy, expected))
        except VersionConflict:
            continue
    raise VersionConflict(
        f"The slot {key!r} changed {_ATTEMPTS} times while it was being judged.",
        namespace=op.namespace,
        key=key,
    )


def _key_of(fact: Fact, match: Match) -> str:
    attribute = match.attribute
    many = (fact.cardinality or attribute.cardinality) == "many"
    name = f"?{attribute.name}" if match.how == "undeclared" else attribute.name
    return slot(fact.subject, name, attribute.norm(fact.value) if many else None)


def _claimed(
    terms: Terms,
    op: Remember,
    match: Match,
    policy: Policy,
    if_version: int | None = None,
    *,
    settle: bool = False,
) -> RedisPlan[Outcome]:
    fact, key, attribute = op.fact, _key_of(op.fact, match), match.attribute
    lost = match.how == "undeclared"
    value = encoded(
        {"subject": fact.subject.strip(), "attribute": attribute.name, "value": fact.value},
        most_bytes=terms.max_value_bytes,
        what=f"the fact {key!r}",
    )
    since = "" if fact.valid_from is None else to_us(fact.valid_from)
    until = "" if fact.valid_to is None else to_us(fact.valid_to)
    call = terms.write(
        "remember",
        op.namespace,
        key,
        if_version=if_version,
        idempotency_key=op.idempotency_key,
        provenance=replace(op.provenance, source=fact.source or op.provenance.source),
        body=(milliseconds(op.ttl), since, until, _marks(fact, lost=lost).packed(), value),
        extra=(
            policy,
            attribute.norm(fact.value),
            repr(float(fact.confidence)),
            attribute.rank(fact.source),
            fact.source or "",
            "1" if settle else "",
        ),
    )
    said, version, at_us = yield from terms.written(
        call, op.namespace, key, repeatable=bool(op.idempotency_key)
    )
    return Outcome(
        said="quarantined" if lost else _SAID[said],
        version=version,
        key=key,
        attribute=attribute.name,
        reason=match.reason,
        at=from_us(at_us),
    )


_SAID: dict[str, Said] = {
    "created": "created",
    "refreshed": "refreshed",
    "superseded": "superseded",
    "late": "late",
    "outvoted": "outvoted",
    "contested": "contested",
    "settled": "settled",
    "same": "same",
}


def _marks(fact: Fact, *, lost: bool) -> Marks:
    if not 0 <= fact.confidence <= 1:
        raise MemoryInvalid(f"confidence={fact.confidence!r} is not between 0 and 1.")
    return Marks(
        context=fact.context,
        group=fact.group,
        aliases=tuple(fact.aliases),
        scopes=tuple(fact.scopes),
        kind=fact.kind,
        status="quarantined" if lost else "active",
        pinned=fact.pinned,
        confidence=fact.confidence,
    )


def facts(
    terms: Terms,
    namespace: Namespace,
    subject: str | None,
    *,
    at_us: int | None,
    known_us: int | None,
    now_us: int,
) -> RedisPlan[list[MemoryItem]]:
    """What is true of a subject, or of all: one item a slot, in the order of the slots.

    Three round trips at most: the slots, the records, and the earlier versions where the current
    one does not hold at the moment asked for.
    """
    shard, text = terms.shard(namespace), joined(namespace)
    low, high = _range(subject)
    (names,) = yield from terms.asked((Command("ZRANGEBYLEX", shard.slots(text), low, high),))
    keys = [name.decode() for name in names]
    if not keys:
        return []
    (raws,) = yield from terms.asked((Command("MGET", *(shard.item(text, k) for k in keys)),))
    current = {k: Record.unpacked(raw) for k, raw in zip(keys, raws, strict=True) if raw}
    moment = now_us if at_us is None else at_us
    plainly = at_us is None and known_us is None
    told = {k: r for k, r in current.items() if plainly and r.holds_now(now_us)}
    asked = [k for k in current if k not in told]
    pasts = []
    if asked:
        pasts = yield from terms.asked(
            [Command("LRANGE", shard.past(text, k), 0, -1) for k in asked]
        )
    for key, past in zip(asked, pasts, strict=True):
        known = [current[key], *(Record.unpacked(raw) for raw in past)]
        found = timetravel.valid_at(known, moment, known_us=known_us)
        if found is not None:
            told[key] = found
    items = [(k, told[k]) for k in keys if k in told and told[k].marks.status == "active"]
    return Facts(MemoryItem(record=r, namespace=namespace, key=k) for k, r in items)


def _range(subject: str | None) -> tuple[str, bytes | str]:
    if subject is None:
        return "-", "+"
    prefix = subject_prefix(subject)
    return f"[{prefix}", b"(" + prefix.encode() + b"\xff"


def conflicts(terms: Terms, namespace: Namespace) -> RedisPlan[list[MemoryItem]]:
    """The contested facts of a namespace, the longest contested first; see `item.rivals`."""
    shard, text = terms.shard(namespace), joined(namespace)
    (names,) = yield from terms.asked((Command("ZRANGE", shard.contested(text), 0, -1),))
    return (yield from _live(terms, namespace, [name.decode() for name in names]))


def quarantined(terms: Terms, namespace: Namespace) -> RedisPlan[list[MemoryItem]]:
    """The facts whose attribute fits no declared one; they surface nowhere else."""
    shard, text = terms.shard(namespace), joined(namespace)
    (names,) = yield from terms.asked((Command("ZRANGE", shard.slots(text), 0, -1),))
    found = yield from _live(terms, namespace, [name.decode() for name in names])
    return [item for item in found if item.marks.status == "quarantined"]


def _live(terms: Terms, namespace: Namespace, keys: Sequence[str]) -> RedisPlan[list[MemoryItem]]:
    if not keys:
        return []
    shard, text = terms.shard(namespace), joined(namespace)
    (raws,) = yield from terms.asked((Command("MGET", *(shard.item(text, k) for k in keys)),))
    return [
        MemoryItem(record=Record.unpacked(raw), namespace=namespace, key=key)
        for key, raw in zip(keys, raws, strict=True)
        if raw
    ]


def resolve(terms: Terms, rules: Rules, op: Remember) -> RedisPlan[Outcome]:
    """Settle a contested slot on one value: two round trips, nothing if somebody comes between.

    The value keeps the validity and the trust it was claimed with when it is one of the rivals.

    Raises:
        MemoryExpired: The slot holds nothing.
        VersionConflict: A claim came meanwhile.
    """
    match = rules.attributes.match(op.fact.attribute)
    key = _key_of(op.fact, match)
    shard, text = terms.shard(op.namespace), joined(op.namespace)
    (raw,) = yield from terms.asked((Command("GET", shard.item(text, key)),))
    if not raw:
        raise MemoryExpired(f"The slot {key!r} in {op.namespace!r} holds nothing to settle.")
    held = Record.unpacked(raw)
    fact = _as_claimed(op.fact, held, match.attribute)
    settled = replace(op, fact=fact)
    return (yield from _claimed(terms, settled, match, "last_write", held.number, settle=True))


def _as_claimed(fact: Fact, held: Record, attribute: Attribute) -> Fact:
    norm = attribute.norm(fact.value)
    if fact.valid_from is not None:
        return fact
    if held.claim and held.claim.norm == norm:
        since: int | None = held.valid_from_us
    else:
        since = next((r.from_us for r in held.rivals if r.norm == norm), None)
    return fact if since is None else replace(fact, valid_from=from_us(since))


def forget(terms: Terms, rules: Rules, namespace: Namespace, fact: Fact) -> RedisPlan[bool]:
    """Delete one slot, or one of many values; whether there was one."""
    key = _key_of(fact, rules.attributes.match(fact.attribute))
    call = terms.write("delete", namespace, key)
    outcome, _, _ = yield from terms.written(call, namespace, key, repeatable=False)
    return outcome != "absent"
