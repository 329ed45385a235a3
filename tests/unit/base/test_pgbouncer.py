"""Through Debian's PgBouncer in transaction mode: no session state, prepared or not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.graph import START, MessagesState, StateGraph
from psycopg.conninfo import conninfo_to_dict

from plumbgraph import PlumbSaver
from plumbgraph.postgres.pool import Database, Statement

pytestmark = [
    pytest.mark.pgbouncer,
    pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="apt-get install pgbouncer"),
]


@pytest.fixture
def bouncer(postgres_url: str, tmp_path: Path) -> Iterator[str]:
    """URL of a PgBouncer with two server connections, before the test database."""
    parts = conninfo_to_dict(postgres_url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user, name = parts.get("user") or "postgres", parts["dbname"]
    (tmp_path / "users").write_text(f'"{user}" ""\n')
    host = f"host={parts['host']} port={parts.get('port') or 5432}"
    (tmp_path / "ini").write_text(
        f"[databases]\n{name} = {host} dbname={name} user={user}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {tmp_path / 'users'}\npool_mode = transaction\ndefault_pool_size = 2\n"
        f"max_client_conn = 100\nlogfile = {tmp_path / 'log'}\n"
    )
    command = [shutil.which("pgbouncer") or "", str(tmp_path / "ini")]
    if os.getuid() == 0:  # PgBouncer refuses to run as root
        command = ["unshare", "--user", "--map-user=1000", *command]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"postgresql://{user}@127.0.0.1:{port}/{name}"
    try:
        _wait(url, tmp_path / "log")
        yield url
    finally:
        child.terminate()
        child.wait(10)


def _wait(url: str, log: Path) -> None:
    for _ in range(100):
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(log.read_text() if log.exists() else "pgbouncer did not start")


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
