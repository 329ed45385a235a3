"""One list or dict on its way to storage: which elements are known, which are new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from plumbgraph.state.frames import Item
from plumbgraph.state.logs import size_of
from plumbgraph.state.marks import Mark, mark, unchanged
from plumbgraph.state.refs import Ref, Shelf, Tracked
from plumbgraph.state.spans import Place, Span, cut, extend, joined, length, places, worth_merging

_NEW = -1


@dataclass(slots=True)
class Elements:
    """A list's values, or a dict's keys and values, and what is found out about them.

    Attributes:
        dump: Serializes one element (for a dict, a pair of key and value).
        cached: The serialized element at a place, where this process has it.
        shelf: Elements the parent's writes have stored already.
    """

    keys: list[Any] | None
    values: list[Any]
    dump: Callable[[Any], Item]
    cached: Callable[[Place], Item | None]
    shelf: Shelf | None
    kept: list[Span] = field(default_factory=list)
    rest: list[Place | None] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    raws: dict[int, Item] = field(default_factory=dict)
    _old: dict[Any, tuple[Any, Mark, Place]] = field(default_factory=dict)
    _loose: list[Place] = field(default_factory=list)
    _old_raw: dict[Item, Place] | None = None

    @property
    def offset(self) -> int:
        """How many elements at the beginning are kept as they were."""
        return len(self.values) - len(self.rest)

    def raw(self, at: int) -> Item:
        """The serialized element at an index."""
        value = self.values[at]
        return self.dump(value if self.keys is None else [self.keys[at], value])

    def find(self, old: Ref | None, tracked: Tracked | None) -> None:
        """Place every element that is stored already and serialize the others."""
        same = 0
        if old is not None:
            same = self._common(old, tracked) if tracked is not None else 0
            self._learn(old, tracked, same)
        for at in range(same, len(self.values)):
            known, place = self._seen(at) or self._new(at)
            self.marks.append(known)
            self.rest.append(place)

    def _learn(self, old: Ref, tracked: Tracked | None, same: int) -> None:
        if same == length(old.spans):
            self.kept = list(old.spans)
        else:
            known = places(old.spans)
            self.kept, self._loose = cut(old.spans, same), known[same:]
            if tracked is not None:
                names = tracked.keys or [id(value) for value in tracked.values]
                self._old = {
                    names[at]: (tracked.values[at], tracked.marks[at], known[at])
                    for at in range(same, len(known))
                }
        if tracked is not None:
            self.marks = tracked.marks[:same]

    def _common(self, old: Ref, tracked: Tracked) -> int:
        marks, where, at = tracked.marks, None, 0
        most = self._same_keys(tracked)
        pairs = zip(self.values[:most], tracked.values, marks, strict=False)
        for at, (value, before, known) in enumerate(pairs):
            if value is not before:
                return at
            # This loop meets every message of a thread at every step, so the usual case is here.
            if known is True:
                continue
            if type(known) is dict:
                if value.__dict__ == known and not value.__pydantic_extra__:
                    continue
                return at
            if known is False:
                where = where or places(old.spans)
                if not self._learnt(at, marks, where[at]):
                    return at
            elif not unchanged(value, known, partial(self.raw, at)):
                return at
        return min(most, len(tracked.values))

    def _same_keys(self, tracked: Tracked) -> int:
        if tracked.keys is None or self.keys is None:
            return len(self.values)
        pairs = enumerate(zip(tracked.keys, self.keys, strict=False))
        differ = (at for at, (old, new) in pairs if old != new or type(old) is not type(new))
        return next(differ, len(self.values))

    def _learnt(self, at: int, marks: list[Mark], place: Place) -> bool:
        raw = self.raw(at)
        if self.cached(place) != raw:
            return False
        marks[at] = mark(self.values[at], raw)
        return True

    def _seen(self, at: int) -> tuple[Mark, Place] | None:
        value = self.values[at]
        entries = [self._old.get(id(value) if self.keys is None else self.keys[at])]
        if self.shelf is not None and self.keys is None:
            entries.append(self.shelf.by_id.get(id(value)))
        for entry in entries:
            if entry is None or entry[0] is not value or entry[1] is False:
                continue
            if unchanged(value, entry[1], partial(self.raw, at)):
                return entry[1], entry[2]
        return None

    def _new(self, at: int) -> tuple[Mark, Place | None]:
        raw = self.raws[at] = self.raw(at)
        return mark(self.values[at], raw), self._by_content(raw)

    def _by_content(self, raw: Item) -> Place | None:
        if self.shelf is not None and (place := self.shelf.by_raw.get(raw)):
            return place
        if self._old_raw is None:
            items = ((self.cached(place), place) for place in self._loose)
            self._old_raw = {item: place for item, place in items if item is not None}
        return self._old_raw.get(raw)

    def small(self, most: int) -> bool:
        """Whether all of it was serialized just now and is at most so many bytes."""
        if len(self.raws) < len(self.values):
            return False
        return sum(size_of(item) for item in self.raws.values()) <= most

    def gather(self, most: int) -> None:
        """Mark scattered elements to be written anew, so that ranges stay few."""
        spans = self._outline()
        if self.keys is None:
            taken = worth_merging(spans, most)
        else:
            taken = len(spans) if len(spans) > most else 0
        if not taken:
            return
        count = length(spans[len(spans) - taken :])
        if count > len(self.rest):
            missing = count - len(self.rest)
            tail = places(self.kept)[-missing:]
            self.kept = cut(self.kept, length(self.kept) - missing)
            self.rest = [*tail, *self.rest]
        first = len(self.values) - count
        for at in range(first, len(self.values)):
            place = self.rest[at - self.offset]
            if place is not None:
                self.raws[at] = self.cached(place) or self.raw(at)
                self.rest[at - self.offset] = None

    def _outline(self) -> list[Span]:
        spans, new = list(self.kept), 0
        for place in self.rest:
            if place is None:
                extend(spans, [(_NEW, new, new + 1)])
                new += 1
            else:
                extend(spans, [(*place, place[1] + 1)])
        return spans

    def missing(self) -> list[int]:
        """Indexes of the elements to be stored."""
        return [at for at, place in enumerate(self.rest, self.offset) if place is None]

    def placed(self, at: Sequence[int], log: int, start: int) -> list[Span]:
        """All ranges, once the missing elements have the positions from `start` on."""
        for position, index in enumerate(at, start):
            self.rest[index - self.offset] = (log, position)
        spans = list(self.kept)
        extend(spans, joined(place for place in self.rest if place is not None))
        return spans
