"""A pytest plugin that puts `MemoryStore` under the names of LangGraph's stores."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import asynccontextmanager, contextmanager
from types import ModuleType
from typing import Any, Self

import langgraph.store.memory as in_memory

from plumbgraph.memory import MemoryStore

URL = os.environ["MEMORY_PEER_REDIS"]


class Shim(MemoryStore):
    MIGRATIONS: Any = ()

    def __init__(self, *, index: Any = None, embedding_config: Any = None, **options: Any) -> None:
        config = given = index or embedding_config
        if config is not None:
            fields = config.get("fields") or config.get("text_fields")
            config = {"dims": config["dims"], "embed": config["embed"], "fields": fields}
        options.setdefault("tenant", f"peer-{secrets.token_hex(6)}")
        super().__init__(URL, index=config, **options)
        self.index_config = self.embedding_config = given
        self.embeddings = config["embed"] if config else None

    @classmethod
    @contextmanager
    def from_conn_string(  # type: ignore[override]
        cls, name: str, *, ttl: Any = None, index: Any = None, **_: Any
    ) -> Any:
        tenant = f"peer-{secrets.token_hex(6)}" if name == ":memory:" else f"peer-{hash(name)}"
        with cls(index=index, ttl=ttl, tenant=tenant) as store:
            yield store

    def sweep_ttl(self) -> int:
        return self.sweep()

    def start_ttl_sweeper(self, *_: Any, **__: Any) -> None:
        """Expiry needs no sweeper."""

    def stop_ttl_sweeper(self, *_: Any, **__: Any) -> None:
        """Expiry needs no sweeper."""


class AsyncShim(Shim):
    @classmethod
    @asynccontextmanager
    async def from_conn_string(  # type: ignore[override]
        cls, name: str, **options: Any
    ) -> Any:
        with super().from_conn_string(name, **options) as store:
            yield store
            await store.aclose()

    async def setup(self) -> None:  # type: ignore[override]
        await self.asetup()

    async def sweep_ttl(self) -> int:  # type: ignore[override]
        return await self.asweep()

    async def start_ttl_sweeper(self, *_: Any, **__: Any) -> None:  # type: ignore[override]
        """Expiry needs no sweeper."""

    async def stop_ttl_sweeper(self, *_: Any, **__: Any) -> None:  # type: ignore[override]
        """Expiry needs no sweeper."""


class _NoDatabase:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, *_: Any) -> None:
        pass


class _NoAsyncDatabase:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def execute(self, *_: Any) -> None:
        pass


async def _no_database(*_: Any, **__: Any) -> _NoAsyncDatabase:
    return _NoAsyncDatabase()


def _module(name: str, **names: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(names)
    sys.modules[name] = module


def _missing(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("a private function of another store")


_private = dict.fromkeys(
    [
        "NS_MATCH_FUNCTION",
        "_escape_glob_literal",
        "_namespace_match_pattern",
        "_escape_like_literal",
        "_namespace_to_text",
        "_get_vector_type_ops",
    ],
    _missing,
)
_module("langgraph.store.sqlite", SqliteStore=Shim)
_module("langgraph.store.sqlite.base", BaseSqliteStore=Shim, SqliteIndexConfig=dict, **_private)
_module("langgraph.store.sqlite.aio", AsyncSqliteStore=AsyncShim)
_module("langgraph.store.postgres", PostgresStore=Shim, AsyncPostgresStore=AsyncShim)
_module("langgraph.store.postgres.base", PostgresIndexConfig=dict, **_private)
in_memory.InMemoryStore = Shim  # type: ignore[misc,assignment]


def pytest_configure() -> None:
    import psycopg

    psycopg.Connection.connect = lambda *_, **__: _NoDatabase()  # type: ignore[method-assign,assignment]
    psycopg.AsyncConnection.connect = _no_database  # type: ignore[method-assign,assignment]
