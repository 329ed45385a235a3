"""The part of `PlumbSaver` that tells what threads are doing and waits for commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import SqlPlan
from plumbgraph.state import status, waiting
from plumbgraph.state.adoption import Adoption
from plumbgraph.state.core import CheckpointKey, Core
from plumbgraph.state.legacy import to_tuple
from plumbgraph.state.status import RunStatus, ThreadInfo
from plumbgraph.state.steps import StepInfo, of_tuples, steps

_ALL = 2**31 - 1


class ThreadFace:
    """Status and waiting, for `PlumbSaver` to inherit."""

    _core: Core
    _adoption: Adoption
    serde: SerializerProtocol

    @property
    def database(self) -> Database:
        """The database, to be shared with other parts: a journal, a store of files."""
        return self._core.db

    @property
    def tenant(self) -> str:
        """Whose threads these are, where that does not depend on the run.

        Raises:
            SettingsError: It does; see `PlumbSaver.for_tenant`.
        """
        return self._core.tenant_of({})

    def tenants(self) -> list[str]:
        """Everybody who has threads here, sorted."""
        return self.database.run(status.tenants())

    async def atenants(self) -> list[str]:
        """Everybody who has threads here, sorted."""
        return await self.database.arun(status.tenants())

    def threads(self, limit: int = 100) -> list[ThreadInfo]:
        """The threads that were last active, newest first."""
        tenant = self._core.tenant_of({})
        return self._core.db.run(status.threads(self._core, tenant, limit, self.serde))

    async def athreads(self, limit: int = 100) -> list[ThreadInfo]:
        """The threads that were last active, newest first."""
        tenant = self._core.tenant_of({})
        return await self._core.db.arun(status.threads(self._core, tenant, limit, self.serde))

    def run_status(self, thread_id: str) -> RunStatus:
        """What a thread is doing, from its checkpoints, pending writes and claim.

        Raises:
            ThreadNotFound: There is no such thread.
        """
        return self._core.db.run(self._status(thread_id))

    async def arun_status(self, thread_id: str) -> RunStatus:
        """What a thread is doing; see `run_status`."""
        return await self._core.db.arun(self._status(thread_id))

    def _status(self, thread_id: str) -> SqlPlan[RunStatus]:
        tenant, thread, _ = self._core.stream_of({"configurable": {"thread_id": thread_id}})
        return status.run_status(self._core, tenant, thread, self.serde)

    def steps(
        self,
        thread_id: str,
        *,
        checkpoint_ns: str = "",
        channels: Collection[str] = (),
        limit: int | None = None,
    ) -> list[StepInfo]:
        """A thread's checkpoints, oldest first, each with what it added to its parent.

        Reads every message once, where `list` decodes the whole state of each checkpoint: what a
        timeline wants of a thread of thousands of steps. All branches are in it; follow
        `parent_id`. Empty for an unknown thread.

        Args:
            thread_id: The thread.
            checkpoint_ns: Namespace of a subgraph; empty for the graph itself.
            channels: Larger channels (dicts, lists) to have whole in `values` as well.
            limit: So many at most, the newest ones.
        """
        return self.database.run(self._steps(thread_id, checkpoint_ns, channels, limit))

    async def asteps(
        self,
        thread_id: str,
        *,
        checkpoint_ns: str = "",
        channels: Collection[str] = (),
        limit: int | None = None,
    ) -> list[StepInfo]:
        """A thread's checkpoints with what each added; see `steps`."""
        return await self.database.arun(self._steps(thread_id, checkpoint_ns, channels, limit))

    def _steps(
        self, thread_id: str, checkpoint_ns: str, channels: Collection[str], limit: int | None
    ) -> SqlPlan[list[StepInfo]]:
        found = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
        stream = self._core.stream_of({"configurable": found})
        if (yield from self._adoption.foreign_to_us(stream)):
            wanted = {"ns": stream[2], "id": None, "before": None}
            rows = yield from self._adoption.legacy.page(stream[1], wanted, 0, limit or _ALL)
            return of_tuples([to_tuple(row, self.serde) for row in rows], channels)
        return (yield from steps(self._core, self.serde, stream, channels, limit))

    def wait_committed(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str, *, timeout_s: float = 30.0
    ) -> bool:
        """Whether a checkpoint is committed, waiting for it up to `timeout_s` seconds.

        A run with `durability="exit"` commits only at its end, so False is no fault there.

        Raises:
            StaleWriter: Or whatever else this saver's put of the checkpoint raised.
        """
        key, until = (
            self._key(thread_id, checkpoint_ns, checkpoint_id),
            time.monotonic() + timeout_s,
        )
        for pause in waiting.pauses():
            for flight in self._core.puts.of(key):
                flight.result(max(0.0, until - time.monotonic()))
            if self._core.committed.get(key):
                return True
            late = time.monotonic() >= until
            if late or pause >= waiting.ASK_FROM_S:
                if self._core.db.run(waiting.exists(self._core, *key)):
                    return True
                if late:
                    return False
            time.sleep(pause)
        return False

    async def await_committed(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str, *, timeout_s: float = 30.0
    ) -> bool:
        """Whether a checkpoint is committed, waiting for it; see `wait_committed`."""
        key, until = (
            self._key(thread_id, checkpoint_ns, checkpoint_id),
            time.monotonic() + timeout_s,
        )
        for pause in waiting.pauses():
            for flight in self._core.puts.of(key):
                await asyncio.wait_for(asyncio.wrap_future(flight), until - time.monotonic())
            if self._core.committed.get(key):
                return True
            late = time.monotonic() >= until
            if late or pause >= waiting.ASK_FROM_S:
                if await self._core.db.arun(waiting.exists(self._core, *key)):
                    return True
                if late:
                    return False
            await asyncio.sleep(pause)
        return False

    def _key(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> CheckpointKey:
        found = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
        return self._core.stream_of({"configurable": found}), checkpoint_id
