"""The stores that are compared, each made empty when asked for."""

from __future__ import annotations

import contextlib
import secrets
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

Makers: TypeAlias = dict[str, Callable[[], Any]]


def makers(redis: str, *, postgres: str | None, stack: str | None) -> Makers:
    """Ours first; a peer whose server or package is missing is left out."""
    from langgraph.store.memory import InMemoryStore

    from plumbgraph.memory import MemoryStore

    def ours() -> Any:
        return MemoryStore(redis, tenant=f"bench-{secrets.token_hex(4)}")

    found: Makers = {"MemoryStore": ours, "InMemoryStore": InMemoryStore}
    if postgres:
        found["PostgresStore"] = lambda: _postgres(postgres)
    if stack:
        with contextlib.suppress(ImportError):
            import langgraph.store.redis  # noqa: F401 - only whether it is there

            found["RedisStore"] = lambda: _redis(stack)
    return found


def _postgres(url: str) -> Any:
    from langgraph.store.postgres import PostgresStore
    from psycopg import Connection
    from psycopg.rows import dict_row

    schema = f"bench_{secrets.token_hex(4)}"
    opened: Any = Connection.connect(url, autocommit=True, prepare_threshold=0)
    opened.row_factory = dict_row
    opened.execute(f"CREATE SCHEMA {schema}")
    opened.execute(f"SET search_path TO {schema}")
    store = PostgresStore(opened, ttl={"omit_expired": True})
    store.setup()
    return store


def _redis(url: str) -> Any:
    import redis
    from langgraph.store.redis import RedisStore

    warnings.simplefilter("ignore")
    client: Any = redis.Redis.from_url(url)
    client.flushall()
    store = RedisStore(client)
    store.setup()
    return store
