"""Upgrades: from the very first schema, with workers of the old version beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.graph import START, MessagesState, StateGraph

from plumbgraph import PlumbSaver
from plumbgraph.errors import SchemaMismatch
from plumbgraph.postgres.migrate import known, missing, script
from plumbgraph.postgres.pool import Database

ADA: Any = {"configurable": {"thread_id": "ada"}}


def graph_with(saver: PlumbSaver) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [("ai", str(len(state["messages"])))]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


def said(saver: PlumbSaver) -> str:
    done = graph_with(saver).invoke({"messages": ["hi"]}, ADA)
    return str(done["messages"][-1].content)


@pytest.fixture
def first(postgres_url: str, schema: str) -> str:
    """A database of the first schema alone, with a thread in it."""
    with psycopg.connect(postgres_url, autocommit=True) as link:
        link.execute(script(schema, known()[:1]))
    with PlumbSaver(postgres_url, schema=schema, auto_setup=False) as saver:
        assert said(saver) == "1"
    return postgres_url


def test_a_database_of_the_first_schema_is_upgraded_with_its_threads(
    first: str, schema: str, tmp_path: Path, redis_url: str, office: Any
) -> None:
    with Database(first, schema=schema, auto_setup=False) as database:
        lacking = database.run(missing(schema))
        assert lacking == known()[1:]
        database.setup()
        assert database.run(missing(schema)) == ()
    with PlumbSaver(first, schema=schema) as saver:
        assert said(saver) == "3"
        history = list(graph_with(saver).get_state_history(ADA))
        assert len(history[-1].values.get("messages", [])) == 0
    at_work = office(first, redis_url, tmp_path, schema=schema)
    at_work.publish(tmp_path)
    assert at_work.begin("with-every-part")["__interrupt__"]


def test_old_workers_go_on_while_and_after_the_schema_is_upgraded(first: str, schema: str) -> None:
    with PlumbSaver(first, schema=schema, auto_setup=False) as old:
        assert said(old) == "3"
        with PlumbSaver(first, schema=schema) as new:
            assert said(new) == "5"
            assert said(old) == "7"
            assert said(new) == "9"


def test_each_step_of_the_way_is_the_same_as_all_at_once(postgres_url: str, schema: str) -> None:
    stepwise, at_once = f"{schema}_a", f"{schema}_b"
    with psycopg.connect(postgres_url, autocommit=True) as link:
        for number in range(1, len(known()) + 1):
            link.execute(script(stepwise, known()[:number]))
        link.execute(script(at_once))
        columns = [
            link.execute(
                "SELECT table_name, column_name, data_type, is_nullable FROM "
                "information_schema.columns WHERE table_schema = %s ORDER BY 1, 2",
                (each,),
            ).fetchall()
            for each in (stepwise, at_once)
        ]
    assert columns[0] == columns[1] != []


def test_a_schema_of_a_newer_version(postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema) as running:
        assert said(running) == "1"
        with psycopg.connect(postgres_url, autocommit=True) as link:
            link.execute(f"INSERT INTO {schema}.migrations (number, name) VALUES (9999, 'later')")
        assert said(running) == "3", "a worker that runs goes on"
    with PlumbSaver(postgres_url, schema=schema) as started, pytest.raises(SchemaMismatch) as told:
        said(started)
    assert "9999" in str(told.value)
    with PlumbSaver(postgres_url, schema=schema, auto_setup=False) as told_not_to_look:
        assert said(told_not_to_look) == "5"
