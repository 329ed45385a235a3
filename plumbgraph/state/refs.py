"""How a checkpoint or a write names a value: inline, or by ranges of a log's elements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias

from plumbgraph.errors import DataCorrupt
from plumbgraph.state.frames import Item
from plumbgraph.state.marks import Mark
from plumbgraph.state.spans import Place, Span, covering


class Kind(IntEnum):
    """What the elements of a reference make up."""

    INLINE = 0
    SINGLE = 1
    LIST = 2
    DICT = 3
    DELTA_LIST = 4
    DELTA_DICT = 5


@dataclass(frozen=True, slots=True)
class Ref:
    """A stored value: its kind with an item (inline) or ranges (everything else)."""

    kind: Kind
    item: Item | None = None
    spans: tuple[Span, ...] = ()


Version: TypeAlias = str | int | float


@dataclass(slots=True)
class Tracked:
    """A value this process wrote or read, element by element, with marks to notice changes.

    Attributes:
        keys: A dict's keys; None for a list or a single value.
        values: The very objects.
        marks: One for each; False where the element was read and not yet looked at.
    """

    keys: list[Any] | None
    values: list[Any]
    marks: list[Mark]


@dataclass(slots=True)
class Shelf:
    """Stored elements of one channel, to be named again instead of being stored again."""

    by_id: dict[int, tuple[Any, Mark, Place]] = field(default_factory=dict)
    by_raw: dict[Item, Place] = field(default_factory=dict)

    def note(self, value: Any, known: Mark, raw: Item, place: Place) -> None:
        """Remember one element; an unknown mark leaves only its bytes to find it by."""
        if known is not False:
            self.by_id[id(value)] = (value, known, place)
        self.by_raw[raw] = place

    def add(self, other: Shelf) -> None:
        """Take over another's elements."""
        self.by_id.update(other.by_id)
        self.by_raw.update(other.by_raw)


def joined_shelves(first: Mapping[str, Shelf], second: Mapping[str, Shelf]) -> dict[str, Shelf]:
    """What either of two has stored, by channel."""
    found = dict(first)
    for channel, shelf in second.items():
        found[channel] = both = Shelf()
        if channel in first:
            both.add(first[channel])
        both.add(shelf)
    return found


@dataclass(slots=True)
class Channels:
    """The channels of one checkpoint.

    Attributes:
        refs: Version and reference of each; None for an empty channel.
        tracked: What of them this process has in memory.
        trail: Elements that writes stored since a channel was last saved whole.
    """

    refs: dict[str, tuple[Version, Ref | None]] = field(default_factory=dict)
    tracked: dict[str, Tracked] = field(default_factory=dict)
    trail: dict[str, Shelf] = field(default_factory=dict)


def dump(ref: Ref | None, logs: Mapping[int, int]) -> list[Any] | None:
    """The stored form; `logs` numbers the logs of the row."""
    if ref is None:
        return None
    if ref.kind is Kind.INLINE:
        return [0, ref.item]
    flat: list[int] = []
    for log, start, stop in ref.spans:
        flat += (logs[log], start, stop - start)
    return [int(ref.kind), flat]


def load(stored: Sequence[Any] | None, logs: Sequence[int]) -> Ref | None:
    """The reference of a stored form.

    Raises:
        DataCorrupt: It names a log the row does not have, or is no reference.
    """
    if stored is None:
        return None
    try:
        kind, content = Kind(stored[0]), stored[1]
        if kind is Kind.INLINE:
            return Ref(kind, tuple(content) if isinstance(content, list) else content)
        spans = tuple(
            (logs[content[at]], content[at + 1], content[at + 1] + content[at + 2])
            for at in range(0, len(content), 3)
        )
    except (IndexError, TypeError, ValueError) as error:
        raise DataCorrupt(f"A stored reference is malformed: {error}.") from error
    return Ref(kind, None, spans)


def spans_of(refs: Iterable[Ref | None]) -> list[Span]:
    """One covering range for each log that the references name."""
    return covering(span for ref in refs if ref is not None for span in ref.spans)


Numbered: TypeAlias = tuple[int, str, Ref]
"""One write of a task: its index, its channel and its value."""


def dump_writes(slot: int, writes: Iterable[Numbered], logs: Mapping[int, int]) -> list[Any]:
    """The stored form of a row of writes; an index that does not follow stands before its write."""
    stored: list[Any] = []
    following = slot
    for at, channel, ref in writes:
        if at != following:
            stored.append([at, None])
        stored.append([channel, dump(ref, logs)])
        following = at + 1
    return stored


def load_writes(slot: int, stored: Sequence[Sequence[Any]], logs: Sequence[int]) -> list[Numbered]:
    """The writes of a stored form; see `load`."""
    named = [(name, ref) for name, content in stored if (ref := load(content, logs)) is not None]
    return [(at, *each) for at, each in zip(indexes_of(slot, stored), named, strict=True)]


def indexes_of(slot: int, stored: Iterable[Sequence[Any]]) -> Iterator[int]:
    """The index of each write of a stored form."""
    at = slot
    for name, content in stored:
        if content is None:
            at = name
        else:
            yield at
            at += 1
