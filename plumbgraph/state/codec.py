"""Values to stored references and back: element by element, each serialized once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.errors import DataCorrupt
from plumbgraph.state.cache import ByteCache
from plumbgraph.state.direct import Mold, mold
from plumbgraph.state.elements import Elements
from plumbgraph.state.frames import Item
from plumbgraph.state.logs import LogBook, Staged, size_of
from plumbgraph.state.refs import Kind, Ref, Shelf, Tracked
from plumbgraph.state.spans import Place, Span, joined, length
from plumbgraph.upstream import DeltaSnapshot

INLINE = 512
"""A value of at most so many bytes stands in the row that names it."""

_LIST_RANGES = 12
_DICT_RANGES = 32

_DELTA = {Kind.DELTA_LIST: Kind.LIST, Kind.DELTA_DICT: Kind.DICT}
_TO_DELTA = {plain: delta for delta, plain in _DELTA.items()}
_KEYS = frozenset({str, int})


def dump_item(serde: SerializerProtocol, value: Any) -> Item:
    """A serialized value."""
    kind, data = serde.dumps_typed(value)
    return bytes(data) if kind == "msgpack" else (kind, bytes(data))


def load_item(serde: SerializerProtocol, item: Item) -> Any:
    """The value of an item."""
    return serde.loads_typed(("msgpack", item) if isinstance(item, bytes) else item)


Molds: TypeAlias = dict[Item, Mold | None]
"""What to cast items from that were decoded before; None where each must be decoded anew."""


def load_items(
    serde: SerializerProtocol, items: Iterable[Item], molds: Molds | None = None
) -> list[Any]:
    """The values of items; with molds, of those that were met before in less time."""
    if molds is None:
        return [load_item(serde, item) for item in items]
    values = []
    for item in items:
        known = molds.get(item)
        if known is None:
            value = load_item(serde, item)
            if item not in molds:
                molds[item] = mold(value)
        else:
            value = known.cast()
        values.append(value)
    return values


@dataclass(slots=True)
class Encoder:
    """Turns the values of one statement into references and staged rows.

    Attributes:
        stream: Identifies the stream among the logs.
        seal: Whether full blocks may be sealed (puts do, writes do not).
        shelves: By channel, elements the parent's writes have stored already.
        noted: By channel, the elements that are stored by this statement.
    """

    serde: SerializerProtocol
    book: LogBook
    cached: ByteCache
    stream: tuple[str, str, str]
    seal: bool
    shelves: Mapping[str, Shelf] = field(default_factory=dict)
    noted: dict[str, Shelf] = field(default_factory=dict)
    staged: Staged = field(default_factory=Staged)

    def encode(
        self, channel: str, value: Any, old: Ref | None = None, tracked: Tracked | None = None
    ) -> tuple[Ref, Tracked | None]:
        """The reference of a value, reusing elements of the old one."""
        if isinstance(value, DeltaSnapshot):
            ref, now = self.encode(channel, value.value, _undelta(old), tracked)
            if ref.kind in _TO_DELTA:
                return Ref(_TO_DELTA[ref.kind], None, ref.spans), now
            return self._single(channel, value, None)
        if type(value) is list and value:
            return self._many(channel, Kind.LIST, None, value, old, tracked)
        if type(value) is dict and value and all(type(key) in _KEYS for key in value):
            return self._many(channel, Kind.DICT, list(value), list(value.values()), old, tracked)
        return self._single(channel, value, old)

    def inline(self, value: Any) -> Ref:
        """A reference that holds the value itself."""
        return Ref(Kind.INLINE, dump_item(self.serde, value))

    def _single(self, channel: str, value: Any, old: Ref | None) -> tuple[Ref, Tracked | None]:
        raw = dump_item(self.serde, value)
        if size_of(raw) <= INLINE:
            return Ref(Kind.INLINE, raw), None
        if old is not None and old.kind is Kind.SINGLE and self._item(old.spans[0][:2]) == raw:
            return old, None
        shelf = self.shelves.get(channel)
        if shelf is not None and (place := shelf.by_raw.get(raw)):
            return Ref(Kind.SINGLE, None, tuple(joined([place]))), None
        spans = self._append(channel, [raw])
        self.noted.setdefault(channel, Shelf()).note(value, False, raw, spans[0][:2])
        return Ref(Kind.SINGLE, None, tuple(spans)), None

    def _many(
        self,
        channel: str,
        kind: Kind,
        keys: list[Any] | None,
        values: list[Any],
        old: Ref | None,
        tracked: Tracked | None,
    ) -> tuple[Ref, Tracked | None]:
        old = old if old is not None and old.kind is kind else None
        dump = partial(dump_item, self.serde)
        work = Elements(keys, values, dump, self._item, self.shelves.get(channel))
        work.find(old, tracked)
        if old is None and work.small(INLINE):
            whole = values if keys is None else dict(zip(keys, values, strict=True))
            return self.inline(whole), None
        work.gather(_LIST_RANGES if keys is None else _DICT_RANGES + len(values) // 8)
        spans = self._store(channel, work)
        return Ref(kind, None, tuple(spans)), Tracked(keys, list(values), work.marks)

    def _store(self, channel: str, work: Elements) -> list[Span]:
        new = work.missing()
        if not new:
            if self.seal:
                self.book.seal(self.staged, (self.stream, channel))
            return work.placed((), 0, 0)
        raws = [work.raws[at] for at in new]
        log, start, _ = self._append(channel, raws)[0]
        shelf = self.noted.setdefault(channel, Shelf())
        for position, (at, raw) in enumerate(zip(new, raws, strict=True), start):
            known = work.marks[at] if work.keys is None else False
            shelf.note(work.values[at], known, raw, (log, position))
        return work.placed(new, log, start)

    def _append(self, channel: str, raws: list[Item]) -> list[Span]:
        return self.book.append(self.staged, (self.stream, channel), raws, seal=self.seal)

    def _item(self, place: Place) -> Item | None:
        return self.cached.get((*place, place[1] + 1))[0]


def _undelta(ref: Ref | None) -> Ref | None:
    if ref is None or ref.kind not in _DELTA:
        return ref
    return Ref(_DELTA[ref.kind], None, ref.spans)


def decode(
    serde: SerializerProtocol,
    ref: Ref,
    items: Mapping[Any, list[Item | None]],
    molds: Molds | None = None,
) -> tuple[Any, Tracked | None]:
    """The value of a reference, and how to track it.

    Args:
        serde: Decodes each element.
        ref: What to decode.
        items: The serialized elements of each of its ranges.
        molds: Of the elements that this reader has decoded before.

    Raises:
        DataCorrupt: An element is missing.
    """
    if ref.kind is Kind.INLINE:
        assert ref.item is not None
        return load_item(serde, ref.item), None
    raws: list[Item] = []
    for span in ref.spans:
        raws += [item for item in items[span] if item is not None]
    if len(raws) != length(ref.spans):
        raise DataCorrupt(f"Elements are missing in {list(ref.spans)!r}.")
    values = load_items(serde, raws, molds)
    if ref.kind is Kind.SINGLE:
        return values[0], None
    keys = None
    if ref.kind in (Kind.DICT, Kind.DELTA_DICT):
        keys = [key for key, _ in values]
        values = [value for _, value in values]
    whole = values if keys is None else dict(zip(keys, values, strict=True))
    tracked = Tracked(keys, list(values), [False] * len(values))
    return (DeltaSnapshot(whole) if ref.kind in _DELTA else whole), tracked
