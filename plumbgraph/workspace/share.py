"""One workspace for several agents or processes, one at a time: claimed, worked in, handed on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from plumbgraph.content.store import Ref
from plumbgraph.errors import ClaimLost, PlumbError, ThreadBusy
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.workspace.ops import BlobPlan, Drop, Put, Refs
from plumbgraph.workspace.retention import SHARED
from plumbgraph.workspace.workspace import Workspace

LEASE_S = 60.0
_BEATS = 3
_LATELY = 2

_CLAIM = """
INSERT INTO {schema}.workspaces AS w (tenant, name, epoch, owner, lease_until)
VALUES (%s, %s, 1, %s, clock_timestamp() + make_interval(secs => %s))
ON CONFLICT (tenant, name) DO UPDATE SET epoch = w.epoch + 1, owner = EXCLUDED.owner,
    lease_until = EXCLUDED.lease_until
WHERE w.owner IS NULL OR w.lease_until < clock_timestamp()
RETURNING epoch, encode(head, 'hex')"""

_HOLDER = "SELECT owner, lease_until::text FROM {schema}.workspaces WHERE tenant = %s AND name = %s"

_SAVE = """
UPDATE {schema}.workspaces SET head = %s, saved_at = clock_timestamp()
WHERE tenant = %s AND name = %s AND epoch = %s RETURNING 1"""

_RENEW = """
UPDATE {schema}.workspaces SET lease_until = clock_timestamp() + make_interval(secs => %s)
WHERE tenant = %s AND name = %s AND epoch = %s RETURNING 1"""

_RELEASE = """
UPDATE {schema}.workspaces SET owner = NULL, lease_until = NULL
WHERE tenant = %s AND name = %s AND epoch = %s"""

_HEAD = "SELECT encode(head, 'hex') FROM {schema}.workspaces WHERE tenant = %s AND name = %s"


@dataclass(frozen=True, slots=True)
class _Claim:
    epoch: int
    head: str | None


class SharedWorkspace:
    """A named workspace that several agents hand on to each other.

    Whoever attaches finds the files as the last one left them. The claim is a lease with a
    number, renewed for as long as the block runs: one whose lease ran out, because its process
    was stopped or cut off, and was taken over can save no more, however late it wakes. To look
    without a claim, use `workspace.at(shared.head())`.

    Args:
        database: Where claims and heads lie.
        name: The workspace; a thread's id where it belongs to a thread.
        tenant: Whose it is.
    """

    def __init__(self, database: Database, name: str, *, tenant: str = "default") -> None:
        self.name = name
        self._database = database
        self._tenant = tenant

    def head(self) -> str | None:
        """The digest of the manifest saved last, to look at without a claim."""
        return self._database.run(self._head())

    async def ahead(self) -> str | None:
        """See `head`."""
        return await self._database.arun(self._head())

    @contextmanager
    def attach(
        self, workspace: Workspace, *, owner: str, lease_s: float = LEASE_S
    ) -> Iterator[Workspace]:
        """Claim it, bring the folder to its head, and save what the block did when it ends well.

        Args:
            workspace: The folder to work in.
            owner: Who attaches; named to others who would like to.
            lease_s: Seconds without a sign of life after which others may take over.

        Raises:
            ThreadBusy: Somebody else is attached.
            ClaimLost: The lease ran out and somebody else took over; nothing was saved.
        """
        claim = self._database.run(self._claim(owner, lease_s))
        try:
            with self._renewed(claim.epoch, lease_s):
                keeper = workspace.run(self._inherited(claim))
                workspace.restore(claim.head) if claim.head else workspace.snapshot(keeper=keeper)
                with workspace.as_current():
                    yield workspace
                digest = workspace.snapshot(keeper=keeper).digest
                workspace.run(_visited(workspace, digest))
                self._database.run(self._save(digest, claim.epoch))
        finally:
            self._database.run(self._release(claim.epoch))

    @asynccontextmanager
    async def aattach(
        self, workspace: Workspace, *, owner: str, lease_s: float = LEASE_S
    ) -> AsyncIterator[Workspace]:
        """See `attach`."""
        claim = await self._database.arun(self._claim(owner, lease_s))
        try:
            async with self._arenewed(claim.epoch, lease_s):
                keeper = await workspace.arun(self._inherited(claim))
                if claim.head:
                    await workspace.arestore(claim.head)
                else:
                    await workspace.asnapshot(keeper=keeper)
                with workspace.as_current():
                    yield workspace
                digest = (await workspace.asnapshot(keeper=keeper)).digest
                await workspace.arun(_visited(workspace, digest))
                await self._database.arun(self._save(digest, claim.epoch))
        finally:
            await self._database.arun(self._release(claim.epoch))

    @contextmanager
    def _renewed(self, epoch: int, lease_s: float) -> Iterator[None]:
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(lease_s / _BEATS):
                # One that cannot be renewed now may be the next time; saving decides.
                with suppress(PlumbError):
                    self._database.run(self._renew(epoch, lease_s))

        beat = threading.Thread(target=renew, daemon=True, name=f"workspace {self.name}")
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()

    @asynccontextmanager
    async def _arenewed(self, epoch: int, lease_s: float) -> AsyncIterator[None]:
        async def renew() -> None:
            while True:
                await asyncio.sleep(lease_s / _BEATS)
                with suppress(PlumbError):
                    await self._database.arun(self._renew(epoch, lease_s))

        beat = asyncio.create_task(renew())
        try:
            yield
        finally:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat

    def _inherited(self, claim: _Claim) -> BlobPlan[str]:
        """Keep the head alive in this claim's name, and let go what the last ones kept.

        Each claim has a name of its own: one that wakes too late lets go nothing of its heirs.
        """
        if claim.head:
            yield Put({}, (Ref(self._keeper(claim.epoch), claim.head),))
        for epoch in range(max(0, claim.epoch - _LATELY), claim.epoch):
            if old := (yield Refs(self._keeper(epoch))):
                yield Drop(tuple(old))
        return self._keeper(claim.epoch)

    def _keeper(self, epoch: int) -> str:
        return f"{SHARED}{self.name}:{epoch}"

    def _renew(self, epoch: int, lease_s: float) -> SqlPlan[None]:
        yield (Statement(_RENEW, (lease_s, self._tenant, self.name, epoch)),)

    def _head(self) -> SqlPlan[str | None]:
        rows = (yield (Statement(_HEAD, (self._tenant, self.name)),))[0]
        return str(rows[0][0]) if rows and rows[0][0] else None

    def _claim(self, owner: str, lease_s: float) -> SqlPlan[_Claim]:
        replies = yield (
            Statement(_CLAIM, (self._tenant, self.name, owner, lease_s)),
            Statement(_HOLDER, (self._tenant, self.name)),
        )
        if replies[0]:
            return _Claim(*replies[0][0])
        holder, until = replies[1][0]
        raise ThreadBusy(
            f"Workspace {self.name!r} is in use by {holder!r} until {until}.",
            hint="Wait, or look at its head without a claim.",
            owner=holder,
        )

    def _save(self, digest: str, epoch: int) -> SqlPlan[None]:
        arguments = (bytes.fromhex(digest), self._tenant, self.name, epoch)
        if not (yield (Statement(_SAVE, arguments),))[0]:
            raise ClaimLost(
                f"Workspace {self.name!r} was taken over by somebody else; nothing was saved.",
                hint="The files are still in the folder, and their manifest in the store.",
                digest=digest,
            )

    def _release(self, epoch: int) -> SqlPlan[None]:
        yield (Statement(_RELEASE, (self._tenant, self.name, epoch)),)


def _visited(workspace: Workspace, digest: str) -> BlobPlan[None]:
    """Let the folder know later that what is in it now was recorded."""
    yield Put({}, (Ref(workspace.visit_name, digest),))
