"""What a caller gets back: LangGraph's items, which also tell the version they came from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from langgraph.store.base import Item, SearchItem

from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.records import Marks, Provenance, Record, Rival, from_us


class _Told:
    """What an item tells of its record, worked out when asked for."""

    __slots__ = ()
    record: Record

    @property
    def created_at(self) -> datetime:
        """When the item was first written."""
        return from_us(self.record.created_us)

    @property
    def updated_at(self) -> datetime:
        """When this version was written."""
        return from_us(self.record.updated_us)

    @property
    def version(self) -> int:
        """The number of this version; it knows which life of the item it belongs to."""
        return self.record.number

    @property
    def provenance(self) -> Provenance:
        """Where this version came from."""
        return self.record.provenance

    @property
    def marks(self) -> Marks:
        """What the item carries besides its value."""
        return self.record.marks

    @property
    def rivals(self) -> tuple[Rival, ...]:
        """Claims that contradict this one and were not settled."""
        return self.record.rivals

    @property
    def contested(self) -> bool:
        """Whether another claim contradicts this one and nobody settled it."""
        return bool(self.record.rivals)

    @property
    def ttl_ms(self) -> int:
        """Milliseconds to live after the last access; 0 for no end."""
        return self.record.ttl_ms

    @property
    def valid_from(self) -> datetime:
        """Since when it is true."""
        return from_us(self.record.valid_from_us)

    @property
    def valid_to(self) -> datetime | None:
        """Until when it is true; `None` for no end."""
        return None if self.record.to_us is None else from_us(self.record.to_us)


class MemoryItem(_Told, Item):  # type: ignore[override]  # LangGraph's moments can be set
    """An item with its version, its provenance and its marks."""

    __slots__ = ("record",)

    def __init__(self, *, record: Record, namespace: Namespace, key: str) -> None:
        # LangGraph's own constructor would work the moments out.
        self.value = record.value
        self.key = key
        self.namespace = namespace
        self.record = record

    __hash__ = Item.__hash__

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __reduce__(self) -> Any:
        return _item, (self.record, self.namespace, self.key)


class MemorySearchItem(_Told, SearchItem):  # type: ignore[override]  # as above
    """A search result with its version, its provenance and its marks."""

    __slots__ = ("record",)

    def __init__(
        self, *, record: Record, namespace: Namespace, key: str, score: float | None = None
    ) -> None:
        self.value = record.value
        self.key = key
        self.namespace = namespace
        self.record = record
        self.score = score

    __hash__ = Item.__hash__

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __reduce__(self) -> Any:
        return _found, (self.record, self.namespace, self.key, self.score)


def _item(record: Record, namespace: Namespace, key: str) -> MemoryItem:
    return MemoryItem(record=record, namespace=namespace, key=key)


def _found(record: Record, namespace: Namespace, key: str, score: float | None) -> MemorySearchItem:
    return MemorySearchItem(record=record, namespace=namespace, key=key, score=score)
