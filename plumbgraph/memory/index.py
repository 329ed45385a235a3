"""What a process holds of one namespace to search it: texts, handles, marks, vectors."""

from __future__ import annotations

import heapq
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from langgraph.store.base import get_text_at_path
from numpy.typing import NDArray

from plumbgraph.memory.bm25 import GROUP, Scores, TextIndex
from plumbgraph.memory.bm25 import best as highest
from plumbgraph.memory.calls import shows
from plumbgraph.memory.handles import HandleIndex
from plumbgraph.memory.records import Marks, Record, from_us
from plumbgraph.memory.words import terms

_BYTES_PER_ITEM = 900


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one live item without asking the server."""

    slot: int | None
    version: int
    updated_us: int
    ttl_ms: int
    marks: Marks
    texts: str = ""


class NamespaceIndex:
    """The search index of one namespace, as fresh as its last `apply`.

    Attributes:
        cursor: Moment of the last change applied, in microseconds of the server.
        lock: Held while entries are changed or read together, never across a round trip.
        vectors: Embeddings by key, where configured.
        lost: Items seen to have expired whose index entries the server still holds.
        still: Whether the last look found nothing changed, so that the next may not either.
    """

    def __init__(self, language: str, texts: Callable[[Record], str] | None = None) -> None:
        self._language = language
        self._texts = texts
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Know nothing."""
        self.cursor = 0
        self.lost = 0
        self.still = False
        self.entries: dict[str, Entry] = {}
        self.text = TextIndex()
        self.handles = HandleIndex()
        self.vectors: dict[str, NDArray[np.float32]] = {}
        self._keys: list[str] = []
        self._groups: array[int] = array("I")
        self._group_ids: dict[str, int] = {"": 0}
        self._expiring: list[tuple[int, str]] = []
        self._pinned: dict[str, int] = {}

    @property
    def bytes(self) -> int:
        """About how much memory this takes."""
        vectors = sum(matrix.nbytes for matrix in self.vectors.values())
        return len(self.text) * _BYTES_PER_ITEM + vectors

    def apply(
        self, key: str, record: Record | None, *, seen_us: int, expires_us: int | None = None
    ) -> None:
        """Take in the state of one item as seen at a moment; `None` when there was none.

        A state older than the one already known is passed over, so that two threads may follow
        the changes at once.
        """
        old = self.entries.get(key)
        moment = seen_us if record is None else record.updated_us
        if old is not None and old.updated_us > moment:
            return
        self.entries.pop(key, None)
        self.vectors.pop(key, None)
        self._pinned.pop(key, None)
        if old is not None and old.slot is not None:
            self.text.remove(old.slot)
        if record is None:
            self.handles.drop(key)
            return
        marks = record.marks
        slot = self._indexed(key, record, marks)
        if marks.pinned:
            self._pinned[key] = record.updated_us
        texts = self._texts(record) if self._texts else ""
        self.entries[key] = Entry(
            slot, record.version, record.updated_us, record.ttl_ms, marks, texts
        )
        if expires_us is not None:
            heapq.heappush(self._expiring, (expires_us, key))
        if self.text.wasteful:
            self._compact()

    def _indexed(self, key: str, record: Record, marks: Marks) -> int | None:
        if marks.status != "active" or marks.index is False:
            self.handles.drop(key)
            return None
        self.handles.put(key, names_of(record, marks))
        words = terms(searched_text(record, marks), self._language)
        context = terms(marks.context, self._language) if marks.context else ()
        slot = self.text.add(words, context)
        self._keys.append(key)
        self._groups.append(self._group_ids.setdefault(marks.group, len(self._group_ids)))
        return slot

    def _compact(self) -> None:
        kept = self.text.compacted()
        self._keys = [self._keys[slot] for slot in kept]
        self._groups = array("I", (self._groups[slot] for slot in kept))
        for slot, key in enumerate(self._keys):
            entry = self.entries[key]
            self.entries[key] = replace(entry, slot=slot)

    def expired(self, now_us: int) -> list[str]:
        """Keys whose time to live may have ended, to be looked at again."""
        due: list[str] = []
        while self._expiring and self._expiring[0][0] <= now_us:
            key = heapq.heappop(self._expiring)[1]
            if key in self.entries:
                due.append(key)
        return due

    def scores(self, query: Sequence[str]) -> Scores:
        """Each slot's score: its own, and a part of the best in its group."""
        own = self.text.scores(query)
        if len(self._group_ids) == 1 or not len(own):
            return own
        found = np.flatnonzero(own)
        groups = np.array(self._groups, dtype=np.uint32)[found]
        best = np.zeros(len(self._group_ids), dtype=np.float32)
        np.maximum.at(best, groups, own[found])
        best[0] = 0.0
        own[found] += GROUP * best[groups]
        return own

    def top(self, query: Sequence[str], most: int) -> list[tuple[str, float]]:
        """The keys with the highest scores and these, best first."""
        if len(self._group_ids) == 1:
            found = self.text.top(query, most)
        else:
            scores = self.scores(query)
            found = [(slot, float(scores[slot])) for slot in highest(scores, most)]
        return [(self._keys[slot], score) for slot, score in found]

    def key_of(self, slot: int) -> str:
        """The key whose text is in a slot."""
        return self._keys[slot]

    def visible(self, key: str, scopes: frozenset[str], kinds: frozenset[str]) -> bool:
        """Whether an item may surface under these filters; empty ones let everything pass."""
        entry = self.entries.get(key)
        return entry is not None and shows(entry.marks, scopes, kinds)

    def pinned(self) -> list[str]:
        """Keys of pinned items, the last changed first."""
        return sorted(self._pinned, key=lambda key: -self._pinned[key])

    def newest(self, most: int) -> list[str]:
        """Keys of the items changed last."""
        return heapq.nlargest(most, self.entries, key=lambda key: self.entries[key].updated_us)

    def related(self, keys: Sequence[str]) -> list[str]:
        """Participants of the relations among these keys, by key or by name."""
        wanted = {
            name
            for key in keys
            if (entry := self.entries.get(key)) and entry.marks.kind == "relation"
            for name in entry.marks.participants
        }
        if not wanted:
            return []
        return [
            key
            for key, entry in self.entries.items()
            if key not in keys and (key in wanted or entry.marks.name in wanted)
        ]


def names_of(record: Record, marks: Marks) -> Iterator[str]:
    """The names that call an item up: its own, its aliases and, for a fact, its attribute."""
    if marks.name:
        yield marks.name
    yield from marks.aliases
    if record.claim is not None:
        yield str(record.value.get("attribute", ""))


def searched_text(record: Record, marks: Marks) -> str:
    """The text by which an item is found: its fields, names and, if stated, its date."""
    value = record.value
    if marks.index:
        parts = [text for path in marks.index for text in get_text_at_path(value, path)]
    else:
        parts = list(_texts(value))
    parts += [marks.name.replace("_", " "), *marks.aliases]
    if record.from_us is not None:
        parts.append(f"{from_us(record.from_us):%-d %B %Y}")
    return "\n".join(part for part in parts if part)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
