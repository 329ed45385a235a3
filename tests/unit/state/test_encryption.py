"""Encryption: nothing a user supplied is readable, rows cannot be swapped, keys rotate."""

from __future__ import annotations

import secrets
from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from plumbgraph.errors import DataCorrupt, SettingsError
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import Encryption, PlumbSaver
from plumbgraph.testing.conformance import conformance

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)
KEYS = Encryption({"old": OLD}, "old")
SECRET = "the-secret-phrase"


def _config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def _fill(saver: PlumbSaver, thread: str) -> RunnableConfig:
    messages = [HumanMessage(f"{SECRET} {at} " + "word " * 150, id=str(at)) for at in range(40)]
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"messages": messages, "mail": f"{SECRET}@x"}
    checkpoint["channel_versions"] = {"messages": 1, "mail": 1}
    metadata: Any = {"source": "loop", "step": 1, "user": SECRET, "run_id": "run"}
    head = saver.put(_config(thread), checkpoint, metadata, {"messages": 1, "mail": 1})
    saver.put_writes(head, [("messages", messages[:2]), ("x", SECRET), ("__error__", SECRET)], "t")
    saver.accept(thread, {"messages": SECRET})
    return head


def _send(saver: PlumbSaver, sql: str) -> Any:
    return saver._core.db.send((Statement(sql),))


def test_nothing_is_readable_and_all_comes_back(postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema, encryption=KEYS) as saver:
        _fill(saver, "t")
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE nspname = %s AND relkind = 'r'",
            (schema,),
        ).fetchall()
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{schema}"."{table}"'):
                assert not any(SECRET in str(each) for each in row), table
                assert not any(SECRET.encode() in each for each in row if isinstance(each, bytes))
    with PlumbSaver(postgres_url, schema=schema, encryption=KEYS) as cold:
        found = cold.get_tuple(_config("t"))
        assert found is not None
        assert len(found.checkpoint["channel_values"]["messages"]) == 40
        assert found.metadata["user"] == SECRET  # type: ignore[typeddict-item]
        assert len(found.pending_writes or ()) == 3
        assert len(list(cold.list(None, filter={"user": SECRET}))) == 1
        assert list(cold.list(None, filter={"user": "another"})) == []
        assert cold.run_status("t").accepted == 1
        cold.prune(["t"])
        cold.delete_for_runs(["run"])
        assert cold.get_tuple(_config("t")) is None


def test_rows_cannot_be_swapped(postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema, encryption=KEYS) as saver:
        _fill(saver, "a")
        _fill(saver, "b")
        for table, change in (
            ("checkpoint", "SET body = (SELECT body FROM {schema}.checkpoint LIMIT 1)"),
            ("element", "SET body = (SELECT body FROM {schema}.element LIMIT 1)"),
            ("write", "SET body = overlay(body PLACING '\\x00' FROM 40)"),
        ):
            saved = f"CREATE TABLE {{schema}}.saved_{table} AS TABLE {{schema}}.{table}"
            _send(saver, saved)
            _send(saver, f"UPDATE {{schema}}.{table} {change}")
            cold = PlumbSaver(postgres_url, schema=schema, encryption=KEYS)
            with cold, pytest.raises(DataCorrupt):
                _both(cold)
            _send(saver, f"DELETE FROM {{schema}}.{table}")
            _send(saver, f"INSERT INTO {{schema}}.{table} TABLE {{schema}}.saved_{table}")
        with PlumbSaver(postgres_url, schema=schema, encryption=KEYS) as cold:
            _both(cold)


def _both(saver: PlumbSaver) -> None:
    for thread in ("a", "b"):
        saver.get_tuple(_config(thread))


def test_wrong_and_missing_keys(postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema, encryption=KEYS) as saver:
        _fill(saver, "t")
    for keys, words in (
        (Encryption({"old": NEW}, "old"), "does not open"),
        (Encryption({"new": NEW}, "new"), "'old', which is not given"),
        (None, "is encrypted"),
    ):
        other = PlumbSaver(postgres_url, schema=schema, encryption=keys)
        with other, pytest.raises(DataCorrupt, match=words):
            other.get_tuple(_config("t"))
    with pytest.raises(SettingsError, match="32"):
        Encryption({"short": b"x"}, "short")
    with pytest.raises(SettingsError, match="No key"):
        Encryption({"a": OLD}, "b")
    assert OLD.hex() not in repr(KEYS)
    assert repr(OLD) not in repr(KEYS)


def test_plain_rows_are_refused(postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema) as plain:
        _fill(plain, "t")
    with PlumbSaver(postgres_url, schema=schema, encryption=KEYS) as saver:
        with pytest.raises(DataCorrupt, match="plain text"):
            saver.get_tuple(_config("t"))
        _fill(saver, "u")
        _send(saver, "UPDATE {schema}.checkpoint SET body = '\\x0093c0c0c0'")
        saver._core.forget("default", "u")
        with pytest.raises(DataCorrupt, match="plain text"):
            saver.get_tuple(_config("u"))


def test_keys_rotate(postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema, encryption=KEYS) as saver:
        _fill(saver, "t")
        with pytest.raises(SettingsError):
            PlumbSaver(postgres_url, schema=schema).rotate_keys()
    both = Encryption({"old": OLD, "new": NEW}, "new")
    with PlumbSaver(postgres_url, schema=schema, encryption=both) as saver:
        assert saver.rotate_keys() == 1
        assert saver.rotate_keys() == 0
    only = Encryption({"new": NEW}, "new", index_key=KEYS.tag_key)
    with PlumbSaver(postgres_url, schema=schema, encryption=only) as saver:
        assert saver.get_tuple(_config("t")) is not None
        assert len(list(saver.list(None, filter={"user": SECRET}))) == 1


def test_deleting_shreds_the_key_and_copies_keep_theirs(postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema, encryption=KEYS) as saver:
        _fill(saver, "t")
        saver.copy_thread("t", "copy")
        saver.delete_thread("t")
        rows = _send(saver, "SELECT thread_id, secret IS NULL FROM {schema}.thread ORDER BY 1")[0]
        assert rows == [("copy", False), ("t", True)]
    with PlumbSaver(postgres_url, schema=schema, encryption=KEYS) as cold:
        found = cold.get_tuple(_config("copy"))
        assert found is not None
        assert len(found.checkpoint["channel_values"]["messages"]) == 40


async def test_the_official_suite_passes_encrypted(postgres_url: str, schema: str) -> None:
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def make() -> AsyncIterator[Any]:
        async with PlumbSaver(
            postgres_url, schema=schema, on_stale="fork", encryption=KEYS
        ) as saver:
            yield saver

    found = await conformance(make)
    assert (found.failures, found.passed) == ((), 81)
