"""One Redis or Valkey server, both colours: a sync client, an async one for each loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NoReturn, Self, TypeAlias, TypeVar

import redis
import redis.asyncio as aredis
from redis import exceptions

from plumbgraph import plan as plans
from plumbgraph.errors import AccessDenied, StoreUnavailable
from plumbgraph.redis.cluster import Address, Answers, Routing, Topology, routed
from plumbgraph.redis.loops import LoopWires
from plumbgraph.redis.sources import ASYNC, SYNC, Server, source_of, target_of
from plumbgraph.redis.wires import AsyncWires, Wires, Words

__all__ = ["Batch", "Command", "Redis", "RedisPlan", "Replies", "ServerFacts", "target_of"]

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


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server tells of itself.

    Attributes:
        eviction: The policy by which it may drop keys when full; empty when it has no limit.
        modules: Names of the modules it has loaded or built in.
    """

    version: str
    cluster: bool
    eviction: str
    modules: frozenset[str] = frozenset()

    @property
    def may_evict(self) -> bool:
        """Whether keys may vanish."""
        return self.eviction not in {"", "noeviction"}


class Redis:
    """A Redis (7.0 or newer) or Valkey (7.2 or newer) server, no modules needed.

    Does no I/O until first used and needs no running loop to be made. Each running loop has
    connections of its own, so that a second `asyncio.run`, worker threads and notebooks all work;
    they are closed when the loop ends.
    A cluster is noticed on first use; its nodes are then addressed by the keys of the commands.

    Args:
        server: URL, a redis-py client of either colour or of a cluster (its settings are taken
            over, for both colours; it is neither used nor closed), or a function that returns a
            URL (asked again for the login of each new connection, for tokens that do not live
            long) or a client.
        pool_max: Most connections a process and colour (and loop) may hold; callers beyond it
            wait.
        timeout_s: Longest wait for a connection or a reply.

    Raises:
        SettingsError: The server cannot be reached so.
    """

    def __init__(self, server: Server, *, pool_max: int = 32, timeout_s: float = 10.0) -> None:
        self._source = source_of(server)
        self._pool_max = pool_max
        self._timeout_s = timeout_s
        self._sync: dict[Address | None, Wires] = {}
        self._async = LoopWires()
        self._pid = os.getpid()
        self._facts: ServerFacts | None = None
        self._topology: Topology | None = None

    @property
    def target(self) -> str:
        """Where it leads, without user and password."""
        return self._source.target

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
        try:
            if self._facts is None:
                self._learn(self._wires().exchange([("INFO",)]))
            if self._topology is not None:
                return _judged(self._routed(batch, self._topology))
            return _judged(self._wires().exchange([command.words for command in batch]))
        except (exceptions.NoPermissionError, *_NOT_NOW, *_CONNECTION) as error:
            self._explain(error)

    async def asend(self, batch: Batch) -> Replies:
        """Send one batch in one round trip; see `send`."""
        try:
            if self._facts is None:
                self._learn(await self._awires().exchange([("INFO",)]))
            if self._topology is not None:
                return _judged(await self._arouted(batch, self._topology))
            return _judged(await self._awires().exchange([command.words for command in batch]))
        except (exceptions.NoPermissionError, *_NOT_NOW, *_CONNECTION) as error:
            self._explain(error)

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
                        answers[address] = _told(words, self._wires(address).exchange(words))
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
                    *(self._awires(a).exchange(w) for a, w in round_.sends.items()),
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
            modules=frozenset(str(each["name"]) for each in info.get("modules") or ()),
        )
        if self._facts.cluster:
            self._topology = Topology(self._source.seeds())

    def _explain(self, error: Exception) -> NoReturn:
        if isinstance(error, StoreUnavailable):
            raise error
        if isinstance(error, exceptions.NoPermissionError):
            raise AccessDenied(
                f"Redis at {self.target!r} does not let this user connect: {error}.",
                hint="Give the user the rights that `plumbgraph doctor --production` asks for.",
                target=self.target,
            ) from error
        if isinstance(error, _NOT_NOW):
            raise StoreUnavailable(
                f"Redis at {self.target!r} refuses for now: {error}.",
                hint="Check its memory, its role and whether it is still loading.",
                target=self.target,
            ) from error
        raise StoreUnavailable(
            f"No connection to Redis at {self.target!r}: {error}.", target=self.target
        ) from error

    def _wires(self, address: Address | None = None) -> Wires:
        if self._pid != os.getpid():
            self._pid, self._async, self._sync = os.getpid(), LoopWires(), {}
        known = self._sync.get(address)
        if known is None:
            pool = self._source.pool(SYNC, address, self._options(reading=self._timeout_s))
            # A client that lost this race closes its pool when collected: nobody may be using it.
            made = Wires(
                redis.Redis.from_pool(pool), most=self._pool_max, timeout_s=self._timeout_s
            )
            known = self._sync.setdefault(address, made)
        return known

    def _awires(self, address: Address | None = None) -> AsyncWires:
        wires = self._async.here()
        if address not in wires:
            # One limit for a whole exchange: redis-py's own costs a task for each command.
            pool = self._source.pool(ASYNC, address, self._options(reading=None))
            client = aredis.Redis.from_pool(pool)
            wires[address] = AsyncWires(client, most=self._pool_max, timeout_s=self._timeout_s)
        return wires[address]

    def _options(self, *, reading: float | None) -> dict[str, Any]:
        return {
            "max_connections": self._pool_max,
            "timeout": self._timeout_s,
            "socket_connect_timeout": self._timeout_s,
            "socket_timeout": reading,
        }

    def close(self) -> None:
        """Close the sync connections."""
        for wires in self._sync.values():
            wires.client.close()
        self._sync = {}

    async def aclose(self) -> None:
        """Close this loop's connections and the sync ones."""
        await self._async.aclose()
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _told(words: list[Words], replies: Replies) -> Replies:
    """The replies without those of the ASKINGs before migrating keys."""
    return [r for w, r in zip(words, replies, strict=True) if w[0] != "ASKING"]


def _judged(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, _NOT_NOW):
            raise reply
    return replies
