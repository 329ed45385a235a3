"""Where connections come from: a URL, a function that hands one out, or a client that was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

import redis
import redis.asyncio as aredis
from redis.asyncio.retry import Retry as ARetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from plumbgraph.errors import SettingsError
from plumbgraph.redis.cluster import Address

AnyClient: TypeAlias = redis.Redis | aredis.Redis | redis.RedisCluster | aredis.RedisCluster
Server: TypeAlias = str | AnyClient | Callable[[], str | AnyClient]

# looking up its own version for CLIENT SETINFO reads files inside the event loop
_NAMELESS: dict[str, Any] = {"driver_info": None} if find_spec("redis.driver_info") else {}
_LOGIN = ("username", "password", "credential_provider")
_CARRIED = frozenset(("host", "port", "path", "db", "client_name", "protocol", *_LOGIN))


@dataclass(frozen=True, slots=True)
class Colour:
    """The classes of redis-py for one colour."""

    pool: Any
    tcp: Any
    tls: Any
    unix: Any
    retry: Any


SYNC = Colour(
    redis.BlockingConnectionPool,
    redis.Connection,
    redis.SSLConnection,
    redis.UnixDomainSocketConnection,
    Retry,
)
ASYNC = Colour(
    aredis.BlockingConnectionPool,
    aredis.Connection,
    aredis.SSLConnection,
    aredis.UnixDomainSocketConnection,
    ARetry,
)


class Source(Protocol):
    """Gives pools that repeat nothing by themselves: a write whose reply is lost may have run."""

    @property
    def target(self) -> str:
        """Where it leads, without user and password."""
        ...

    def seeds(self) -> list[Address]:
        """The nodes to ask for the slots of a cluster."""
        ...

    def pool(self, colour: Colour, address: Address | None, options: Mapping[str, Any]) -> Any:
        """A new pool of connections, to one node where an address is given."""
        ...


def source_of(server: Server) -> Source:
    """The source that a URL, a function or a client stands for.

    Raises:
        SettingsError: It is none of these, or the URL does not parse.
    """
    if isinstance(server, str):
        return Url(lambda: server, target_of(server))
    if isinstance(server, AnyClient):
        return Given(server)
    if callable(server):
        return Handed(server)
    raise SettingsError(
        f"{type(server).__name__} is no Redis server.",
        hint="Give a URL, a redis-py client, or a function that returns one of them.",
    )


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


class Url:
    """A URL; with `fresh`, a function asked again for the login of each new connection."""

    def __init__(self, url: Callable[[], str], target: str, *, fresh: bool = False) -> None:
        self._url = url
        self._fresh = fresh
        self.target = target

    def seeds(self) -> list[Address]:
        """The URL's own node."""
        parts = urlsplit(self._url())
        return [(parts.hostname or "localhost", parts.port or 6379)]

    def pool(self, colour: Colour, address: Address | None, options: Mapping[str, Any]) -> Any:
        """A pool for the URL, or for another node with the URL's login."""
        url = _elsewhere(self._url(), address)
        if url.startswith("valkey"):
            url = url.replace("valkey", "redis", 1)
        given = dict(options)
        if self._fresh:
            url = _without_login(url)
            given["credential_provider"] = _FreshCredentials(self._url)
        return colour.pool.from_url(url, retry=_never(colour), **_NAMELESS, **given)


class Given:
    """The settings of a client somebody made; it is neither used nor closed."""

    def __init__(self, client: AnyClient) -> None:
        told = _settings(client)
        self._settings = {k: v for k, v in told.items() if k in _CARRIED or k.startswith("ssl_")}
        self._tls = _speaks_tls(client, told)
        self._seeds = _nodes(client) or [_address(told)]
        self.target = str(told.get("path") or "{}:{}".format(*self._seeds[0]))
        if "host" not in told and "path" not in told and not _nodes(client):
            raise SettingsError(
                f"A {type(client).__name__} with a pool of its own kind does not tell its server.",
                hint="Pass a URL, or a function that returns the URL of the present primary.",
            )

    def seeds(self) -> list[Address]:
        """The nodes the client knows."""
        return list(self._seeds)

    def pool(self, colour: Colour, address: Address | None, options: Mapping[str, Any]) -> Any:
        """A pool with the client's settings, in either colour."""
        kind = colour.unix if "path" in self._settings else colour.tls if self._tls else colour.tcp
        settings = {**self._settings, **options, **_NAMELESS, "retry": _never(colour)}
        if kind is not colour.unix:
            settings["host"], settings["port"] = address or self._seeds[0]
        return colour.pool(connection_class=kind, **settings)


class Handed:
    """What a function hands out: a URL, asked for again and again, or a client."""

    def __init__(self, make: Callable[[], str | AnyClient]) -> None:
        self._make = make
        self._made: Source | None = None
        self.target = "what the given function hands out"

    def seeds(self) -> list[Address]:
        """The nodes of what was handed out."""
        return self._source().seeds()

    def pool(self, colour: Colour, address: Address | None, options: Mapping[str, Any]) -> Any:
        """A pool for what was handed out."""
        return self._source().pool(colour, address, options)

    def _source(self) -> Source:
        if self._made is None:
            made = self._make()
            if isinstance(made, str):
                self._made = Url(self._text, target_of(made), fresh=True)
            else:
                self._made = source_of(made)
            self.target = self._made.target
        return self._made

    def _text(self) -> str:
        return str(self._make())


class _FreshCredentials(redis.CredentialProvider):
    """Asks for a URL before each new connection, so that short-lived tokens stay valid."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        parts = urlsplit(self._url())
        password = unquote(parts.password or "")
        return (unquote(parts.username), password) if parts.username else (password,)


def _never(colour: Colour) -> Any:
    return colour.retry(NoBackoff(), 0)


def _settings(client: Any) -> dict[str, Any]:
    if isinstance(client, redis.RedisCluster | aredis.RedisCluster):
        return dict(client.get_connection_kwargs())
    return dict(client.connection_pool.connection_kwargs)


def _speaks_tls(client: Any, told: Mapping[str, Any]) -> bool:
    kind = told.get("connection_class")
    if not isinstance(client, redis.RedisCluster | aredis.RedisCluster):
        kind = client.connection_pool.connection_class
    known = isinstance(kind, type) and issubclass(kind, redis.SSLConnection | aredis.SSLConnection)
    return known or bool(told.get("ssl"))


def _nodes(client: Any) -> list[Address]:
    if not isinstance(client, redis.RedisCluster | aredis.RedisCluster):
        return []
    nodes = client.get_nodes() or client.nodes_manager.startup_nodes.values()
    return [(str(node.host), int(node.port)) for node in nodes]


def _address(told: Mapping[str, Any]) -> Address:
    return str(told.get("host", "localhost")), int(told.get("port", 6379))


def _elsewhere(url: str, address: Address | None) -> str:
    if address is None:
        return url
    parts = urlsplit(url)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit(parts._replace(netloc=f"{login}{address[0]}:{address[1]}"))


def _without_login(url: str) -> str:
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    return url.replace(f"{login}@", "", 1) if at else url
