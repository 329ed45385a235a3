"""What this process already knows: stored bytes of logs, and the values of recent checkpoints.

Bytes are kept, not objects, so every reader decodes values of his own. Nothing here is ever
relied on for correctness: what is missing is read again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, TypeVar

from plumbgraph.state.frames import Item
from plumbgraph.state.logs import size_of
from plumbgraph.state.spans import Span

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(slots=True)
class _Stretch:
    start: int
    items: list[Item | None] = field(default_factory=list)
    size: int = 0


class ByteCache:
    """Serialized elements by log and position, least recently used logs leave first."""

    def __init__(self, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._most = most_bytes
        self._size = 0
        self._lock = Lock()
        self._logs: OrderedDict[int, _Stretch] = OrderedDict()

    def put(self, log: int, start: int, items: Sequence[Item | None]) -> None:
        """Remember items from position `start` on; a None leaves what is there."""
        with self._lock:
            found = self._logs.get(log)
            if found is None:
                found = self._logs[log] = _Stretch(start)
            self._logs.move_to_end(log)
            if start < found.start:
                found.items[:0] = [None] * (found.start - start)
                found.start = start
            offset = start - found.start
            missing = offset + len(items) - len(found.items)
            if missing > 0:
                found.items.extend([None] * missing)
            for at, item in enumerate(items, offset):
                if item is not None and found.items[at] is None:
                    found.items[at] = item
                    found.size += size_of(item)
                    self._size += size_of(item)
            while self._size > self._most and len(self._logs) > 1:
                _, gone = self._logs.popitem(last=False)
                self._size -= gone.size

    def get(self, span: Span) -> list[Item | None]:
        """The items of a range, None for each that is not here."""
        log, start, stop = span
        with self._lock:
            found = self._logs.get(log)
            if found is None:
                return [None] * (stop - start)
            self._logs.move_to_end(log)
            if start < found.start:
                return [None] * (stop - start)
            part = found.items[start - found.start : stop - found.start]
        return part if len(part) == stop - start else part + [None] * (stop - start - len(part))

    def held(self, spans: Iterable[Span]) -> list[Span]:
        """Of these logs, what is here, as one range a log."""
        out = []
        with self._lock:
            for log, _, _ in spans:
                found = self._logs.get(log)
                if found is not None and found.items:
                    out.append((log, found.start, found.start + len(found.items)))
        return out

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._logs.clear()
            self._size = 0

    def drop(self, logs: Iterable[int]) -> None:
        """Forget these logs."""
        with self._lock:
            for log in logs:
                gone = self._logs.pop(log, None)
                if gone is not None:
                    self._size -= gone.size


class Recent(Generic[Key, Value]):
    """A small map that forgets the least recently used."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._found: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """The value, or None."""
        with self._lock:
            value = self._found.get(key)
            if value is not None:
                self._found.move_to_end(key)
            return value

    def known(self) -> list[Key]:
        """What is remembered, oldest first."""
        with self._lock:
            return list(self._found)

    def put(self, key: Key, value: Value) -> None:
        """Remember a value."""
        with self._lock:
            self._found[key] = value
            self._found.move_to_end(key)
            if len(self._found) > self._most:
                self._found.popitem(last=False)

    def pop(self, key: Key) -> Value | None:
        """Forget a value."""
        with self._lock:
            return self._found.pop(key, None)

    def drop(self, wanted: Any) -> None:
        """Forget every key for which `wanted(key)` is true."""
        with self._lock:
            for key in [key for key in self._found if wanted(key)]:
                del self._found[key]
