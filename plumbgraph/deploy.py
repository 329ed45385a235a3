"""The checkpointer, store and workspace of a LangGraph server, for its graphs to name.

All read the `PLUMBGRAPH_*` environment: embedded servers unless URLs are set there.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from plumbgraph.agents.allow import AnyGraph, types_in_state
from plumbgraph.agents.open import open as opened

if TYPE_CHECKING:
    from plumbgraph.memory import MemoryStore
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
    from plumbgraph.workspace import Workspace  # noqa: PLC0415 - only when asked for

    blobs: Any = _LateBlobs()
    return Workspace(os.fspath(folder), blobs=blobs, **options)


class _LateBlobs:
    """The blob store of the environment's servers, opened on first use in either colour."""

    def __init__(self) -> None:
        self._opening = threading.Lock()
        self._blobs: Any = None

    def _open(self) -> Any:
        from plumbgraph.content.postgres import PostgresBlobs  # noqa: PLC0415 - when used

        with self._opening:
            if self._blobs is None:
                plumbing = opened()
                saver = plumbing.saver
                weakref.finalize(self, plumbing.close)
                tenant = saver._core.tenant_of({})  # noqa: SLF001 - shared within the package
                self._blobs = PostgresBlobs(saver._core.db, tenant=tenant)  # noqa: SLF001 - as above
        return self._blobs

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            return getattr(self._open(), name)(*args, **options)

        async def acall(*args: Any, **options: Any) -> Any:
            blobs = await asyncio.to_thread(self._open)
            return await getattr(blobs, name)(*args, **options)

        return acall if name.startswith("a") else call
