"""One database, both colours: a sync pool, and an async pool for each running loop."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import select
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection, Connection, errors
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from plumbgraph import plan as plans
from plumbgraph.errors import SettingsError
from plumbgraph.postgres import migrate, prepared
from plumbgraph.postgres.faults import faults, target_of
from plumbgraph.postgres.loop_pool import LoopPool
from plumbgraph.postgres.statement import Batch, Replies, SqlPlan, Statement

__all__ = ["Database", "Statement"]

Result = TypeVar("Result")
SyncPool = ConnectionPool[Connection[Any]]
AsyncPool = AsyncConnectionPool[AsyncConnection[Any]]
Listener = Callable[[str, str], None]

_POOLED_AWAY = (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)
# The server rolled the batch back, or never began it: repeating it once cannot double anything.
_REPEATABLE = (*_POOLED_AWAY, errors.AdminShutdown)
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_WAIT_S = 15.0
_WHO = "SELECT pg_backend_pid()"
_NOTHING = "ROLLBACK"  # of what was sent before a statement that could not be
_FAREWELL = 4  # reads until end-of-file shows behind the server's last words


def _alive(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    """Find a dropped connection without a round trip: an idle socket must not be readable."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    for _ in range(_FAREWELL):
        if not poll.poll(0):
            return
        connection.pgconn.consume_input()
    raise psycopg.OperationalError("the server is still talking on an idle connection")


async def _aalive(connection: AsyncConnection[Any]) -> None:
    _alive(connection)


def _log(name: str, text: str) -> None:
    logging.getLogger("plumbgraph.postgres").warning("%s: %s", name, text)


class Database:
    """A PostgreSQL database with one schema of ours.

    Does no I/O until first used, and needs no running loop to be made. A dropped connection is
    noticed before it is used and replaced. Safe through PgBouncer in transaction mode: nothing
    depends on the session, and behind a pooler statements are not prepared: psycopg's names for
    them are the same in every client, so that one client would run another's statement.

    Args:
        postgres: URL (both colours), a function that returns one (called once, off the loop,
            when the first connection is wanted), or a pool of psycopg's own (its own colour).
        schema: Where our tables live; a plain lower-case identifier.
        pool_max: Most connections a process and colour (and loop) may hold.
        auto_setup: Apply missing migrations on first use.
        on_event: Told `(event name, text)` when something is worked around; by default the
            logger `plumbgraph.postgres`.

    Raises:
        SettingsError: The URL or the schema's name cannot be used.
    """

    def __init__(
        self,
        postgres: str | Callable[[], str] | SyncPool | AsyncPool,
        *,
        schema: str = "plumbgraph",
        pool_max: int = 4,
        auto_setup: bool = True,
        on_event: Listener | None = None,
    ) -> None:
        if not _SCHEMA.fullmatch(schema):
            raise SettingsError(
                f"The schema name {schema!r} is not a plain identifier.",
                hint="Use lower-case letters, digits and underscores, at most 63.",
            )
        self.schema = schema
        self.pool_max = pool_max
        self._url: str | Callable[[], str] | None = None
        self._given: SyncPool | AsyncPool | None = None
        if isinstance(postgres, ConnectionPool | AsyncConnectionPool):
            self._given = postgres
        else:
            self._url = postgres
        self.target = target_of(postgres) if isinstance(postgres, str) else "the given server"
        self._on_event = on_event or _log
        self._prepare: int | None = 1
        self._ready = not auto_setup
        self._looked = False
        self._texts: dict[str, str] = {}
        self._sync: SyncPool | None = None
        self._async: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncPool] = WeakKeyDictionary()
        self._pid = os.getpid()
        self._opening = threading.Lock()

    def run(self, plan: SqlPlan[Result]) -> Result:
        """Drive a plan, blocking."""
        return plans.run(plan, self.send)

    async def arun(self, plan: SqlPlan[Result]) -> Result:
        """Drive a plan, awaiting."""
        return await plans.arun(plan, self.asend)

    def setup(self) -> None:
        """Apply missing migrations; idempotent, and safe when many processes race.

        Raises:
            SchemaMismatch: The schema was made by a newer plumbgraph.
            AccessDenied: The role may not create what is missing.
        """
        plans.run(migrate.setup(self.schema), self._send)
        self._ready = True

    async def asetup(self) -> None:
        """Apply missing migrations; see `setup`."""
        await asyncio.to_thread(migrate.known)
        await plans.arun(migrate.setup(self.schema), self._asend)
        self._ready = True

    def send(self, batch: Batch) -> Replies:
        """Send one batch: a single statement alone, several as one transaction.

        Returns:
            For each statement its rows (none where it returns none).

        Raises:
            StoreUnavailable: The server cannot be reached or has a fault; may be retried.
            AccessDenied: Login or rights are refused.
        """
        if not self._ready:
            self.setup()
        return self._send(batch)

    async def asend(self, batch: Batch) -> Replies:
        """Send one batch; see `send`."""
        if not self._ready:
            await self.asetup()
        return await self._asend(batch)

    @contextmanager
    def transaction(self) -> Iterator[Connection[Any]]:
        """A connection inside a transaction, committed when the block ends without an error.

        Raises:
            StoreUnavailable: The server cannot be reached or has a fault.
        """
        if not self._ready:
            self.setup()
        with faults(self.target), self._sync_pool().connection() as connection:
            self._look(connection)
            connection.prepare_threshold = self._prepare
            with connection.transaction():
                yield connection

    @asynccontextmanager
    async def atransaction(self) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection inside a transaction; see `transaction`."""
        if not self._ready:
            await self.asetup()
        pool = await self._async_pool()
        async with pool.connection() as connection:
            await self._alook(connection)
            connection.prepare_threshold = self._prepare
            with faults(self.target):
                async with connection.transaction():
                    yield connection

    def text(self, sql: str) -> str:
        """A statement's text with the schema in its place."""
        return str(self._text(sql))

    def _send(self, batch: Batch) -> Replies:
        with faults(self.target):
            try:
                return self._attempt(batch)
            except _REPEATABLE as error:
                self._learn(error)
                return self._attempt(batch)

    async def _asend(self, batch: Batch) -> Replies:
        with faults(self.target):
            try:
                return await self._aattempt(batch)
            except _REPEATABLE as error:
                self._learn(error)
                return await self._aattempt(batch)

    def _attempt(self, batch: Batch) -> Replies:
        with self._sync_pool().connection() as connection:
            self._look(connection)
            if (wire := self._wire(connection, batch)) is not None:
                return [prepared.rows_of(connection, connection.wait(wire))]
            connection.prepare_threshold = self._prepare
            if len(batch) == 1:
                return [self._execute(connection, batch[0]).fetched()]
            with connection.pipeline():  # the server makes one transaction of what it holds
                try:
                    cursors = [self._execute(connection, statement) for statement in batch]
                except BaseException:
                    with suppress(psycopg.Error):
                        connection.execute(_NOTHING)
                    raise
            return [cursor.fetched() for cursor in cursors]

    async def _aattempt(self, batch: Batch) -> Replies:
        pool = await self._async_pool()
        async with pool.connection() as connection:
            await self._alook(connection)
            if (wire := self._wire(connection, batch)) is not None:
                return [prepared.rows_of(connection, await connection.wait(wire))]
            connection.prepare_threshold = self._prepare
            if len(batch) == 1:
                return [await (await self._aexecute(connection, batch[0])).afetched()]
            async with connection.pipeline():
                try:
                    cursors = [await self._aexecute(connection, statement) for statement in batch]
                except BaseException:
                    with suppress(psycopg.Error):
                        await connection.execute(_NOTHING)
                    raise
            return [await cursor.afetched() for cursor in cursors]

    def _wire(self, connection: prepared.AnyConnection, batch: Batch) -> prepared.Wire | None:
        (sql, params), often = (batch[0].sql, batch[0].params), batch[0].often
        if not often or not isinstance(params, Mapping):
            return None
        return prepared.exchange(connection, self.text(sql), params, prepare=bool(self._prepare))

    def _execute(self, connection: Connection[Any], statement: Statement) -> _Cursor:
        cursor = _Cursor(connection, row_factory=tuple_row)
        cursor.execute(
            self._text(statement.sql),
            statement.params or None,
            binary=statement.binary,
            prepare=None if statement.binary else False,
        )
        return cursor

    async def _aexecute(
        self, connection: AsyncConnection[Any], statement: Statement
    ) -> _AsyncCursor:
        cursor = _AsyncCursor(connection, row_factory=tuple_row)
        await cursor.execute(
            self._text(statement.sql),
            statement.params or None,
            binary=statement.binary,
            prepare=None if statement.binary else False,
        )
        return cursor

    def _text(self, sql: str) -> bytes | str:
        text = self._texts.get(sql)
        if text is None:
            text = self._texts[sql] = sql.replace("{schema}", f'"{self.schema}"')
        return text

    def _look(self, connection: Connection[Any]) -> None:
        if not self._looked:
            found = connection.execute(_WHO).fetchone()
            self._notice(connection.info.backend_pid, found)

    async def _alook(self, connection: AsyncConnection[Any]) -> None:
        if not self._looked:
            found = await (await connection.execute(_WHO)).fetchone()
            self._notice(connection.info.backend_pid, found)

    def _notice(self, told: int, found: Any) -> None:
        """A pooler tells its clients a process of its own invention."""
        if found is not None and found[0] != told:
            self._prepare = None
            self._on_event("postgres.prepare_disabled", "a pooler stands in between")
        self._looked = True  # last, so that whoever comes meanwhile looks too

    def _learn(self, error: Exception) -> None:
        if isinstance(error, _POOLED_AWAY):
            self._prepare = None
            self._on_event("postgres.prepare_disabled", str(error))

    def _options(self) -> dict[str, Any]:
        return {
            "min_size": 0,
            "max_size": self.pool_max,
            "timeout": _WAIT_S,
            "reconnect_timeout": _WAIT_S,
            "num_workers": 1,
            "kwargs": {
                "autocommit": True,
                "connect_timeout": 10,
                "application_name": "plumbgraph",
            },
        }

    def _sync_pool(self) -> SyncPool:
        if self._given is not None:
            pool: SyncPool = self._own(ConnectionPool)
            return pool
        if self._pid != os.getpid():
            self._sync, self._pid = None, os.getpid()
            self._async = WeakKeyDictionary()
            self._opening = threading.Lock()
        with self._opening:
            # Another thread must never see a pool that is not open yet.
            if self._sync is None:
                url = self._address()
                psycopg.connect(url, connect_timeout=10).close()
                opened = ConnectionPool(url, open=False, check=_alive, **self._options())
                opened.open()
                self._sync = opened
            return self._sync

    async def _async_pool(self) -> AsyncPool:
        if self._given is not None:
            given: AsyncPool = self._own(AsyncConnectionPool)
            return given
        loop = asyncio.get_running_loop()
        pool = self._async.get(loop)
        if pool is None:
            url = await asyncio.to_thread(self._address) if callable(self._url) else self._address()
            await (await AsyncConnection.connect(url, connect_timeout=10)).close()
            pool = LoopPool(url, open=False, check=_aalive, **self._options())
            pool = self._async.setdefault(loop, pool)
            await pool.open()
        return pool

    def _address(self) -> str:
        if callable(self._url):
            self._url = self._url()
            self.target = target_of(self._url)
        return self._url or ""

    def _own(self, kind: type[Any]) -> Any:
        if isinstance(self._given, kind):
            return self._given
        wanted = "async" if kind is AsyncConnectionPool else "sync"
        raise SettingsError(
            f"The given {type(self._given).__name__} cannot serve {wanted} calls.",
            hint="Pass a URL, which serves both colours, or the pool of the other colour.",
        )

    def close(self) -> None:
        """Close the sync pool; a pool that was given stays open."""
        if self._sync is not None:
            self._sync.close()
            self._sync = None

    async def aclose(self) -> None:
        """Close this loop's pool and the sync pool; a pool that was given stays open."""
        pool = self._async.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Cursor(psycopg.Cursor[tuple[Any, ...]]):
    def fetched(self) -> list[tuple[Any, ...]]:
        return self.fetchall() if _has_rows(self) else []


class _AsyncCursor(psycopg.AsyncCursor[tuple[Any, ...]]):
    async def afetched(self) -> list[tuple[Any, ...]]:
        return await self.fetchall() if _has_rows(self) else []


def _has_rows(cursor: _Cursor | _AsyncCursor) -> bool:
    # `description` would build an object for each column.
    return cursor.pgresult is not None and cursor.pgresult.nfields > 0
