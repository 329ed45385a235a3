"""The checkpointer and the store of a LangGraph server, for `langgraph.json` to name.

Both read the `PLUMBGRAPH_*` environment: embedded servers unless URLs are set there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from plumbgraph.agents.open import open as opened

if TYPE_CHECKING:
    from plumbgraph.memory import MemoryStore
    from plumbgraph.state import PlumbSaver


@asynccontextmanager
async def checkpointer() -> AsyncIterator[PlumbSaver]:
    """The server's PlumbSaver, open for as long as the server asks."""
    async with opened() as plumbing:
        yield plumbing.saver


@asynccontextmanager
async def store() -> AsyncIterator[MemoryStore]:
    """The server's MemoryStore, open for as long as the server asks."""
    async with opened() as plumbing:
        yield plumbing.store
