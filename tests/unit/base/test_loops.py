"""Connections of a loop are closed when it ends, by whatever way its owner went."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from plumbgraph.errors import StoreUnavailable
from plumbgraph.redis.clients import Command, Redis

PING = (Command("PING"),)


@pytest.fixture
def left_open(redis_url: str) -> Iterator[Callable[..., int]]:
    """How many connections to this database were opened since and are open."""
    with redis.Redis.from_url(redis_url) as client:
        database = str(client.connection_pool.connection_kwargs.get("db", 0))
        before = {each["id"] for each in client.client_list()}

        def count(*, until: int | None = None) -> int:
            for _ in range(1_000):
                clients = [c for c in client.client_list() if c["db"] == database]
                found = sum(each["id"] not in before for each in clients)
                if until is None or found == until:
                    break
                time.sleep(0.01)  # the server notices a closed connection in its own time
            return found

        yield count


def ended(main: Callable[[], Coroutine[Any, Any, None]]) -> list[str]:
    """What `asyncio.run` and the collection of what it left complained of."""
    gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(main())
        gc.collect()
    return [str(each.message) for each in told if issubclass(each.category, ResourceWarning)]


def test_an_owner_that_outlives_the_loop(redis_url: str, left_open: Callable[..., int]) -> None:
    with Redis(redis_url) as server:

        async def main() -> None:
            await asyncio.gather(*(server.asend(PING) for _ in range(8)))
            assert left_open() > 0

        for _ in range(3):
            assert ended(main) == []
            assert left_open(until=0) == 0


def test_an_owner_that_goes_with_the_loop(redis_url: str, left_open: Callable[..., int]) -> None:
    async def main() -> None:
        await Redis(redis_url).asend(PING)

    assert ended(main) == []
    assert left_open(until=0) == 0


def test_an_owner_that_goes_while_the_loop_goes_on(
    redis_url: str, left_open: Callable[..., int]
) -> None:
    async def main() -> None:
        server = Redis(redis_url)
        await server.asend(PING)
        assert left_open() == 1
        del server
        gc.collect()
        assert await asyncio.to_thread(left_open, until=0) == 0

    assert ended(main) == []


def test_closing_by_hand_and_using_it_again(redis_url: str, left_open: Callable[..., int]) -> None:
    server = Redis(redis_url)

    async def main() -> None:
        for _ in range(2):
            assert await server.asend(PING) == [True]
            await server.aclose()
            assert await server.asend(PING) == [True]

    assert ended(main) == []
    assert left_open(until=0) == 0


def test_a_task_cut_off_by_the_end_of_its_loop(
    redis_url: str, left_open: Callable[..., int]
) -> None:
    server = Redis(redis_url)
    tasks = []

    async def main() -> None:
        await server.asend(PING)
        waiting = (Command("BLPOP", "nothing", 0),)
        tasks.append(asyncio.create_task(server.asend(waiting)))
        await asyncio.sleep(0.05)

    assert ended(main) == []
    assert tasks[0].cancelled()
    assert left_open(until=0) == 0


def test_a_server_that_is_not_there_leaves_nothing() -> None:
    async def main() -> None:
        with suppress(StoreUnavailable):
            await Redis("redis://127.0.0.1:1/0", timeout_s=1).asend(PING)

    assert ended(main) == []
