"""Servers that the environment names: asked one real question, then used as they are."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from plumbgraph.errors import StoreUnavailable
from plumbgraph.servers.values import Endpoints
from plumbgraph.settings import Settings, redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE_S = 5


def settings(home: str | os.PathLike[str] | None = None) -> Settings:
    """The environment's settings; a given home needs none of its own."""
    return Settings.load() if home is None else Settings.load(home=os.fspath(home))


def ask(told: Settings) -> dict[str, str]:
    """The versions of the servers named by URL.

    Raises:
        StoreUnavailable: One does not answer; names it without its password.
    """
    found = {}
    if told.postgres_url is not None:
        found["postgres"] = _postgres(told.postgres_url)
    if told.redis_url is not None:
        found["valkey"] = _redis(told.redis_url)
    return found


def _postgres(url: str) -> str:
    import psycopg  # noqa: PLC0415 - only for servers named by URL

    try:
        with psycopg.connect(url, connect_timeout=_PATIENCE_S, autocommit=True) as link:
            row = link.execute("SELECT current_setting('server_version')").fetchone()
    except psycopg.Error as fault:
        raise _silent("PLUMBGRAPH_POSTGRES_URL", url, fault) from None
    return str(row[0]).split()[0] if row else "unknown"


def _redis(url: str) -> str:
    import redis  # noqa: PLC0415 - only for servers named by URL

    try:
        with redis.Redis.from_url(
            url, socket_connect_timeout=_PATIENCE_S, socket_timeout=_PATIENCE_S
        ) as link:
            facts = link.info("server")
    except (redis.RedisError, ValueError) as fault:
        raise _silent("PLUMBGRAPH_REDIS_URL", url, fault) from None
    assert isinstance(facts, dict)
    return str(facts.get("valkey_version") or facts["redis_version"])


def _silent(name: str, url: str, fault: Exception) -> StoreUnavailable:
    said = str(fault).strip().replace(url, redacted(url))
    return StoreUnavailable(
        f"{name}={redacted(url)!r} does not answer: {said}.",
        hint=f"Check that the server runs and that {name} is right, or unset it to use the "
        "embedded server.",
        setting=name,
    )


def only(told: Settings, versions: Mapping[str, str]) -> Endpoints:
    """Endpoints of two external servers."""
    bare = Endpoints(postgres_url="", redis_url="", home=None, pid=None, versions={}, sources={})
    return merged(bare, told, versions)


def merged(found: Endpoints, told: Settings, versions: Mapping[str, str]) -> Endpoints:
    """Endpoints in which servers named by URL take the place of embedded ones."""
    sources = dict.fromkeys(versions, "environment")
    return replace(
        found,
        postgres_url=told.postgres_url or found.postgres_url,
        redis_url=told.redis_url or found.redis_url,
        versions={**found.versions, **versions},
        sources={**found.sources, **sources},
    )
