"""The part of `PlumbSaver` that owns threads and brings crashed runs back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.errors import ClaimLost, ThreadBusy, ThreadDeleted
from plumbgraph.plan import Plan, arun, run
from plumbgraph.postgres.statement import Replies, SqlPlan
from plumbgraph.state import context, recovery
from plumbgraph.state.claims import Lease, default_owner
from plumbgraph.state.core import Core
from plumbgraph.state.recovery import Invoke, Recovered, RecoveryRules, Step

GraphFactory = Callable[[], Any]


class RunFace:
    """Claims, accepted runs and recovery, for `PlumbSaver` to inherit."""

    _core: Core
    serde: SerializerProtocol

    def claim(
        self,
        thread_id: str,
        *,
        ttl_s: float = 30.0,
        owner: str | None = None,
        after: str | None = None,
    ) -> Lease:
        """A lease on a thread, for `with` and `async with`, renewed while the block lasts.

        Args:
            thread_id: The thread to own.
            ttl_s: How long others wait for an owner that says nothing any more.
            owner: Shown to others; by default host and process.
            after: An owner that is known to have ended, whose lease need not be waited for. Were
                it alive after all, its next write would be refused with ClaimLost.

        Raises:
            ThreadBusy: On entering: another live process owns the thread.
            ThreadDeleted: On entering: the thread was deleted.
        """
        tenant, thread = self._who(thread_id)
        return Lease(self._core, tenant, thread, ttl_s, owner or default_owner(), after)

    def accept(self, thread_id: str, value: Any) -> int:
        """Record a run before it has a checkpoint, so that no crash loses it.

        The record goes in the same statement that stores the run's first checkpoint: invoke the
        graph with the same input in this context, or leave it to `recover`.

        Returns:
            The number of the accepted run.
        """
        return self._accepted(thread_id, self._core.db.run(self._accept(thread_id, value)))

    async def aaccept(self, thread_id: str, value: Any) -> int:
        """Record a run before it has a checkpoint; see `accept`."""
        return self._accepted(thread_id, await self._core.db.arun(self._accept(thread_id, value)))

    def _accept(self, thread_id: str, value: Any) -> SqlPlan[int]:
        return recovery.accept(self._core, *self._who(thread_id), value, self.serde)

    def _accepted(self, thread_id: str, number: int) -> int:
        tenant, thread = self._who(thread_id)
        context.starts_accepted(self._core.scope(tenant), thread, number)
        return number

    def recover(self, graph: GraphFactory, rules: RecoveryRules | None = None) -> list[Recovered]:
        """Take up crashed and accepted threads once; any number of workers may do so at a time.

        Each is claimed, resumed where it stopped, and then given its accepted runs. A run that
        raises is tried again later, with growing pauses, and parked in the end.

        Args:
            graph: Makes the compiled graph, with this saver.
            rules: Limits and pauses.
        """
        rules, tenant, found = rules or RecoveryRules(), self._core.tenant_of({}), []

        threads, until = self._core.db.run(recovery.candidates(tenant, rules))
        for thread in threads:

            def send(step: Step, thread: str = thread) -> Replies:
                if isinstance(step, Invoke):
                    config = rules.config_of(thread)
                    graph().invoke(step.value, config, durability=rules.durability)
                    return []
                return self._core.db.send(step)

            try:
                with self.claim(thread, ttl_s=rules.ttl_s):
                    found.append(run(self._take_up(tenant, thread, rules), send))
            except (ThreadBusy, ThreadDeleted, ClaimLost):
                found.append(Recovered(thread, "busy"))
        self._core.db.run(recovery.looked(tenant, until))
        return [each for each in found if each.outcome != "idle"]

    async def arecover(
        self, graph: GraphFactory, rules: RecoveryRules | None = None
    ) -> list[Recovered]:
        """Take up crashed and accepted threads once; see `recover`."""
        rules, tenant, found = rules or RecoveryRules(), self._core.tenant_of({}), []

        threads, until = await self._core.db.arun(recovery.candidates(tenant, rules))
        for thread in threads:

            async def send(step: Step, thread: str = thread) -> Replies:
                if isinstance(step, Invoke):
                    config = rules.config_of(thread)
                    await graph().ainvoke(step.value, config, durability=rules.durability)
                    return []
                return await self._core.db.asend(step)

            try:
                async with self.claim(thread, ttl_s=rules.ttl_s):
                    found.append(await arun(self._take_up(tenant, thread, rules), send))
            except (ThreadBusy, ThreadDeleted, ClaimLost):
                found.append(Recovered(thread, "busy"))
        await self._core.db.arun(recovery.looked(tenant, until))
        return [each for each in found if each.outcome != "idle"]

    def _take_up(
        self, tenant: str, thread: str, rules: RecoveryRules
    ) -> Plan[Step, Replies, Recovered]:
        return recovery.take_up(self._core, tenant, thread, rules, self.serde)

    def unpark(self, thread_id: str) -> None:
        """Let recovery try a parked thread again."""
        self._core.db.run(recovery.unpark(*self._who(thread_id)))

    async def aunpark(self, thread_id: str) -> None:
        """Let recovery try a parked thread again."""
        await self._core.db.arun(recovery.unpark(*self._who(thread_id)))

    def _who(self, thread_id: str) -> tuple[str, str]:
        return self._core.stream_of({"configurable": {"thread_id": thread_id}})[:2]
