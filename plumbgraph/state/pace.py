"""When a task's writes may be stored together with the checkpoint that follows them.

In a graph that runs one task a step, `put` follows `put_writes` within a millisecond, and one
statement can store what both were handed: one round trip and one flush of the database's log
instead of two. So such writes are offered to the `put`; where none takes them soon, or another
task of the step writes too, `put_writes` stores them by itself. Either way it returns when they
are stored, and never before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from langgraph.checkpoint.base import WRITES_IDX_MAP

from plumbgraph.state.cache import Recent
from plumbgraph.state.context import StreamKey

if TYPE_CHECKING:
    from plumbgraph.state.task_writes import WritesRequest

FLUSH = "SELECT pg_logical_emit_message(true, 'plumbgraph', '')"
"""A commit that flushes everything before it; what it writes is ignored by everybody."""

WAIT_S = 0.05
"""How long writes wait for their `put`, which sets out from the same thread as they did."""

_Key: TypeAlias = tuple[StreamKey, str]


@dataclass(slots=True)
class Offer:
    """A task's writes that a `put` may store beside its checkpoint."""

    paces: Paces
    ask: WritesRequest
    outcome: Future[bool] = field(default_factory=Future)

    @property
    def key(self) -> _Key:
        """What they are writes of."""
        return self.ask.stream, self.ask.checkpoint_id

    def settle(self, *, stored: bool) -> None:
        """Say whether they are stored; what was said before stays."""
        if not self.outcome.done():
            self.outcome.set_result(stored)

    def fail(self, error: Exception) -> None:
        """Say why they cannot be stored."""
        self.outcome.set_exception(error)

    def stored(self) -> bool:
        """Block until a `put` has stored them; False: nobody has, so do it yourself."""
        try:
            return self.outcome.result(WAIT_S)
        except TimeoutError:
            return not self.paces.withdraw(self) and self.outcome.result()

    async def astored(self) -> bool:
        """Await the same."""
        outcome = asyncio.wrap_future(self.outcome)
        done, _ = await asyncio.wait((outcome,), timeout=WAIT_S)
        if not done and self.paces.withdraw(self):
            outcome.cancel()
            return False
        return await outcome


@dataclass(slots=True)
class _Pace:
    checkpoint_id: str
    calls: int = 0


class Paces:
    """By stream and kind of task, whether it alone writes in its step and the put follows."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: Recent[StreamKey, _Pace] = Recent(4096)
        self._alone: Recent[tuple[StreamKey, str], bool] = Recent(4096)
        self._waiting: dict[_Key, int] = {}
        self._offers: dict[_Key, Offer] = {}

    @contextmanager
    def offered(self, ask: WritesRequest) -> Iterator[Offer | None]:
        """Offer writes for as long as the block lasts; see `offer`."""
        offer = self.offer(ask)
        try:
            yield offer
        finally:
            if offer is not None:
                self.withdraw(offer)

    def offer(self, ask: WritesRequest) -> Offer | None:
        """Offer writes to the put that will probably follow; None where none will."""
        offer = Offer(self, ask)
        with self._lock:
            known = self._known.get(ask.stream)
            if known is None or known.checkpoint_id != ask.checkpoint_id:
                known = _Pace(ask.checkpoint_id)
                self._known.put(ask.stream, known)
            known.calls += 1
            other = self._offers.pop(offer.key, None)
            if other is not None:
                other.settle(stored=False)
            if (
                known.calls > 1
                or offer.key in self._waiting
                or not self._alone.get((ask.stream, ask.task_path))
                or any(channel in WRITES_IDX_MAP for channel, _ in ask.writes)
            ):
                return None
            self._offers[offer.key] = offer
            return offer

    def withdraw(self, offer: Offer) -> bool:
        """Take an offer back; False if it was taken, or settled, before."""
        with self._lock:
            if self._offers.get(offer.key) is not offer:
                return False
            del self._offers[offer.key]
            self._alone.pop((offer.ask.stream, offer.ask.task_path))
            return True

    @contextmanager
    def put_on(self, stream: StreamKey, parent: str, *, flying: int) -> Iterator[Offer | None]:
        """A put on this parent is under way for as long as the block lasts.

        Args:
            stream: Where.
            parent: The checkpoint it is put on.
            flying: How many calls are storing writes of that now.

        Yields:
            The writes to store beside it; they are told what became of them.
        """
        key = (stream, parent)
        with self._lock:
            self._waiting[key] = self._waiting.get(key, 0) + 1
            offer = self._offers.pop(key, None)
        if offer is not None and flying > 1:
            offer.settle(stored=False)
            offer = None
        try:
            yield offer
        finally:
            if offer is not None:
                offer.settle(stored=False)
            with self._lock:
                self._waiting[key] -= 1
                if not self._waiting[key]:
                    del self._waiting[key]

    def stored(self, ask: WritesRequest) -> None:
        """Learn whether the put of writes that were stored by themselves is waiting for them."""
        with self._lock:
            known = self._known.get(ask.stream)
            if known is not None and known.checkpoint_id == ask.checkpoint_id:
                waits = (ask.stream, ask.checkpoint_id) in self._waiting
                self._alone.put((ask.stream, ask.task_path), waits and known.calls == 1)
