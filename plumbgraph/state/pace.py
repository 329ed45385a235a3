"""When a task's writes may be made durable together with the checkpoint that follows them.

A flush of the database's log is most of what a small statement takes. In a graph that runs one
task a step, `put` follows `put_writes` within a millisecond and flushes for both. So such writes
are committed without a flush of their own, and only where no `put` turns out to be waiting for
them are they flushed by themselves before `put_writes` returns: either way nothing that was
acknowledged depends on an unflushed log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from plumbgraph.state.cache import Recent
from plumbgraph.state.context import StreamKey

FLUSH = "SELECT pg_logical_emit_message(true, 'plumbgraph', '')"
"""A commit that flushes everything before it; what it writes is ignored by everybody."""


@dataclass(slots=True)
class _Pace:
    checkpoint_id: str
    calls: int
    single: bool


class Paces:
    """By stream, whether one task a step writes and its put follows at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: Recent[StreamKey, _Pace] = Recent(4096)
        self._waiting: dict[tuple[StreamKey, str], int] = {}

    @contextmanager
    def put_on(self, stream: StreamKey, parent: str) -> Iterator[None]:
        """A put on this parent is under way for as long as the block lasts."""
        key = (stream, parent)
        with self._lock:
            self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[key] -= 1
                if not self._waiting[key]:
                    del self._waiting[key]

    def may_wait(self, stream: StreamKey, checkpoint_id: str) -> bool:
        """Whether writes that begin now will probably be followed by their put at once."""
        with self._lock:
            known = self._known.get(stream)
            if known is None or known.checkpoint_id != checkpoint_id:
                single = known is not None and known.single
                self._known.put(stream, _Pace(checkpoint_id, 1, single))
                return single
            known.calls, known.single = known.calls + 1, False
            return False

    def followed(self, stream: StreamKey, checkpoint_id: str) -> bool:
        """Whether the put of writes that are stored now is waiting for them."""
        with self._lock:
            waits = (stream, checkpoint_id) in self._waiting
            known = self._known.get(stream)
            if known is not None and known.checkpoint_id == checkpoint_id:
                known.single = waits and known.calls == 1
            return waits
