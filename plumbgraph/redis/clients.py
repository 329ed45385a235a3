"""One Redis or Valkey server, both colours: a sync client, an async one for each loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Self, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import redis
import redis.asyncio as aredis
from redis import exceptions
from redis.asyncio.retry import Retry as ARetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from plumbgraph import plan as plans
from plumbgraph.errors import SettingsError, StoreUnavailable
from plumbgraph.redis.cluster import Address, Answers, Routing, Topology, routed

Result = TypeVar("Result")
Batch: TypeAlias = tuple["Command", ...]
Replies: TypeAlias = list[Any]
RedisPlan: TypeAlias = Generator[Batch, Replies, Result]

_CONNECTION = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
# looking up its own version for CLIENT SETINFO reads files inside the event loop
_NAMELESS: dict[str, Any] = {"driver_info": None} if find_spec("redis.driver_info") else {}
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


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server tells of itself.

    Attributes:
        eviction: The policy by which it may drop keys when full; empty when it has no limit.
    """

    version: str
    cluster: bool
    eviction: str

    @property
    def may_evict(self) -> bool:
        """Whether keys may vanish."""
        return self.eviction not in {"", "noeviction"}


class Redis:
    """A Redis (7.0 or newer) or Valkey (7.2 or newer) server, no modules needed.

    Does no I/O until first used and needs no running loop to be made. Each running loop has a
    client of its own, so that a second `asyncio.run`, worker threads and notebooks all work. A
    cluster is noticed on first use; its nodes are then addressed by the keys of the commands.

    Args:
        server: URL, a sync `redis.Redis` (then sync calls only), or a function that returns a
            URL (asked again for the login of each new
            connection, for tokens that do not live long).
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
        self._sync: dict[Address | None, redis.Redis] = {}
        self._async: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[Address | None, aredis.Redis]
        ] = WeakKeyDictionary()
        self._pid = os.getpid()
        self._facts: ServerFacts | None = None
        self._topology: Topology | None = None
        self.target = target_of(server) if isinstance(server, str) else "the given client"

    @property
    def facts(self) -> ServerFacts | None:
        """What the server told of itself; `None` before the first use."""
        return self._facts

    def run(self, plan: RedisPlan[Result]) -> Result:
        """Drive a plan, blocking."""
        return plans.run(plan, self.send)

    async def arun(self, plan: RedisPlan[Result]) -> Result:
        """Drive a plan, awaiting."""
        return await plans.arun(plan, self.asend)

    def send(self, batch: Batch) -> Replies:
        """Send one batch in one round trip, in a cluster one for each node.

        Returns:
            The replies in order. A command the server refused leaves its
            `redis.exceptions.ResponseError` in its place, for the plan to judge.

        Raises:
            StoreUnavailable: The server cannot be reached, is loading, read-only or full.
        """
        with self._faults():
            if self._facts is None:
                self._learn(_info(self._client().pipeline(transaction=False)).execute(False))
            if self._topology is not None:
                return _judged(self._routed(batch, self._topology))
            return _judged(_sending(self._client(), _words(batch)))

    async def asend(self, batch: Batch) -> Replies:
        """Send one batch in one round trip; see `send`."""
        with self._faults():
            if self._facts is None:
                asking = _info(self._aclient().pipeline(transaction=False))
                self._learn(await asking.execute(raise_on_error=False))
            if self._topology is not None:
                return _judged(await self._arouted(batch, self._topology))
            return _judged(await _asending(self._aclient(), _words(batch)))

    def _routed(self, batch: Batch, topology: Topology) -> Replies:
        routing: Routing = routed(topology, batch)
        answers: Answers | None = None
        try:
            while True:
                round_ = next(routing) if answers is None else routing.send(answers)
                if round_.pause_s:
                    time.sleep(round_.pause_s)
                answers = {}
                for address, words in round_.sends.items():
                    try:
                        answers[address] = _told(words, _sending(self._client(address), words))
                    except _CONNECTION as error:
                        answers[address] = error
        except StopIteration as done:
            replies: Replies = done.value
            return replies

    async def _arouted(self, batch: Batch, topology: Topology) -> Replies:
        routing: Routing = routed(topology, batch)
        answers: Answers | None = None
        try:
            while True:
                round_ = next(routing) if answers is None else routing.send(answers)
                if round_.pause_s:
                    await asyncio.sleep(round_.pause_s)
                told = await asyncio.gather(
                    *(_asending(self._aclient(a), w) for a, w in round_.sends.items()),
                    return_exceptions=True,
                )
                answers = {}
                for (address, words), reply in zip(round_.sends.items(), told, strict=True):
                    if isinstance(reply, BaseException) and not isinstance(reply, _CONNECTION):
                        raise reply
                    answers[address] = (
                        reply if isinstance(reply, Exception) else _told(words, reply)
                    )
        except StopIteration as done:
            replies: Replies = done.value
            return replies

    def _learn(self, replies: Replies) -> None:
        info = replies[0] if isinstance(replies[0], dict) else {}
        self._facts = ServerFacts(
            version=str(info.get("valkey_version") or info.get("redis_version") or ""),
            cluster=bool(info.get("cluster_enabled")),
            eviction=str(info.get("maxmemory_policy") or "") if info.get("maxmemory") else "",
        )
        if self._facts.cluster:
            self._topology = Topology([self._address()])

    def _address(self) -> Address:
        if isinstance(self._server, redis.Redis):
            told = self._server.connection_pool.connection_kwargs
            return str(told.get("host", "localhost")), int(told.get("port", 6379))
        parts = urlsplit(self._url())
        return parts.hostname or "localhost", parts.port or 6379

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
        except StoreUnavailable:
            raise
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
        given: dict[str, Any] = {
            "max_connections": self._pool_max,
            "timeout": self._timeout_s,
            "socket_connect_timeout": self._timeout_s,
            "socket_timeout": self._timeout_s,
            **_NAMELESS,
        }
        if callable(self._server):
            given["credential_provider"] = _FreshCredentials(self._server)
        return given

    def _client(self, address: Address | None = None) -> redis.Redis:
        if self._pid != os.getpid():
            self._pid, self._async, self._sync = os.getpid(), WeakKeyDictionary(), {}
        if isinstance(self._server, redis.Redis) and address is None:
            return self._server
        known = self._sync.get(address)
        if known is None:
            pool = self._pool(redis.BlockingConnectionPool, Retry(NoBackoff(), 0), address)
            # A client that lost this race closes its pool when collected: nobody may be using it.
            known = self._sync.setdefault(address, redis.Redis.from_pool(pool))
        return known

    def _aclient(self, address: Address | None = None) -> aredis.Redis:
        clients = self._async.setdefault(asyncio.get_running_loop(), {})
        if address not in clients:
            pool = self._pool(aredis.BlockingConnectionPool, ARetry(NoBackoff(), 0), address)
            clients[address] = aredis.Redis.from_pool(pool)
        return clients[address]

    def _pool(self, kind: Any, retry: Any, address: Address | None) -> Any:
        """A pool that repeats nothing by itself: a write whose reply is lost may have happened."""
        url = _elsewhere(self._url(), address)
        options = self._options()
        if "credential_provider" in options:
            url = _without_login(url)
        return kind.from_url(url, retry=retry, **options)

    def close(self) -> None:
        """Close the sync clients; one that was given stays open."""
        for client in self._sync.values():
            client.close()
        self._sync = {}

    async def aclose(self) -> None:
        """Close this loop's clients and the sync ones; one that was given stays open."""
        for client in self._async.pop(asyncio.get_running_loop(), {}).values():
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


class _FreshCredentials(redis.CredentialProvider):
    """Asks for a URL before each new connection, so that short-lived tokens stay valid."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        parts = urlsplit(self._url())
        password = unquote(parts.password or "")
        return (unquote(parts.username), password) if parts.username else (password,)


def _elsewhere(url: str, address: Address | None) -> str:
    if address is None:
        return url
    parts = urlsplit(url)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit(parts._replace(netloc=f"{login}{address[0]}:{address[1]}"))


def _without_login(url: str) -> str:
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    return url.replace(f"{login}@", "", 1) if at else url


def _words(batch: Batch) -> list[tuple[Any, ...]]:
    return [command.words for command in batch]


def _told(words: list[tuple[Any, ...]], replies: Replies) -> Replies:
    """The replies without those of the ASKINGs before migrating keys."""
    return [r for w, r in zip(words, replies, strict=True) if w[0] != "ASKING"]


def _info(pipeline: Any) -> Any:
    pipeline.execute_command("INFO")
    return pipeline


def _sending(client: redis.Redis, batch: list[tuple[Any, ...]]) -> Replies:
    pipeline = client.pipeline(transaction=False)
    for words in batch:
        pipeline.execute_command(*words)  # type: ignore[no-untyped-call]
    return pipeline.execute(raise_on_error=False)


async def _asending(client: aredis.Redis, batch: list[tuple[Any, ...]]) -> Replies:
    pipeline = client.pipeline(transaction=False)
    for words in batch:
        pipeline.execute_command(*words)
    return await pipeline.execute(raise_on_error=False)


def _judged(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, _NOT_NOW):
            raise reply
    return replies
