"""The checkpointer, store and workspace of a LangGraph server, for its graphs to name.

All read the `PLUMBGRAPH_*` environment: embedded servers unless URLs are set there.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from plumbgraph.agents.allow import AnyGraph, types_in_state
from plumbgraph.agents.open import open as opened
from plumbgraph.settings import Settings

if TYPE_CHECKING:
    from plumbgraph.agents.open import Opened
    from plumbgraph.content.postgres import PostgresBlobs
    from plumbgraph.effects import Journal
    from plumbgraph.memory import MemoryStore
    from plumbgraph.postgres.pool import Database
    from plumbgraph.redis.clients import Redis
    from plumbgraph.state import PlumbSaver
    from plumbgraph.workspace import Workspace


def checkpointer_for(
    *graphs: AnyGraph, allow: Iterable[type] = ()
) -> Callable[[], AbstractAsyncContextManager[PlumbSaver]]:
    """A checkpointer whose threads may hold the types these graphs have in their state.

    Args:
        graphs: The graphs of the deployment that have types of their own in their state.
        allow: Further types, for example those that stand behind `Any`.
    """
    allowed = {*allow}.union(*map(types_in_state, graphs))

    @asynccontextmanager
    async def checkpointer() -> AsyncIterator[PlumbSaver]:
        """The server's PlumbSaver, open for as long as the server asks."""
        plumbing = opened(allow=[*allowed])
        try:
            yield await asyncio.to_thread(lambda: plumbing.saver)
        finally:
            await plumbing.aclose()

    return checkpointer


checkpointer = checkpointer_for()


@asynccontextmanager
async def store() -> AsyncIterator[MemoryStore]:
    """The server's MemoryStore, open for as long as the server asks."""
    plumbing = opened()
    try:
        yield await asyncio.to_thread(lambda: plumbing.store)
    finally:
        await plumbing.aclose()


def workspace(folder: str | os.PathLike[str], **options: Any) -> Workspace:
    """A folder for a graph whose content lies beside the server's checkpoints.

    Nothing is opened before a node works in it; what was opened is closed when the process ends.

    Args:
        folder: The folder; `{thread_id}` in it gives each thread its own.
        options: Further keywords of `Workspace`.
    """
    return Services().workspace(folder, **options)


class Services:
    """What the parts of a graph need of the environment's servers, before any of them is up.

    A graph in a file is made when the file is imported; the servers are reached, or started,
    when a node first needs them, in a worker thread where there is a loop. All parts share one
    database. Closed by itself when the process ends.
    """

    def __init__(self) -> None:
        from plumbgraph.postgres.pool import Database  # noqa: PLC0415 - only when asked for

        settings = Settings.load()
        self.tenant = settings.tenant
        self.database = Database(self._postgres_url, schema=settings.schema_name)
        self._plumbing = opened()
        self._closing = weakref.finalize(self, _close, self.database, self._plumbing)

    def _postgres_url(self) -> str:
        return self._plumbing.endpoints.postgres_url

    def _redis_url(self) -> str:
        return self._plumbing.endpoints.redis_url

    def workspace(self, folder: str | os.PathLike[str], **options: Any) -> Workspace:
        """A folder whose content lies beside the checkpoints; see `workspace`."""
        from plumbgraph.workspace import Workspace  # noqa: PLC0415 - only when asked for

        kept = Workspace(os.fspath(folder), blobs=self.blobs("workspace"), **options)
        weakref.finalize(kept, _hold, self)
        return kept

    def blobs(self, space: str = "skills") -> PostgresBlobs:
        """Where the content of one kind lies: `skills` keeps the bodies of loaded skills."""
        from plumbgraph.content.postgres import PostgresBlobs  # noqa: PLC0415 - as above

        return PostgresBlobs(self.database, tenant=self.tenant, space=space)

    def journal(self) -> Journal:
        """The journal of effects and of a router's calls, beside the checkpoints."""
        from plumbgraph.agents.effects import journal_for  # noqa: PLC0415 - as above
        from plumbgraph.state import PlumbSaver  # noqa: PLC0415 - as above

        saver = PlumbSaver(self.database, tenant=self.tenant)
        return journal_for(saver, self.database, tenant=self.tenant)

    def redis(self) -> Redis:
        """The Redis or Valkey, for a `Budget` that all processes share."""
        from plumbgraph.redis.clients import Redis  # noqa: PLC0415 - as above

        return Redis(self._redis_url)

    def close(self) -> None:
        """Close the connections and give up the servers; a second time does nothing."""
        self._closing()


def _close(database: Database, plumbing: Opened) -> None:
    database.close()
    plumbing.close()


def _hold(_: Services) -> None:
    """Keeps the services while the workspace made of them lives."""
