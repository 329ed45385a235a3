"""Through Debian's PgBouncer in transaction mode: no session state, prepared or not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from plumbgraph import PlumbSaver
from plumbgraph.postgres.pool import Database, Statement
from plumbgraph.testing.bouncer import pgbouncer

pytestmark = [
    pytest.mark.pgbouncer,
    pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="apt-get install pgbouncer"),
]


@pytest.fixture
def bouncer(postgres_url: str, tmp_path: Path) -> Iterator[str]:
    """URL of a PgBouncer with two server connections, before the test database."""
    with pgbouncer(postgres_url, tmp_path) as url:
        yield url


def test_many_callers_share_two_sessions(bouncer: str, schema: str) -> None:
    events: list[str] = []
    with Database(
        bouncer, schema=schema, pool_max=8, on_event=lambda name, _: events.append(name)
    ) as database:

        def ask(number: int) -> int:
            [[(found,)]] = database.send((Statement("SELECT %s::int + 1", (number,)),))
            both = (Statement("SELECT %s::int", (number,)), Statement("SELECT 2"))
            assert database.send(both) == [[(number,)], [(2,)]]
            return int(found)

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(ask, range(400))) == list(range(1, 401))
    assert set(events) <= {"postgres.prepare_disabled"}


def test_a_graph_runs_through_it(bouncer: str, schema: str) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [("ai", str(len(state["messages"])))]})
    builder.add_edge(START, "answer")
    with PlumbSaver(bouncer, schema=schema, pool_max=6) as saver:
        graph: Any = builder.compile(checkpointer=saver)

        def talk(thread: int) -> str:
            config = {"configurable": {"thread_id": f"t{thread}"}}
            for _ in range(5):
                said = graph.invoke({"messages": ["hi"]}, config)
            return str(said["messages"][-1].content)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(talk, range(24))) == ["9"] * 24


async def test_async_runs_through_it(bouncer: str, schema: str) -> None:
    async with Database(bouncer, schema=schema) as database:
        for number in range(20):
            assert await database.asend((Statement("SELECT %s::int", (number,)),)) == [[(number,)]]


def test_no_client_runs_a_statement_that_another_prepared(bouncer: str, schema: str) -> None:
    """Psycopg numbers prepared statements per connection: alike names, unlike statements."""
    events: list[str] = []
    many = [
        Database(bouncer, schema=schema, on_event=lambda name, _: events.append(name))
        for _ in range(4)
    ]

    def ask(number: int) -> tuple[int, int]:
        mine = number % len(many)
        sql = f"SELECT %s::int + {mine * 1000}"
        [[(found,)]] = many[mine].send((Statement(sql, (number,), binary=True),))
        return int(found), number + mine * 1000

    with ThreadPoolExecutor(8) as pool:
        assert [found == wanted for found, wanted in pool.map(ask, range(400))] == [True] * 400
    for each in many:
        each.close()
    assert set(events) == {"postgres.prepare_disabled"}
