"""One Redis or Valkey server, both colours: a sync client, an async one for each loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import redis
import redis.asyncio as aredis
from redis import exceptions

from plumbgraph import plan as plans
from plumbgraph.errors import SettingsError, StoreUnavailable

Result = TypeVar("Result")
Batch: TypeAlias = tuple["Command", ...]
Replies: TypeAlias = list[Any]
RedisPlan: TypeAlias = Generator[Batch, Replies, Result]

_CONNECTION = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
_NOT_NOW = (
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.MasterDownError,
)


@dataclass(frozen=True, slots=True)
class Command:
    """One Redis command: its words, as `Command("HSET", key, "field", value)`.

    Attributes:
        words: The command's name and arguments.
        near: In a cluster, send a command that has no key to the node that holds this key.
        everywhere: In a cluster, send it to every primary; the reply is the last node's, or the
            first refusal.
    """

    words: tuple[Any, ...]
    near: str | bytes | None
    everywhere: bool

    def __init__(
        self, *words: Any, near: str | bytes | None = None, everywhere: bool = False
    ) -> None:
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "near", near)
        object.__setattr__(self, "everywhere", everywhere)


def target_of(url: str) -> str:
    """Where a URL points, without user or password.

    Raises:
        SettingsError: The text is no Redis URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix", "valkey", "valkeys"}:
        raise SettingsError(
            "The Redis URL does not parse.",
            hint="Write it as redis://host:6379/0, rediss://… for TLS, or unix:///path/to.sock.",
        )
    return f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


class Redis:
    """A Redis (7.0 or newer) or Valkey (7.2 or newer) server, no modules needed.

    Does no I/O until first used and needs no running loop to be made. Each running loop has a
    client of its own, so that a second `asyncio.run`, worker threads and notebooks all work.

    Args:
        server: URL, a sync `redis.Redis` (then sync calls only), or a function that returns a
            URL (called for each new client, for tokens that do not live long).
        pool_max: Most connections a process and colour (and loop) may hold; callers beyond it
            wait.
        timeout_s: Longest wait for a connection or a reply.

    Raises:
        SettingsError: The URL cannot be used.
    """

    def __init__(
        self,
        server: str | redis.Redis | Callable[[], str],
        *,
        pool_max: int = 32,
        timeout_s: float = 10.0,
    ) -> None:
        self._server = server
        self._pool_max = pool_max
        self._timeout_s = timeout_s
        self._sync: redis.Redis | None = server if isinstance(server, redis.Redis) else None
        self._async: WeakKeyDictionary[asyncio.AbstractEventLoop, aredis.Redis]
        self._async = WeakKeyDictionary()
        self._pid = os.getpid()
        self.target = target_of(server) if isinstance(server, str) else "the given client"

    def run(self, plan: RedisPlan[Result]) -> Result:
        """Drive a plan, blocking."""
        return plans.run(plan, self.send)

    async def arun(self, plan: RedisPlan[Result]) -> Result:
        """Drive a plan, awaiting."""
        return await plans.arun(plan, self.asend)

    def send(self, batch: Batch) -> Replies:
        """Send one batch in one round trip.

        Returns:
            The replies in order. A command the server refused leaves its
            `redis.exceptions.ResponseError` in its place, for the plan to judge.

        Raises:
            StoreUnavailable: The server cannot be reached, is loading, read-only or full.
        """
        with self._faults():
            pipeline = self._client().pipeline(transaction=False)
            for command in batch:
                pipeline.execute_command(*command.words)  # type: ignore[no-untyped-call]
            return _judged(pipeline.execute(raise_on_error=False))

    async def asend(self, batch: Batch) -> Replies:
        """Send one batch in one round trip; see `send`."""
        with self._faults():
            pipeline = self._aclient().pipeline(transaction=False)
            for command in batch:
                pipeline.execute_command(*command.words)
            return _judged(await pipeline.execute(raise_on_error=False))

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except _NOT_NOW as error:
            raise StoreUnavailable(
                f"Redis at {self.target!r} refuses for now: {error}.",
                hint="Check its memory, its role and whether it is still loading.",
                target=self.target,
            ) from error
        except _CONNECTION as error:
            raise StoreUnavailable(
                f"No connection to Redis at {self.target!r}: {error}.", target=self.target
            ) from error

    def _url(self) -> str:
        if isinstance(self._server, str):
            return self._server
        if callable(self._server):
            return self._server()
        raise SettingsError(
            "The given redis client cannot serve async calls.",
            hint="Pass a URL or a function that returns one.",
        )

    def _options(self) -> dict[str, Any]:
        return {
            "max_connections": self._pool_max,
            "timeout": self._timeout_s,
            "socket_connect_timeout": self._timeout_s,
            "socket_timeout": self._timeout_s,
            # Looking the library's own version up reads files, which blocks an event loop.
            "driver_info": None,
        }

    def _client(self) -> redis.Redis:
        if self._pid != os.getpid():
            self._pid, self._async = os.getpid(), WeakKeyDictionary()
            self._sync = self._server if isinstance(self._server, redis.Redis) else None
        if self._sync is None:
            pool = redis.BlockingConnectionPool.from_url(self._url(), **self._options())
            self._sync = redis.Redis.from_pool(pool)
        return self._sync

    def _aclient(self) -> aredis.Redis:
        loop = asyncio.get_running_loop()
        client = self._async.get(loop)
        if client is None:
            pool = aredis.BlockingConnectionPool.from_url(self._url(), **self._options())
            client = self._async[loop] = aredis.Redis.from_pool(pool)
        return client

    def close(self) -> None:
        """Close the sync client; one that was given stays open."""
        if self._sync is not None and self._sync is not self._server:
            self._sync.close()
            self._sync = None

    async def aclose(self) -> None:
        """Close this loop's client and the sync client; one that was given stays open."""
        client = self._async.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _judged(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, _NOT_NOW):
            raise reply
    return replies
