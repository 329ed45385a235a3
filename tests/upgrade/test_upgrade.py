"""A database as the first release left it, opened by this one: upgraded, and all of it readable."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from plumbgraph import Workspace, create_agent
from plumbgraph.content import PostgresBlobs
from plumbgraph.errors import SchemaMismatch
from plumbgraph.postgres import migrate
from plumbgraph.postgres.pool import Database
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.timeline import JournalSource

HERE = Path(__file__).parent
FINISHED: Any = {"configurable": {"thread_id": "finished"}}
WAITING: Any = {"configurable": {"thread_id": "waiting"}}
SHAPE = """
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = %s ORDER BY 1, 2"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = %s ORDER BY 1"


def load() -> Any:
    spec = spec_from_file_location("make_dump", HERE / "make_dump.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def old(postgres_url: str, schema: str) -> str:
    """The first release's database, in a schema of this test's own."""
    dump = (HERE / "first.sql").read_text()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            dump.replace("first.", f"{schema}.").replace("SCHEMA first;", f"SCHEMA {schema};")
        )
    return schema


@pytest.fixture
def saver(postgres_url: str, old: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=old) as made:
        yield made


def test_a_finished_thread_is_all_there_and_goes_on(saver: PlumbSaver, tmp_path: Path) -> None:
    module = load()
    (tmp_path / "skills" / "noting").mkdir(parents=True)
    (tmp_path / "skills" / "noting" / "SKILL.md").write_text(module.SKILL)
    desk = Workspace(tmp_path / "desk", blobs=PostgresBlobs(saver.database))
    model = ScriptedChatModel([call("note", name="b.txt", text="new"), "went on"])
    agent = create_agent(
        model,
        [module.note, module.send],
        workspace=desk,
        skills=str(tmp_path / "skills"),
        checkpointer=saver,
    )
    values = agent.get_state(FINISHED).values
    said = [m.text for m in values["messages"] if isinstance(m, AIMessage)]
    assert said[-2:] == ["done", "still here"]
    assert "told hello" in [m.text for m in values["messages"] if isinstance(m, ToolMessage)]
    assert not values["skills"]["noting"].get("gone")
    history = list(agent.get_state_history(FINISHED))
    assert len(history) > 10
    assert all(state.values is not None for state in history)
    agent.invoke({"messages": [("user", "Go on.")]}, FINISHED)
    assert "Be brief." in str(model.calls[0].messages[0].text)
    assert {f.name: f.read_text() for f in desk.folder.iterdir()} == {
        "a.txt": "two",
        "b.txt": "new",
    }


def test_an_early_state_can_still_be_gone_back_to(saver: PlumbSaver, tmp_path: Path) -> None:
    desk = Workspace(tmp_path / "desk", blobs=PostgresBlobs(saver.database))
    early = [
        found.checkpoint["channel_values"]["workspace"]
        for found in saver.list(FINISHED)
        if "workspace" in found.checkpoint["channel_values"]
    ]
    desk.restore(early[-1])
    assert (desk.folder / "a.txt").read_text() == "one"


def test_what_was_done_outside_is_known_and_not_done_again(saver: PlumbSaver) -> None:
    found = JournalSource(saver.database).read("finished").effects
    assert [(each.name, each.state) for each in found] == [("send", "done")]


def test_a_waiting_thread_gets_its_answer(saver: PlumbSaver) -> None:
    module = load()
    agent = create_agent(ScriptedChatModel(["thanks"]), [module.ask], checkpointer=saver)
    state = agent.get_state(WAITING)
    assert [each.value for task in state.tasks for each in task.interrupts] == ["red?"]
    done = agent.invoke(Command(resume="blue"), WAITING)
    assert [m.text for m in done["messages"]][-2:] == ["they say blue", "thanks"]


def test_the_upgraded_schema_is_the_fresh_one(saver: PlumbSaver, postgres_url: str) -> None:
    fresh = f"{saver.database.schema}_f"
    with Database(postgres_url, schema=fresh) as database:
        database.setup()
    saver.setup()
    with psycopg.connect(postgres_url) as connection:
        for query in (SHAPE, INDEXES):
            told = [
                [tuple(str(cell).replace(name, "s") for cell in row) for row in rows]
                for name in (fresh, saver.database.schema)
                for rows in [connection.execute(query, (name,)).fetchall()]
            ]
            assert told[0] == told[1]
        connection.execute(f"DROP SCHEMA {fresh} CASCADE")


def test_migrations_that_were_released_never_change(postgres_url: str, old: str) -> None:
    """Whoever applied them would never get the change: a new number is due instead."""
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(f"SELECT number, name FROM {old}.migrations").fetchall()
    known = {step.number: step.name for step in migrate.known()}
    assert {number: known[number] for number, _ in rows} == dict(rows)


def test_a_database_that_stopped_at_the_first_migration_gets_the_rest(
    postgres_url: str, schema: str
) -> None:
    first = migrate.known()[:1]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(migrate.script(schema, first))
    with PlumbSaver(postgres_url, schema=schema) as saver:
        agent = create_agent(ScriptedChatModel(["hi"]), checkpointer=saver)
        assert agent.invoke({"messages": ["x"]}, FINISHED)["messages"][-1].text == "hi"
        assert JournalSource(saver.database).read("finished").effects == ()
        assert PostgresBlobs(saver.database).missing(["0" * 64]) == {"0" * 64}


def test_a_release_older_than_the_database_refuses_to_write(
    postgres_url: str, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"INSERT INTO {old}.migrations (number, name) VALUES (9999, 'later')")
    with PlumbSaver(postgres_url, schema=old) as saver, pytest.raises(SchemaMismatch, match="9999"):
        saver.get_tuple(FINISHED)


def test_without_the_right_to_migrate_the_older_schema_is_served(
    postgres_url: str, old: str
) -> None:
    """`auto_setup=False` reads and writes what the first release left, until somebody migrates."""
    with PlumbSaver(postgres_url, schema=old, auto_setup=False) as saver:
        assert saver.get_tuple(WAITING) is not None
        agent = create_agent(ScriptedChatModel(["more"]), checkpointer=saver)
        done = agent.invoke({"messages": ["x"]}, {"configurable": {"thread_id": "new"}})
        assert done["messages"][-1].text == "more"
