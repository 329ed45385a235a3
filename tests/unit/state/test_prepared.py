"""Statements that are sent often give what a cursor gives: rows, types, errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import errors

from plumbgraph.errors import StoreUnavailable
from plumbgraph.postgres import prepared
from plumbgraph.postgres.pool import Database, Statement
from plumbgraph.postgres.prepared import parsed

SQL = """SELECT %(a)s::bigint, %(b)s::bytea, %(c)s::boolean, %(d)s::text, %(a)s::text || '%%',
    ARRAY[1, 2]::smallint[], now() > %(e)s::timestamptz"""
PARAMS: dict[str, Any] = {"a": "7", "b": b"\0x", "c": True, "d": None, "e": "2020-01-01"}
ROW = (7, b"\0x", True, None, "7%", [1, 2], True)


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    with Database(postgres_url, auto_setup=False, pool_max=1) as made:
        yield made


def _ask(database: Database, sql: str, params: Any, *, often: bool = True) -> list[Any]:
    return database.send((Statement(sql, params, often=often),))[0]


def _names(database: Database) -> list[str]:
    rows = _ask(database, "SELECT name FROM pg_prepared_statements", (), often=False)
    return [name for (name,) in rows if name.startswith("plumb_")]


def test_placeholders_become_numbers() -> None:
    assert parsed("%(b)s %% %(a)s %(b)s") == (b"$1 % $2 $1", ("b", "a"))


def test_rows_are_those_of_a_cursor(database: Database) -> None:
    for _ in range(3):
        assert _ask(database, SQL, PARAMS) == _ask(database, SQL, PARAMS, often=False) == [ROW]
    assert _ask(database, SQL, {**PARAMS, "b": None})[0][1] is None
    assert len(_names(database)) == 2, "one for each list of types"
    assert _ask(database, "SELECT WHERE %(a)s::int = 2", {"a": "1"}) == []
    assert _ask(database, "SET LOCAL synchronous_commit TO on", {}) == []


def test_plans_do_not_grow_old(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "PLAN_CALLS", 3)
    planned = []
    for _ in range(7):
        assert _ask(database, SQL, PARAMS) == [ROW]
        sql = "SELECT prepare_time FROM pg_prepared_statements WHERE name LIKE 'plumb%'"
        planned += _ask(database, sql, (), often=False)
    assert len(_names(database)) == 1
    assert [planned.index(each) for each in planned] == [0, 0, 0, 3, 3, 3, 6]


def test_one_that_cannot_be_prepared_anew_is_prepared_the_next_time(
    database: Database, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "PLAN_CALLS", 1)
    make = (
        Statement(f"CREATE SCHEMA IF NOT EXISTS {schema}"),
        Statement(f"CREATE TABLE {schema}.t (a int)"),
    )
    database.send(make)
    sql = f"SELECT a FROM {schema}.t WHERE a = %(a)s"
    assert _ask(database, sql, {"a": "1"}) == []
    database.send((Statement(f"DROP TABLE {schema}.t"),))
    for _ in range(2):
        with pytest.raises(errors.UndefinedTable):
            _ask(database, sql, {"a": "1"})
    database.send(make)
    assert _ask(database, sql, {"a": "1"}) == []
    assert database._prepare is not None, "it was not taken for a pooler's doing"


async def test_and_so_in_a_loop(database: Database) -> None:
    for _ in range(2):
        assert await database.asend((Statement(SQL, PARAMS, often=True),)) == [[ROW]]
    await database.aclose()


def test_other_values_are_left_to_a_cursor(database: Database) -> None:
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    assert _ask(database, SQL, {**PARAMS, "e": moment}) == [ROW]
    assert _ask(database, SQL, {**PARAMS, "a": 7}) == [ROW]
    assert _names(database) == []


def test_errors_are_psycopgs_and_leave_the_connection_usable(database: Database) -> None:
    with pytest.raises(errors.InvalidTextRepresentation, match="invalid input syntax"):
        _ask(database, SQL, {**PARAMS, "a": "x"})
    with pytest.raises(errors.UndefinedTable) as caught:
        _ask(database, "SELECT * FROM nowhere WHERE a = %(a)s", {"a": "1"})
    assert caught.value.diag.sqlstate == "42P01"
    assert _ask(database, SQL, PARAMS) == [ROW]


def test_a_dropped_connection_is_a_store_that_cannot_be_reached(database: Database) -> None:
    ((pid,),) = _ask(database, "SELECT pg_backend_pid() WHERE %(a)s::int = 1", {"a": "1"})
    with pytest.raises(StoreUnavailable):
        _ask(
            database,
            "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(60), %(a)s::int",
            {"a": "1"},
        )
    assert _ask(database, SQL, PARAMS) == [ROW]
    ((other,),) = _ask(database, "SELECT pg_backend_pid() WHERE %(a)s::int = 1", {"a": "1"})
    assert other != pid


def test_without_preparing_the_same_is_told(database: Database) -> None:
    database._prepare = None
    for _ in range(2):
        assert _ask(database, SQL, PARAMS) == [ROW]
    assert _names(database) == []


def test_a_client_of_another_encoding_uses_a_cursor(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "PGCLIENTENCODING", "LATIN1")
    with Database(postgres_url, auto_setup=False, pool_max=1) as database:
        assert _ask(database, "SELECT %(a)s::text", {"a": "ä"}) == [("ä",)]
        assert _names(database) == []
