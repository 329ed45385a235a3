"""A record as it lies in Redis and as the item a caller gets, and the JSON both agree on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import ormsgpack

from plumbgraph.errors import DataCorrupt, MemoryInvalid

Kind: TypeAlias = Literal["put", "deleted", "late", "outvoted", "contested", "settled"]
Moment: TypeAlias = datetime | float | int
"""A moment: an aware datetime, or seconds since the Unix epoch."""

_KINDS: dict[str, Kind] = {
    "p": "put",
    "d": "deleted",
    "l": "late",
    "o": "outvoted",
    "c": "contested",
    "s": "settled",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a version came from: filled from the running LangGraph config by itself.

    Attributes:
        source: Who said so, as the caller named it.
    """

    run_id: str | None = None
    thread_id: str | None = None
    checkpoint_id: str | None = None
    node: str | None = None
    tool_call_id: str | None = None
    source: str | None = None

    def packed(self) -> str:
        """JSON without the unknown parts; empty when nothing is known."""
        known = {k: v for k, v in zip(_SHORT, self._parts(), strict=True) if v}
        return _encode(known) if known else ""

    def _parts(self) -> tuple[str | None, ...]:
        return (
            self.run_id,
            self.thread_id,
            self.checkpoint_id,
            self.node,
            self.tool_call_id,
            self.source,
        )

    @classmethod
    def unpacked(cls, text: str) -> Provenance:
        """The value written by `packed`."""
        return cls(*(json.loads(text).get(k) for k in _SHORT)) if text else _NOWHERE


_SHORT = ("r", "t", "c", "n", "u", "s")
_NOWHERE = Provenance()


@dataclass(frozen=True, slots=True)
class Marks:
    """What an item carries besides its value.

    Attributes:
        context: Text that helps to find the item (the turn before), at half weight; never shown.
        group: The session or document it belongs to.
        name: What it is called.
        aliases: Other names.
        scopes: Labels; a recall with scopes sees items with any of them.
        kind: `fact`, `preference`, `decision`, `question`, `relation` or a word of your own.
        status: `active`, or why it must not surface: `superseded`, `resolved`, `archived`, ….
        pinned: Always recalled first, never forgotten by sleep.
        participants: For a relation: the names it connects.
        confidence: 0 to 1.
        index: Fields to search; `False` keeps the item out of search.
    """

    context: str = ""
    group: str = ""
    name: str = ""
    aliases: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    kind: str = ""
    status: str = "active"
    pinned: bool = False
    participants: tuple[str, ...] = ()
    confidence: float = 1.0
    index: tuple[str, ...] | Literal[False] | None = None

    def packed(self) -> str:
        """JSON of what differs from the defaults; empty when nothing does."""
        changed = {
            short: getattr(self, name)
            for name, (short, default) in _MARKS.items()
            if getattr(self, name) != default
        }
        return _encode(changed) if changed else ""

    @classmethod
    def unpacked(cls, text: str) -> Marks:
        """The value written by `packed`."""
        if not text:
            return _PLAIN
        found = json.loads(text)
        return cls(**{k: _frozen(found[s]) for k, (s, _) in _MARKS.items() if s in found})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_MARKS: dict[str, tuple[str, Any]] = {
    "context": ("c", ""),
    "group": ("g", ""),
    "name": ("n", ""),
    "aliases": ("a", ()),
    "scopes": ("s", ()),
    "kind": ("k", ""),
    "status": ("t", "active"),
    "pinned": ("p", False),
    "participants": ("r", ()),
    "confidence": ("f", 1.0),
    "index": ("i", None),
}
_PLAIN = Marks()


@dataclass(frozen=True, slots=True)
class Claim:
    """One value claimed for a fact's slot.

    Attributes:
        norm: The value in its normal form, by which claims are compared.
        seen: How often it was claimed.
        affirmed_us: Latest valid time at which it was claimed again.
    """

    norm: str
    confidence: float
    rank: int
    source: str
    affirmed_us: int | Literal[False] = False
    seen: int = 1


@dataclass(frozen=True, slots=True)
class Rival:
    """A claim that contradicts the current one and was not settled."""

    value: dict[str, Any]
    norm: str
    confidence: float
    source: str
    provenance: Provenance
    claimed_at: datetime
    from_us: int | None = None
    to_us: int | None = None


class Number(int):
    """The number of a version that also knows the life of its item.

    An item that expires takes its numbers with it and begins at 1 when it is written again. So a
    condition on a `Number` is met only by the item it came from; one on a plain `int` is met by
    any item with that number.

    Attributes:
        life: When the item was created, in microseconds of the server.
    """

    life: int

    def __new__(cls, number: int, life: int) -> Self:
        """A number and its life."""
        made = super().__new__(cls, number)
        made.life = life
        return made

    def __reduce__(self) -> tuple[type[Number], tuple[int, int]]:
        return Number, (int(self), self.life)


_UNCLAIMED: tuple[Any, ...] = (None, ())


class Record(NamedTuple):
    """One version of one item, as stored."""

    version: int
    created_us: int
    updated_us: int
    ttl_ms: int
    from_us: int | None
    to_us: int | None
    provenance_text: str
    marks_text: str
    value_text: str
    idempotency_key: str
    last: int
    kind: Kind
    claim: Claim | None = None
    rivals: tuple[Rival, ...] = ()

    @classmethod
    def unpacked(cls, raw: bytes) -> Record:
        """The record of these bytes.

        Raises:
            DataCorrupt: The bytes are no record.
        """
        return cls.of(row_of(raw))

    @classmethod
    def of(cls, row: Any) -> Record:
        """The record of a decoded row.

        Raises:
            DataCorrupt: The row is no record.
        """
        try:
            row[4], row[5] = _moment_or_none(row[4]), _moment_or_none(row[5])
            row[11] = _KINDS[row[11]]
            if len(row) > 12:  # noqa: PLR2004 - the length of a record without a claim
                row[12] = Claim(*row[12]) if row[12] else None
                row[13:] = [tuple(_rival(rival) for rival in row[13] or ())] if row[13:] else []
            return cls._make([*row, *_UNCLAIMED[len(row) - 12 :]])
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise DataCorrupt(f"A memory record does not decode: {error}.") from error

    @property
    def value(self) -> dict[str, Any]:
        """The value; empty for a deletion."""
        try:
            decoded: dict[str, Any] = _decode(self.value_text)[0] if self.value_text else {}
        except _UNSOUND as error:
            raise _corrupt("value", error) from error
        return decoded

    @property
    def marks(self) -> Marks:
        """What the item carries besides its value."""
        try:
            return Marks.unpacked(self.marks_text)
        except _UNSOUND as error:
            raise _corrupt("marks", error) from error

    @property
    def provenance(self) -> Provenance:
        """Where this version came from."""
        try:
            return Provenance.unpacked(self.provenance_text)
        except _UNSOUND as error:
            raise _corrupt("provenance", error) from error

    @property
    def number(self) -> Number:
        """The version's number, for a condition on it."""
        return Number(self.version, self.created_us)

    @property
    def valid_from_us(self) -> int:
        """Start of validity: as said, else the moment it was written."""
        return self.updated_us if self.from_us is None else self.from_us

    def holds_now(self, now_us: int) -> bool:
        """Whether nothing said about its validity speaks against it now.

        A version without a stated start holds from when it was written, whatever the difference
        between the server's clock and this one.
        """
        begun = self.from_us is None or self.from_us <= now_us
        return begun and (self.to_us is None or now_us < self.to_us)

    def holds_at(self, at_us: int) -> bool:
        """Whether the version claims to be valid at this moment."""
        return self.valid_from_us <= at_us and (self.to_us is None or at_us < self.to_us)


_UNSOUND = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


def _corrupt(part: str, error: Exception) -> DataCorrupt:
    return DataCorrupt(f"The {part} of a memory record does not decode: {error}.")


def row_of(raw: bytes) -> Any:
    """The decoded row of a record's bytes.

    Raises:
        DataCorrupt: The bytes are no record.
    """
    try:
        return ormsgpack.unpackb(raw)
    except ValueError as error:
        raise DataCorrupt(f"A memory record of {len(raw)} bytes does not decode.") from error


def _moment_or_none(value: Any) -> int | None:
    return None if value is False or value is None else int(value)


def _rival(row: list[Any]) -> Rival:
    norm, confidence, source, start, end, provenance, value, at = row
    return Rival(
        value=json.loads(value),
        norm=norm,
        confidence=confidence,
        source=source,
        provenance=Provenance.unpacked(provenance),
        claimed_at=from_us(at),
        from_us=_moment_or_none(start),
        to_us=_moment_or_none(end),
    )


@dataclass(frozen=True, slots=True)
class Version:
    """One version in an item's history.

    Attributes:
        kind: How it came about. `late` and `outvoted` claims never were the current value.
        superseded_at: When another version took its place; `None` for the current one.
    """

    version: int
    kind: Kind
    value: dict[str, Any] | None
    at: datetime
    superseded_at: datetime | None
    valid_from: datetime
    valid_to: datetime | None
    marks: Marks = field(repr=False)
    provenance: Provenance = field(repr=False)


def from_us(moment: int) -> datetime:
    """A moment in microseconds as an aware datetime."""
    return _EPOCH + timedelta(microseconds=moment)


def to_us(moment: Moment) -> int:
    """A moment as microseconds since the Unix epoch.

    Raises:
        MemoryInvalid: A datetime without a time zone, or no moment at all.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise MemoryInvalid(f"The time {moment.isoformat()} has no time zone.")
        return (moment - _EPOCH) // timedelta(microseconds=1)
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        raise MemoryInvalid(f"{moment!r} is no moment: give an aware datetime or epoch seconds.")
    return round(moment * 1_000_000)
