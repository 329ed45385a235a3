"""`plumbgraph.open()`: a saver and a store on running servers, in one line."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Self

from plumbgraph import servers
from plumbgraph.settings import Settings, redacted

if TYPE_CHECKING:
    from plumbgraph.memory import MemoryStore
    from plumbgraph.servers import Endpoints
    from plumbgraph.state import PlumbSaver
    from plumbgraph.workspace import Workspace

_NAMES = {"postgres": "PostgreSQL", "valkey": "Valkey"}


def open(  # noqa: A001 - `plumbgraph.open`, as one opens a file
    home: str | os.PathLike[str] | None = None,
    *,
    postgres_url: str | None = None,
    redis_url: str | None = None,
    keep: bool = False,
    allow: Sequence[Any] = (),
) -> Opened:
    """A `.saver` and a `.store` on real servers, brought up here unless URLs are given.

    Nothing happens until the first use or the `with` block; under `async with` the start does
    not block the loop. Several processes may open one home. The data stays in the home until
    the folder is deleted; the servers stop soon after their last user is gone.

        with plumbgraph.open() as p:
            agent = graph.compile(checkpointer=p.saver, store=p.store)

    Args:
        home: Folder for the data; else `PLUMBGRAPH_HOME`, else the user's data folder.
        postgres_url: A PostgreSQL to use instead; else `PLUMBGRAPH_POSTGRES_URL`.
        redis_url: A Redis or Valkey to use instead; else `PLUMBGRAPH_REDIS_URL`.
        keep: Let the servers stay without a user until `plumbgraph down`.
        allow: Own types that may stand in state; see `PlumbSaver`.
    """
    given = {"home": home, "postgres_url": postgres_url, "redis_url": redis_url}
    told = {name: value for name, value in given.items() if value is not None}
    return Opened(told, keep=keep, allow=allow)


class Opened:
    """What `plumbgraph.open()` gives: `.saver`, `.store` and the servers' `.endpoints`.

    Raises:
        SettingsError: On first use, when an argument or a `PLUMBGRAPH_…` variable is not usable.
        ServerStartFailed: On first use, when an embedded server could not be started.
        StoreUnavailable: On first use, when a server given by URL does not answer.
    """

    def __init__(
        self, given: Mapping[str, Any], *, keep: bool = False, allow: Sequence[Any] = ()
    ) -> None:
        self._given = given
        self._keep = keep
        self._allow = tuple(allow)
        self._starting = threading.Lock()
        self._endpoints: Endpoints | None = None

    @cached_property
    def _settings(self) -> Settings:
        return Settings.load(**self._given)  # it asks for the current folder, which may block

    @property
    def endpoints(self) -> Endpoints:
        """URLs of the servers, which are started now if they do not run."""
        with self._starting:
            if self._endpoints is None:
                self._endpoints = servers.up(settings=self._settings, keep=self._keep)
            return self._endpoints

    @cached_property
    def saver(self) -> PlumbSaver:
        """The checkpointer, for both colours."""
        from plumbgraph.state import PlumbSaver  # noqa: PLC0415 - only when asked for

        return PlumbSaver(
            self.endpoints.postgres_url,
            schema=self._settings.schema_name,
            tenant=self._settings.tenant,
            allow=self._allow,
        )

    @cached_property
    def store(self) -> MemoryStore:
        """The long-term memory, for both colours."""
        from plumbgraph.memory import MemoryStore  # noqa: PLC0415 - only when asked for

        return MemoryStore(self.endpoints.redis_url, tenant=self._settings.tenant)

    def workspace(self, folder: str | os.PathLike[str], **options: Any) -> Workspace:
        """A folder whose content is kept beside the checkpoints, so that both come back together.

        Args:
            folder: The folder; `{thread_id}` in it gives each thread its own.
            options: Further keywords of `Workspace`.
        """
        from plumbgraph.content.postgres import PostgresBlobs  # noqa: PLC0415 - when asked for
        from plumbgraph.workspace import Workspace  # noqa: PLC0415 - only when asked for

        database = self.saver.database
        blobs = PostgresBlobs(database, tenant=self._settings.tenant)
        return Workspace(os.fspath(folder), blobs=blobs, **options)

    def close(self) -> None:
        """Close the connections and give up the servers; a second time does nothing."""
        with ExitStack() as ending:
            ending.callback(self._leave)
            for part in self._used():
                ending.callback(part.close)

    async def aclose(self) -> None:
        """Close the connections and give up the servers; a second time does nothing."""
        async with AsyncExitStack() as ending:
            ending.callback(self._leave)
            for part in self._used():
                ending.push_async_callback(part.aclose)

    def __enter__(self) -> Self:
        _ = self.endpoints
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(lambda: (self.saver, self.store))  # imports block, too
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<plumbgraph: {'; '.join(self.facts())}>"

    def _repr_html_(self) -> str:
        facts = "".join(f"<li>{escape(fact)}</li>" for fact in self.facts())
        return f"<b>plumbgraph</b><ul>{facts}</ul>"

    def facts(self) -> list[str]:
        """Where the data lives and how long it stays, one sentence each."""
        up = self._endpoints
        urls = {"postgres": self._settings.postgres_url, "valkey": self._settings.redis_url}
        told = []
        for kind, url in urls.items():
            name = " ".join([_NAMES[kind], *([up.versions[kind]] if up else [])])
            source = f" ({up.sources[kind]})" if up and not url else ""
            told.append(f"{name} at {redacted(url)}" if url else f"{name}{source}")
        if not all(urls.values()):
            told.append(f"data in {self._settings.home}, kept until you delete the folder")
            told.append(
                "servers stay until `plumbgraph down`"
                if self._keep
                else "servers stop soon after their last user"
            )
        return told if up else [*told, "not started"]

    def _used(self) -> list[Any]:
        return [self.__dict__.pop(name) for name in ("saver", "store") if name in self.__dict__]

    def _leave(self) -> None:
        with self._starting:
            if self._endpoints is not None:
                self._endpoints.close()
                self._endpoints = None
