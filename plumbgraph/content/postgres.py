"""The blob store in PostgreSQL: the record, in the same database as the checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from plumbgraph.content import plans
from plumbgraph.content.collect import Collected, Tracer
from plumbgraph.content.seal import Seal
from plumbgraph.content.store import Ref
from plumbgraph.postgres.pool import Database


class PostgresBlobs:
    """A `BlobStore` in PostgreSQL.

    Args:
        database: Where the rows lie; also a URL.
        tenant: Whose content; tenants share nothing.
        space: What kind of content; a collection never looks into another space.
        seal: Encrypt bodies and hide names.
    """

    def __init__(
        self,
        database: Database | str,
        *,
        tenant: str = "default",
        space: str = "workspace",
        seal: Seal | None = None,
    ) -> None:
        self.database = Database(database) if isinstance(database, str) else database
        self._shelf = plans.Shelf(tenant, space, seal)

    @property
    def tenant(self) -> str:
        """Whose content this is."""
        return self._shelf.tenant

    def put_many(self, blobs: Mapping[str, bytes], *, refs: Iterable[Ref] = ()) -> None:
        """See `BlobStore.put_many`; committed when it returns."""
        self.database.run(plans.put_many(self._shelf, blobs, refs))

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        """See `BlobStore.get_many`."""
        return self.database.run(plans.get_many(self._shelf, digests))

    def missing(self, digests: Iterable[str]) -> set[str]:
        """See `BlobStore.missing`."""
        return self.database.run(plans.missing(self._shelf, digests))

    def delete_many(self, digests: Iterable[str]) -> int:
        """See `BlobStore.delete_many`."""
        return self.database.run(plans.delete_many(self._shelf, digests))

    def refs(self, owner: str | None = None, *, limit: int = 1000) -> list[Ref]:
        """See `BlobStore.refs`."""
        return self.database.run(plans.refs(self._shelf, owner, limit))

    def drop_refs(self, refs: Iterable[Ref]) -> int:
        """See `BlobStore.drop_refs`."""
        return self.database.run(plans.drop_refs(self._shelf, refs))

    def collect(self, tracer: Tracer, *, grace_s: float = 86_400.0) -> Collected:
        """See `BlobStore.collect`."""
        return self.database.run(plans.collect(self._shelf, tracer, grace_s))

    async def aput_many(self, blobs: Mapping[str, bytes], *, refs: Iterable[Ref] = ()) -> None:
        """See `BlobStore.put_many`."""
        statements = await asyncio.to_thread(plans.packed, self._shelf, blobs)
        await self.database.arun(plans.put_packed(statements, self._shelf, refs))

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        """See `BlobStore.get_many`."""
        return await self.database.arun(plans.get_many(self._shelf, digests))

    async def amissing(self, digests: Iterable[str]) -> set[str]:
        """See `BlobStore.missing`."""
        return await self.database.arun(plans.missing(self._shelf, digests))

    async def adelete_many(self, digests: Iterable[str]) -> int:
        """See `BlobStore.delete_many`."""
        return await self.database.arun(plans.delete_many(self._shelf, digests))

    async def arefs(self, owner: str | None = None, *, limit: int = 1000) -> list[Ref]:
        """See `BlobStore.refs`."""
        return await self.database.arun(plans.refs(self._shelf, owner, limit))

    async def adrop_refs(self, refs: Iterable[Ref]) -> int:
        """See `BlobStore.drop_refs`."""
        return await self.database.arun(plans.drop_refs(self._shelf, refs))

    async def acollect(self, tracer: Tracer, *, grace_s: float = 86_400.0) -> Collected:
        """See `BlobStore.collect`."""
        return await self.database.arun(plans.collect(self._shelf, tracer, grace_s))
