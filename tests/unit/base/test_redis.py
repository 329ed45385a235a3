from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from typing import Any

import pytest
import redis
import redis.asyncio as aredis
import redis.sentinel
from redis.exceptions import ResponseError

from plumbgraph.errors import SettingsError, StoreUnavailable
from plumbgraph.redis.clients import Command, Redis


def test_replies_stand_in_order_and_errors_in_their_place(redis_url: str) -> None:
    with Redis(redis_url) as server:
        replies = server.send(
            (Command("SET", "a", 1), Command("LPUSH", "a", 2), Command("GET", "a"))
        )
    assert replies[0] is True
    assert isinstance(replies[1], ResponseError)
    assert replies[2] == b"1"


async def test_async_speaks_the_same(redis_url: str) -> None:
    async with Redis(redis_url) as server:
        assert await server.asend((Command("SET", "a", "x"), Command("GET", "a"))) == [True, b"x"]


def test_a_second_loop_and_other_threads(redis_url: str) -> None:
    with Redis(redis_url, pool_max=3) as server:

        async def ask() -> list[object]:
            batches = [server.asend((Command("PING"),)) for _ in range(50)]
            return await asyncio.gather(*batches)

        assert [asyncio.run(ask()) for _ in range(2)] == [[[True]] * 50] * 2
        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(lambda _: server.send((Command("PING"),)), range(100)))
        assert replies == [[True]] * 100


def test_threads_that_meet_at_the_first_use_share_one_client(redis_url: str) -> None:
    """A client that lost the race must not close, when collected, the pool another thread uses."""
    together = threading.Barrier(8)

    def first(server: Redis) -> list[object]:
        together.wait()
        return [server.send((Command("PING"),)) for _ in range(3)]

    for _ in range(25):
        with Redis(redis_url) as server, ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(first, [server] * 8))
        assert replies == [[[True]] * 3] * 8


def test_a_given_client_stays_open(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        with Redis(client) as server:
            assert server.send((Command("PING"),)) == [True]
        assert client.ping()


async def test_a_given_client_lends_its_settings_to_both_colours(redis_url: str) -> None:
    for client in (redis.Redis.from_url(redis_url), aredis.Redis.from_url(redis_url)):
        async with Redis(client) as server:
            assert await server.asend((Command("PING"),)) == [True]
            assert await asyncio.to_thread(server.send, (Command("PING"),)) == [True]
            assert server.target.split(":")[-1] in redis_url


def test_a_client_that_does_not_tell_its_server_is_refused() -> None:
    sentinel: Any = redis.sentinel.Sentinel([("127.0.0.1", 1)])  # type: ignore[no-untyped-call]
    with pytest.raises(SettingsError, match="pool of its own kind"):
        Redis(sentinel.master_for("x"))
    with pytest.raises(SettingsError, match="no Redis server"):
        Redis(7)  # type: ignore[arg-type]


def test_a_function_hands_out_urls_or_clients(redis_url: str) -> None:
    made: Any
    for made in (redis_url, redis.Redis.from_url(redis_url), aredis.Redis.from_url(redis_url)):
        with Redis(partial(copy, made)) as server:
            assert server.send((Command("PING"),)) == [True]


def test_a_connection_the_server_closed_meanwhile_is_made_anew(redis_url: str) -> None:
    with Redis(redis_url) as server:
        assert server.send((Command("SET", "a", 1),)) == [True]
        with redis.Redis.from_url(redis_url) as other:
            own = other.client_id()
            database = str(other.connection_pool.connection_kwargs.get("db", 0))
            for client in other.client_list():
                if client["db"] == database and client["id"] != str(own):
                    other.client_kill_filter(_id=client["id"])
        time.sleep(0.1)
        assert server.send((Command("GET", "a"),)) == [b"1"]


async def test_no_more_connections_than_allowed_and_nobody_waits_for_ever(redis_url: str) -> None:
    async with Redis(redis_url, pool_max=2, timeout_s=5) as server:

        async def often() -> None:
            for _ in range(20):
                assert await server.asend((Command("PING"),)) == [True]
                await asyncio.sleep(0.001)

        await asyncio.gather(*(often() for _ in range(9)))


def test_nobody_there_names_the_target_without_the_password() -> None:
    server = Redis("redis://:secret-word@127.0.0.1:1/0", timeout_s=1)
    with pytest.raises(StoreUnavailable) as caught:
        server.send((Command("PING"),))
    assert "127.0.0.1:1" in str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_a_url_must_parse() -> None:
    with pytest.raises(SettingsError, match="does not parse"):
        Redis("http://localhost")
