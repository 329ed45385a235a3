"""Connections: whoever asked first is served first, and no right to one is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plumbgraph.errors import StoreUnavailable
from plumbgraph.redis.clients import Command, Redis
from plumbgraph.redis.wires import Line

PING = (Command("PING"),)
HOLD = (Command("BLPOP", "nothing", 30),)


def test_the_first_to_ask_is_the_first_to_be_told() -> None:
    line, told = Line(2), list[tuple[str, Any]]()
    assert [line.take(lambda _: None) for _ in range(2)] == [(True, None)] * 2

    def asking(name: str) -> Any:
        def tell(held: Any) -> None:
            told.append((name, held))

        return tell

    tells = [asking(name) for name in "abc"]
    assert [line.take(tell) for tell in tells] == [(False, None)] * 3
    assert line.leave(tells[1])
    wire = (object(), 1.0)
    line.give(wire)
    line.give(None)
    assert told == [("a", wire), ("c", None)]
    assert not line.leave(tells[0])
    line.give(wire)
    line.give(None)
    assert [line.take(tells[0]) for _ in range(3)] == [(True, wire), (True, None), (False, None)]


def test_many_threads_on_one_connection_are_all_served(redis_url: str) -> None:
    with Redis(redis_url, pool_max=1) as server, ThreadPoolExecutor(24) as pool:
        done = pool.map(lambda _: [server.send(PING) for _ in range(20)], range(24))
        assert all(replies == [[True]] * 20 for replies in done)


def test_who_waits_too_long_is_told_and_loses_nobody_a_connection(redis_url: str) -> None:
    with Redis(redis_url, pool_max=1, timeout_s=30) as server, Redis(redis_url) as other:
        assert server.send(PING) == [True]
        holder = threading.Thread(target=server.send, args=(HOLD,))
        holder.start()
        while server._sync[None]._line._idle:
            time.sleep(0.001)
        server._sync[None]._timeout_s = 0.05
        with pytest.raises(StoreUnavailable, match="No connection available"):
            server.send(PING)
        server._sync[None]._timeout_s = 30
        other.send((Command("RPUSH", "nothing", "x"),))
        holder.join()
        assert server.send(PING) == [True]


async def test_a_task_cancelled_while_it_waits_takes_no_connection(redis_url: str) -> None:
    async with Redis(redis_url, pool_max=1, timeout_s=30) as server:
        assert await server.asend(PING) == [True]
        holder = asyncio.create_task(server.asend(HOLD))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(server.asend(PING)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        async with Redis(redis_url) as other:
            await other.asend((Command("RPUSH", "nothing", "x"),))
        await holder
        assert [await task for task in waiting[1:]] == [[True]] * 2
        assert await server.asend(PING) == [True]
