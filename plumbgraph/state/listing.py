"""Lists of checkpoints, newest first: a page a statement, decoded one by one as asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state.adoption import Adoption
from plumbgraph.state.codec import Molds
from plumbgraph.state.context import read_explicitly
from plumbgraph.state.core import Core
from plumbgraph.state.ids import pack_id, tag, unpack_id
from plumbgraph.state.legacy import to_tuple as legacy_tuple
from plumbgraph.state.reading import Stored, absorb, held_params, to_tuple
from plumbgraph.state.serde import PlumbSerializer
from plumbgraph.state.statements import LIST, array

_PAGE = 24


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What `list` was asked for; None stands for any."""

    tenant: str
    thread: str | None
    ns: str | None
    checkpoint_id: str | None
    before: str | None
    filter: Mapping[str, Any]
    limit: int | None


@dataclass(slots=True)
class Listing:
    """Where a list stands."""

    core: Core
    ask: ListRequest
    serde: SerializerProtocol
    given: int = 0
    _after: Stored | None = None
    _ready: Iterator[Stored] = field(default_factory=lambda: iter(()))
    _over: bool = False
    _molds: Molds = field(default_factory=dict)

    def next(self) -> SqlPlan[CheckpointTuple | None]:
        """The next checkpoint, or None at the end."""
        while self.ask.limit is None or self.given < self.ask.limit:
            stored = next(self._ready, None)
            if stored is None and not self._over:
                yield from self._page()
                stored = next(self._ready, None)
            if stored is None:
                break
            self._after = stored
            found = yield from to_tuple(
                self.core,
                stored,
                self.serde,
                tenant=self.ask.tenant,
                track=self._replays,
                molds=self._molds if isinstance(self.serde, PlumbSerializer) else None,
            )
            if self.matches(found.metadata):
                self.given += 1
                self._note(unpack_id(stored.id))
                return found
        if self.given == 0:
            self._note("")
        return None

    @property
    def _replays(self) -> bool:
        # A subgraph below a fork finds the checkpoint it continues by exactly this call.
        return self.ask.before is not None and self.ask.limit == 1

    def _note(self, checkpoint_id: str) -> None:
        if self._replays and self.ask.thread is not None and self.ask.ns is not None:
            scope = self.core.scope(self.ask.tenant)
            read_explicitly((scope, self.ask.thread, self.ask.ns), checkpoint_id)

    def _page(self) -> SqlPlan[None]:
        ask = self.ask
        most = _PAGE if ask.limit is None else min(_PAGE, ask.limit - self.given)
        found = absorb(self.core, ask.tenant, (yield (Statement(LIST, self._params(most)),))[0])
        found.sort(key=lambda stored: (stored.id, stored.number), reverse=True)
        self._over = len(found) < most
        self._ready = iter(found)

    def _params(self, most: int) -> dict[str, Any]:
        ask, after = self.ask, self._after
        # A filter for None also finds what lacks the key, so it has no hash.
        wanted = (
            tag(key, value, self.core.tag_key)
            for key, value in ask.filter.items()
            if value is not None
        )
        tags = sorted({each for each in wanted if each is not None})
        known = self.core.logs.get((ask.tenant, ask.thread or "", ask.ns or "")) or []
        return {
            "tenant": ask.tenant,
            "thread": ask.thread,
            "ns": ask.ns,
            "id": pack_id(ask.checkpoint_id),
            "before": pack_id(ask.before),
            "after_id": after.id if after else None,
            "after_stream": str(after.number) if after else None,
            "tags": array(tags) if tags else None,
            "most": str(most),
            **held_params(self.core, known),
        }

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether metadata satisfy the filter; hashes may collide, and a missing key is None."""
        return all(metadata.get(key) == value for key, value in self.ask.filter.items())


@dataclass(slots=True)
class AnyListing:
    """A list of a thread's checkpoints, wherever the thread lives."""

    here: Listing
    adoption: Adoption
    _foreign: bool | None = None
    _skip: int = 0

    def next(self) -> SqlPlan[CheckpointTuple | None]:
        """The next checkpoint, or None at the end."""
        ask = self.here.ask
        if self._foreign is None:
            self._foreign = ask.thread is not None and (
                yield from self.adoption.foreign_to_us((ask.tenant, ask.thread, ask.ns or ""))
            )
        if not self._foreign:
            return (yield from self.here.next())
        return (yield from self._there(ask))

    def _there(self, ask: ListRequest) -> SqlPlan[CheckpointTuple | None]:
        wanted = {"ns": ask.ns, "id": ask.checkpoint_id, "before": ask.before}
        while ask.limit is None or self.here.given < ask.limit:
            rows = yield from self.adoption.legacy.page(ask.thread or "", wanted, self._skip, 1)
            if not rows:
                return None
            self._skip += 1
            found = legacy_tuple(rows[0], self.here.serde)
            if self.here.matches(found.metadata):
                self.here.given += 1
                return found
        return None
