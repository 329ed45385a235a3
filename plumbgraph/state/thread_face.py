"""The part of `PlumbSaver` that tells what threads are doing and waits for commits."""

from __future__ import annotations

import asyncio
import time

from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.postgres.statement import SqlPlan
from plumbgraph.state import status, waiting
from plumbgraph.state.core import CheckpointKey, Core
from plumbgraph.state.status import RunStatus, ThreadInfo


class ThreadFace:
    """Status and waiting, for `PlumbSaver` to inherit."""

    _core: Core
    serde: SerializerProtocol

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
            if self._core.committed.get(key) or self._core.db.run(waiting.exists(self._core, *key)):
                return True
            if time.monotonic() >= until:
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
            if await self._core.db.arun(waiting.exists(self._core, *key)):
                return True
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(pause)
        return False

    def _key(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> CheckpointKey:
        found = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
        return self._core.stream_of({"configurable": found}), checkpoint_id
