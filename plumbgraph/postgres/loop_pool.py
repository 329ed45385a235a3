"""The pool of one event loop, which ends with it."""

from __future__ import annotations

import asyncio
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool


class LoopPool(AsyncConnectionPool[AsyncConnection[Any]]):
    """A pool whose workers end when their loop does, whatever they are doing then.

    On Python 3.11 a worker of psycopg's pool takes a cancellation that meets it while it connects
    for a failure of that connection, and waits on: a loop that ends just then would never end.
    """

    @classmethod
    async def worker(cls, q: Any) -> None:
        """Run maintenance tasks until told to stop, or cancelled."""
        ending: Any = _Ending(q)
        await super().worker(ending)


class _Ending:
    """A queue that gives nothing more to a task that was cancelled."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    async def get(self) -> Any:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        return await self._queue.get()
