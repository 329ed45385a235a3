"""One workspace for several agents or processes, one at a time: claimed, worked in, handed on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from plumbgraph.errors import ClaimLost, ThreadBusy
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.workspace.workspace import Workspace

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
    number: one whose lease ran out and was taken over can save no more, however late it wakes.

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
        self, workspace: Workspace, *, owner: str, lease_s: float = 600.0
    ) -> Iterator[Workspace]:
        """Claim it, bring the folder to its head, and save what the block did when it ends well.

        Args:
            workspace: The folder to work in.
            owner: Who attaches; named to others who would like to.
            lease_s: Seconds after which others may take over.

        Raises:
            ThreadBusy: Somebody else is attached.
            ClaimLost: The lease ran out and somebody else took over; nothing was saved.
        """
        claim = self._database.run(self._claim(owner, lease_s))
        try:
            workspace.restore(claim.head) if claim.head else workspace.snapshot()
            with workspace.as_current():
                yield workspace
            self._database.run(self._save(workspace.snapshot().digest, claim.epoch))
        finally:
            self._database.run(self._release(claim.epoch))

    @asynccontextmanager
    async def aattach(
        self, workspace: Workspace, *, owner: str, lease_s: float = 600.0
    ) -> AsyncIterator[Workspace]:
        """See `attach`."""
        claim = await self._database.arun(self._claim(owner, lease_s))
        try:
            await (workspace.arestore(claim.head) if claim.head else workspace.asnapshot())
            with workspace.as_current():
                yield workspace
            manifest = await workspace.asnapshot()
            await self._database.arun(self._save(manifest.digest, claim.epoch))
        finally:
            await self._database.arun(self._release(claim.epoch))

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
