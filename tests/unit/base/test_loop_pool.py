"""An event loop ends although its pool is in the midst of something."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement


class Connecting:
    """A maintenance task as psycopg's: what ends it is taken for a failure."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return


@pytest.mark.parametrize("most", [1, 4])
def test_a_loop_ends_while_its_pool_connects(postgres_url: str, schema: str, most: int) -> None:
    database = Database(postgres_url, schema=schema, pool_max=most)

    async def used() -> None:
        await database.asend((Statement("SELECT 1"),))
        pool: Any = await database._async_pool()
        tasks = [Connecting() for _ in range(pool.num_workers)]
        for task in tasks:
            pool.run_task(task)
        await asyncio.gather(*(task.begun.wait() for task in tasks))

    thread = threading.Thread(target=lambda: asyncio.run(used()), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    database.close()
