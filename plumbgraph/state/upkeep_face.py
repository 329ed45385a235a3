"""The part of `PlumbSaver` that takes threads away, copies and prunes them."""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.errors import SettingsError, ThreadNotFound
from plumbgraph.postgres.statement import SqlPlan
from plumbgraph.state import crypt, retention, upkeep
from plumbgraph.state.core import Core
from plumbgraph.state.retention import LATEST, Retention, Swept
from plumbgraph.state.size import StateSize, size


class UpkeepFace:
    """Deleting, copying and pruning, for `PlumbSaver` to inherit."""

    _core: Core
    serde: SerializerProtocol

    def delete_thread(self, thread_id: str) -> None:
        """Remove a thread for good; late writes to it raise `ThreadDeleted`."""
        self._core.db.run(self._delete(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """Remove a thread for good; see `delete_thread`."""
        await self._core.db.arun(self._delete(thread_id))

    def _delete(self, thread_id: str) -> SqlPlan[None]:
        tenant = self._tenant(thread_id)
        yield from upkeep.delete(tenant, [str(thread_id)])
        self._core.forget(tenant, str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints that these runs made, in all threads.

        Raises:
            HistoryNeeded: A later checkpoint's DeltaChannel is rebuilt from one of them; nothing
                was removed.
        """
        self._core.db.run(self._delete_runs(run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints that these runs made; see `delete_for_runs`."""
        await self._core.db.arun(self._delete_runs(run_ids))

    def _delete_runs(self, run_ids: Sequence[str]) -> SqlPlan[None]:
        core, tenant = self._core, self._core.tenant_of({})
        if not run_ids:
            return
        runs = upkeep.run_tags(run_ids, core.tag_key)
        threads = yield from upkeep.run_threads(tenant, runs)
        for thread in threads:
            yield from retention.refuse_needed(core, tenant, thread, runs, self.serde)
        if threads:
            yield from upkeep.drop_runs(tenant, threads, runs)
        for thread in threads:
            core.forget(tenant, thread)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with all checkpoints and writes; values are shared, not copied.

        Raises:
            ThreadNotFound: There is no such source.
        """
        self._core.db.run(self._copy(source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with all checkpoints and writes; see `copy_thread`."""
        await self._core.db.arun(self._copy(source_thread_id, target_thread_id))

    def _copy(self, source: str, target: str) -> SqlPlan[None]:
        tenant = self._tenant(source)
        if not (yield from upkeep.copy(tenant, str(source), str(target))):
            raise ThreadNotFound(f"There is no thread {source!r} to copy.", thread_id=source)
        self._core.forget(tenant, str(target))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep only each namespace's latest checkpoint ("keep_latest"), or none ("delete").

        Ancestors that a DeltaChannel of the latest checkpoint is rebuilt from stay.
        """
        self._core.db.run(self._prune(thread_ids, strategy))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep only each namespace's latest checkpoint, or none; see `prune`."""
        await self._core.db.arun(self._prune(thread_ids, strategy))

    def _prune(self, thread_ids: Sequence[str], strategy: str) -> SqlPlan[None]:
        if strategy not in ("keep_latest", "delete"):
            raise SettingsError(
                f"The pruning strategy {strategy!r} is not known.",
                hint='Use "keep_latest" or "delete".',
            )
        for thread in thread_ids:
            tenant = self._tenant(thread)
            if strategy == "delete":
                yield from upkeep.clear(tenant, [thread])
            else:
                yield from retention.thin(self._core, tenant, thread, LATEST, self.serde, now=0.0)
            self._core.forget(tenant, thread)

    def retain(self, thread_id: str, rules: Retention | None) -> None:
        """Give one thread retention rules of its own; None returns it to the saver's.

        Raises:
            ThreadNotFound: There is no such thread.
        """
        self._retained(thread_id, self._core.db.run(self._retain(thread_id, rules)))

    async def aretain(self, thread_id: str, rules: Retention | None) -> None:
        """Give one thread retention rules of its own; see `retain`."""
        self._retained(thread_id, await self._core.db.arun(self._retain(thread_id, rules)))

    def _retain(self, thread_id: str, rules: Retention | None) -> SqlPlan[bool]:
        return retention.set_policy(self._tenant(thread_id), str(thread_id), rules)

    def _retained(self, thread_id: str, found: bool) -> None:  # noqa: FBT001 - a reply
        if not found:
            raise ThreadNotFound(f"There is no thread {thread_id!r}.", thread_id=thread_id)

    def sweep(self, *, dry_run: bool = False, most: int = 100) -> Swept:
        """Apply the retention rules to all threads; any number of sweepers may run at a time.

        Args:
            dry_run: Only say what would go.
            most: How many threads to look at in one statement.
        """
        return self._core.db.run(self._sweep(dry_run=dry_run, most=most))

    async def asweep(self, *, dry_run: bool = False, most: int = 100) -> Swept:
        """Apply the retention rules to all threads; see `sweep`."""
        return await self._core.db.arun(self._sweep(dry_run=dry_run, most=most))

    def _sweep(self, *, dry_run: bool, most: int) -> SqlPlan[Swept]:
        core, tenant = self._core, self._core.tenant_of({})
        done = yield from retention.sweep(
            core, tenant, core.retention, self.serde, most=most, dry_run=dry_run
        )
        for thread in (*done.threads_removed, *done.threads_thinned):
            core.forget(tenant, thread)
        return done

    def rotate_keys(self) -> int:
        """Wrap all threads' keys under the current one; then old keys may be forgotten.

        Returns:
            How many threads had another.
        """
        return self._core.db.run(self._rotate())

    async def arotate_keys(self) -> int:
        """Wrap all threads' keys under the current one; see `rotate_keys`."""
        return await self._core.db.arun(self._rotate())

    def _rotate(self) -> SqlPlan[int]:
        if self._core.vault is None:
            raise SettingsError("This saver does not encrypt.", hint="Pass encryption=….")
        return crypt.rotate(self._core.vault, self._core.tenant_of({}))

    def size(self, limit: int = 20) -> StateSize:
        """What the tables take on disk, and the largest threads."""
        core = self._core
        return core.db.run(size(core.tenant_of({}), core.db.schema, limit))

    async def asize(self, limit: int = 20) -> StateSize:
        """What the tables take on disk, and the largest threads."""
        core = self._core
        return await core.db.arun(size(core.tenant_of({}), core.db.schema, limit))

    def _tenant(self, thread_id: str) -> str:
        return self._core.tenant_of({"configurable": {"thread_id": thread_id}})
