from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from plumbgraph.errors import AccessDenied, SchemaMismatch, SettingsError, StoreUnavailable
from plumbgraph.postgres import migrate
from plumbgraph.postgres.faults import target_of
from plumbgraph.postgres.pool import Database, Statement
from plumbgraph.postgres.statement import Batch, Replies

Send = Callable[[Batch], Replies]


@pytest.fixture
def database(postgres_url: str, schema: str) -> Iterator[Database]:
    with Database(postgres_url, schema=schema) as database:
        yield database
        database.send((Statement(f'DROP SCHEMA "{schema}" CASCADE', binary=False),))


def test_one_statement_and_a_transaction(database: Database) -> None:
    [[row]] = database.send((Statement("SELECT 1, %s::int, 'a%%b'", (5,)),))
    assert row == (1, 5, "a%b")
    replies = database.send(
        (
            Statement("CREATE TABLE {schema}.t (a int)"),
            Statement("INSERT INTO {schema}.t VALUES (%s), (2)", (1,)),
            Statement("SELECT a FROM {schema}.t ORDER BY a"),
        )
    )
    assert replies == [[], [], [(1,), (2,)]]


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    database.send((Statement("CREATE TABLE {schema}.t (a int PRIMARY KEY)"),))
    insert = Statement("INSERT INTO {schema}.t VALUES (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.send((insert, insert))
    assert database.send((Statement("SELECT count(*) FROM {schema}.t"),)) == [[(0,)]]


_UNSENDABLE = (
    Statement("INSERT INTO {schema}.t VALUES (1)"),
    # psycopg refuses the text when the statement before is sent already
    Statement("INSERT INTO {schema}.t SELECT length(%s::text)", ("\0",)),
)
_TABLE = Statement("CREATE TABLE {schema}.t (a int)")
_COUNT = Statement("SELECT count(*) FROM {schema}.t")


def test_a_batch_that_cannot_be_sent_whole_leaves_nothing(database: Database) -> None:
    database.send((_TABLE,))
    with pytest.raises(psycopg.DataError, match="NUL"):
        database.send(_UNSENDABLE)
    assert database.send((_COUNT,)) == [[(0,)]]


async def test_a_batch_that_is_cut_short_leaves_nothing(database: Database) -> None:
    await database.asend((_TABLE,))
    with pytest.raises(psycopg.DataError, match="NUL"):
        await database.asend(_UNSENDABLE)
    insert = Statement("INSERT INTO {schema}.t VALUES (1)")
    sending = asyncio.create_task(
        database.asend((insert, Statement("SELECT pg_sleep(30)"), insert))
    )
    asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)'"
    while not (await database.asend((Statement(asked),)))[0][0][0]:  # noqa: ASYNC110 - the server knows
        await asyncio.sleep(0.01)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert await database.asend((_COUNT,)) == [[(0,)]]
    await database.aclose()


async def test_async_speaks_the_same(database: Database) -> None:
    assert await database.asend((Statement("SELECT %s::text", ("x",)),)) == [[("x",)]]
    both = (Statement("SELECT 2"), Statement("SELECT 3"))
    assert await database.asend(both) == [[(2,)], [(3,)]]
    await database.aclose()


def test_threads_that_begin_together_get_an_open_pool(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = ConnectionPool.open

    def slowly(self: ConnectionPool) -> None:
        threading.Event().wait(0.1)
        opened(self)

    monkeypatch.setattr(ConnectionPool, "open", slowly)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(database.send, (Statement("SELECT 1"),)) for _ in range(4)]
        assert [each.result() for each in asked] == [[[(1,)]]] * 4


def test_a_second_loop_and_other_threads(database: Database) -> None:
    async def ask() -> Replies:
        return await database.asend((Statement("SELECT 1"),))

    assert [asyncio.run(ask()) for _ in range(3)] == [[[(1,)]]] * 3
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: database.send((Statement("SELECT 1"),)), range(40)))
    assert replies == [[[(1,)]]] * 40


KILL = Statement(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE application_name = 'plumbgraph' AND pid <> pg_backend_pid() "
    "AND datname = current_database()"
)


def test_a_dropped_connection_heals(database: Database, postgres_url: str) -> None:
    database.send((Statement("SELECT 1"),))
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(KILL.sql)
    assert database.send((Statement("SELECT 2"),)) == [[(2,)]]


async def test_a_dropped_connection_heals_async(database: Database, postgres_url: str) -> None:
    await database.asend((Statement("SELECT 1"),))
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other:
        await other.execute(KILL.sql)
    assert await database.asend((Statement("SELECT 2"),)) == [[(2,)]]
    await database.aclose()


def test_prepared_statements_that_vanish_are_given_up_after_one_retry(
    postgres_url: str, schema: str
) -> None:
    events: list[str] = []
    with Database(
        postgres_url, schema=schema, pool_max=1, on_event=lambda name, _: events.append(name)
    ) as database:
        for _ in range(3):
            database.send((Statement("SELECT 1"),))
        database.send((Statement("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$", binary=False),))
        assert database.send((Statement("SELECT 1"),)) == [[(1,)]]
        assert events == ["postgres.prepare_disabled"]
        database.send((Statement("SELECT 41"),))
        [[(count,)]] = database.send((Statement("SELECT count(*) FROM pg_prepared_statements"),))
        assert count == 0


def test_what_is_worked_around_is_told_without_asking(
    postgres_url: str, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Database(postgres_url, schema=schema, pool_max=1) as database:
        lose_prepared(database)
    assert "postgres.prepare_disabled" in caplog.text


def test_the_saver_tells_it_as_an_event(postgres_url: str, schema: str, tmp_path: Path) -> None:
    from plumbgraph import PlumbSaver, trace
    from plumbgraph.tracing import read_log

    log = tmp_path / "events.jsonl"
    with trace(path=log), PlumbSaver(postgres_url, schema=schema, pool_max=1) as saver:
        lose_prepared(saver._core.db)
    (told,) = read_log(log)
    assert told["event"] == "postgres.worked_around"
    assert told["what"] == "postgres.prepare_disabled"


def lose_prepared(database: Database) -> None:
    for _ in range(3):
        database.send((Statement("SELECT 1"),))
    database.send((Statement("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$", binary=False),))
    assert database.send((Statement("SELECT 1"),)) == [[(1,)]]


def test_racing_setups_apply_each_migration_once(postgres_url: str, schema: str) -> None:
    start = threading.Barrier(6)

    def up(_: int) -> None:
        with Database(postgres_url, schema=schema) as database:
            start.wait()
            database.setup()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(up, range(6)))
    with Database(postgres_url, schema=schema) as database:
        rows = database.send((Statement("SELECT number FROM {schema}.migrations ORDER BY 1"),))[0]
        assert [row[0] for row in rows] == [step.number for step in migrate.known()]


def test_the_printed_script_may_run_twice(postgres_url: str, schema: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for _ in range(2):
            connection.execute(migrate.script(schema).encode())
    with Database(postgres_url, schema=schema) as database:
        assert database.run(migrate.missing(schema)) == ()


def test_a_newer_schema_is_refused(database: Database) -> None:
    newer = "INSERT INTO {schema}.migrations (number, name) VALUES (9999, 'from_the_future')"
    database.send((Statement(newer),))
    with pytest.raises(SchemaMismatch, match="9999") as caught:
        database.setup()
    assert "Upgrade plumbgraph" in caught.value.hint


def test_a_role_without_rights_is_told_what_to_do(postgres_url: str, schema: str) -> None:
    role = f"role_{schema}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret-word'")
    url = postgres_url.replace("//postgres@", f"//{role}:secret-word@")
    try:
        with pytest.raises(AccessDenied) as caught, Database(url, schema=schema) as database:
            database.setup()
        assert "setup --print-sql" in caught.value.hint
        assert "secret-word" not in str(caught.value)
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(f"DROP ROLE {role}")


def test_nobody_there() -> None:
    with pytest.raises(StoreUnavailable, match="Connection refused"):
        Database("postgresql://u:pw@127.0.0.1:1/x").send((Statement("SELECT 1"),))


def test_a_database_that_is_not_there(postgres_url: str) -> None:
    url = postgres_url.replace("/test_", "/none_")
    with pytest.raises(SettingsError, match="does not exist"):
        Database(url).send((Statement("SELECT 1"),))


@pytest.mark.parametrize("schema_name", ["", "a-b", 'x"y', "A", "1a", "x" * 64])
def test_a_schema_name_must_be_an_identifier(schema_name: str) -> None:
    with pytest.raises(SettingsError, match="identifier"):
        Database("postgresql:///x", schema=schema_name)


@pytest.mark.parametrize("url", ["nonsense", "postgresql//x", "mysql://x"])
def test_a_url_must_parse(url: str) -> None:
    with pytest.raises(SettingsError, match="does not parse"):
        Database(url)


def test_the_target_names_no_secret() -> None:
    assert target_of("postgresql://me:pw@db.example:5433/app") == "db.example:5433/app"


async def test_a_given_pool_serves_its_own_colour_and_stays_open(
    postgres_url: str, schema: str
) -> None:
    async with AsyncConnectionPool(postgres_url, min_size=1, open=False) as pool:
        database = Database(pool, schema=schema)
        assert await database.asend((Statement("SELECT 1"),)) == [[(1,)]]
        with pytest.raises(SettingsError, match="cannot serve sync calls"):
            database.send((Statement("SELECT 1"),))
        await database.aclose()
        assert not pool.closed


def test_a_given_sync_pool_commits(postgres_url: str, schema: str) -> None:
    with ConnectionPool(postgres_url, min_size=1, open=False) as pool:
        Database(pool, schema=schema).send((Statement("CREATE TABLE {schema}.t ()"),))
        again = Database(pool, schema=schema)
        assert again.send((Statement("SELECT count(*) FROM {schema}.t"),)) == [[(0,)]]
