"""Append-only logs of elements: who gets which position, and which rows that makes.

Only the process that opened a log appends to it, and no position is ever given out twice, so
two writers cannot collide; positions of a statement that failed stay unused. A full block of 32
positions becomes one compressed row, in which a position that is stored elsewhere is None.
"""

from __future__ import annotations

import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeAlias

from plumbgraph.state.frames import Item
from plumbgraph.state.spans import BLOCK, Span

Row: TypeAlias = tuple[int, int, list[Item | None]]
"""Log, slot, items: one row of the element table before packing."""

LogKey: TypeAlias = tuple[tuple[str, str, str], str]
"""Tenant, thread and namespace of the stream; then the channel."""

LARGE = 1_536
"""A stored element of more bytes keeps its row: in a chunk, which PostgreSQL cuts into pieces of
2 kB, it would be written a second time and save hardly a row."""

HUGE = 16_384
"""One of more bytes has a row of its own from the beginning."""

_MOST_LOGS = 4_096


def size_of(item: Item) -> int:
    """How many bytes an item has."""
    return len(item) if isinstance(item, bytes) else len(item[1])


@dataclass(slots=True)
class Log:
    """One log of this process: its number, where it ends, and its block that is still open."""

    number: int
    known: bool = False
    end: int = 0
    tail: dict[int, Item] = field(default_factory=dict)
    flying: set[int] = field(default_factory=set)
    spoilt: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Staged:
    """Rows one statement will write, and what to do once it is known how it went."""

    spans: list[Span] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    drops: list[tuple[int, int]] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)
    items: list[tuple[int, int, list[Item]]] = field(default_factory=list)
    undo: list[Callable[[], None]] = field(default_factory=list)
    done: list[Callable[[], None]] = field(default_factory=list)

    def commit(self) -> None:
        """The statement is committed."""
        for call in self.done:
            call()

    def abort(self) -> None:
        """It was not, or nobody knows."""
        for call in self.undo:
            call()


class LogBook:
    """The logs this process appends to, by stream and channel."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pid = os.getpid()
        self._logs: OrderedDict[LogKey, Log] = OrderedDict()

    def append(
        self, staged: Staged, key: LogKey, items: Sequence[Item], *, seal: bool
    ) -> list[Span]:
        """Give the items positions at the end of the key's log and stage their rows.

        Args:
            staged: Collects rows of one statement; its `commit` or `abort` must follow.
            key: Stream and channel.
            items: What to append, at least one.
            seal: Also turn blocks that are full by now into single rows.

        Returns:
            The range of the new elements.
        """
        with self._lock:
            log = self._open(key)
            start, log.end = log.end, log.end + len(items)
            if not log.known:
                staged.fresh.append(log.number)
            new = dict(zip(range(start, log.end), items, strict=True))
            log.flying.update(new)
            written = self._stage(staged, log, new, seal=seal)
        staged.items.append((log.number, start, list(items)))
        staged.done.append(lambda: self._settle(log, new, written))
        staged.undo.append(lambda: self._spoil(log, new, written))
        return [(log.number, start, log.end)]

    def seal(self, staged: Staged, key: LogKey) -> None:
        """Turn blocks of the key's log that are full by now into single rows."""
        with self._lock:
            log = self._logs.get(key)
            if log is None or log.end < BLOCK or not log.tail or self._pid != os.getpid():
                return
            sealed = self._stage(staged, log, {}, seal=True)
        if sealed:
            staged.done.append(lambda: self._settle(log, {}, sealed))
            staged.undo.append(lambda: self._spoil(log, {}, sealed))

    def _open(self, key: LogKey) -> Log:
        if self._pid != os.getpid():
            self._pid, self._logs = os.getpid(), OrderedDict()
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = Log(secrets.randbits(62))
        self._logs.move_to_end(key)
        if len(self._logs) > _MOST_LOGS:
            self._logs.popitem(last=False)
        return log

    def forget(self, thread: tuple[str, str]) -> None:
        """Open new logs for the streams of this thread from now on."""
        with self._lock:
            for key in [key for key in self._logs if key[0][:2] == thread]:
                del self._logs[key]

    def _stage(self, staged: Staged, log: Log, new: dict[int, Item], *, seal: bool) -> set[int]:
        sealed: set[int] = set()
        for block in sorted({position // BLOCK for position in (*new, *log.tail)}):
            chunk = self._chunk(log, new, block, seal=seal)
            if chunk is None:
                continue
            last = block * BLOCK + BLOCK - 1
            staged.rows.append((log.number, 2 * last + 1, chunk))
            inside = {block * BLOCK + at for at, item in enumerate(chunk) if item is not None}
            staged.drops += [(log.number, 2 * position) for position in inside - new.keys()]
            sealed |= inside
        staged.rows += [
            (log.number, 2 * position, [item])
            for position, item in new.items()
            if position not in sealed
        ]
        return sealed

    def _chunk(
        self, log: Log, new: dict[int, Item], block: int, *, seal: bool
    ) -> list[Item | None] | None:
        span = range(block * BLOCK, block * BLOCK + BLOCK)
        if log.end < span.stop or block in log.spoilt:
            return None
        others = [position for position in span if position not in new]
        if others and (not seal or any(position in log.flying for position in others)):
            return None
        found = [new.get(position) or log.tail.get(position) for position in span]
        chunk = [
            item if item is not None and size_of(item) <= (HUGE if at in new else LARGE) else None
            for at, item in zip(span, found, strict=True)
        ]
        return chunk if sum(item is not None for item in chunk) > 1 else None

    def _settle(self, log: Log, new: dict[int, Item], sealed: set[int]) -> None:
        with self._lock:
            log.known = True
            log.flying.difference_update(new)
            for position in sealed:
                log.tail.pop(position, None)
            for position, item in new.items():
                if position not in sealed and not _over(log, position, item):
                    log.tail[position] = item

    def _spoil(self, log: Log, new: dict[int, Item], sealed: set[int]) -> None:
        with self._lock:
            log.flying.difference_update(new)
            # Whether such a block was sealed is unknown, so nobody tries again.
            log.spoilt.update(position // BLOCK for position in sealed)
            _trim(log)


def _trim(log: Log) -> None:
    """Keep items only of blocks that can still be sealed."""
    for position in [p for p, item in log.tail.items() if _over(log, p, item)]:
        del log.tail[position]


def _over(log: Log, position: int, item: Item) -> bool:
    return position // BLOCK in log.spoilt or size_of(item) > LARGE


def slots(rows: Iterable[Row]) -> tuple[list[int], list[int]]:
    """The rows' logs and slots, as two columns."""
    pairs = [(log, slot) for log, slot, _ in rows]
    return [log for log, _ in pairs], [slot for _, slot in pairs]
