"""The checkpointer and the store of a LangGraph server, for `langgraph.json` to name.

Both read the `PLUMBGRAPH_*` environment: embedded servers unless URLs are set there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from plumbgraph.agents.allow import AnyGraph, types_in_state
from plumbgraph.agents.open import open as opened

if TYPE_CHECKING:
    from plumbgraph.memory import MemoryStore
    from plumbgraph.state import PlumbSaver


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
