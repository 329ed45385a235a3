"""The cells of docs/guarantees.md that need no killed process; the others are in test_kills.py."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command
from typing_extensions import Annotated  # noqa: UP035 - evaluated by langgraph at run time

from plumbgraph import servers
from plumbgraph.agents.effects import journal_for
from plumbgraph.agents.workspace import WorkspaceNode, WorkspaceState
from plumbgraph.content import FolderBlobs, PostgresBlobs
from plumbgraph.effects import Journal, effect
from plumbgraph.errors import PlumbError, StoreUnavailable
from plumbgraph.postgres.pool import Database
from plumbgraph.settings import Settings
from plumbgraph.state import PlumbSaver
from plumbgraph.testing.crash import Setting, crashtest
from plumbgraph.workspace import Workspace
from plumbgraph.workspace.files import key_of
from plumbgraph.workspace.index import Index

DURABILITIES = pytest.mark.parametrize("durability", ["sync", "async", "exit"])
T1: Any = {"configurable": {"thread_id": "t1"}}
SAMPLE = "plumbgraph.testing.crash.sample"


class State(WorkspaceState):
    messages: Annotated[list[Any], add_messages]


class Cuttable(Database):
    """A database that can be cut off, for all or for statements that hold a text."""

    cut = ""

    def _send(self, batch: Any) -> Any:
        if self.cut and any(self.cut in statement.sql for statement in batch):
            raise StoreUnavailable("the network is cut")
        return super()._send(batch)


@pytest.fixture
def database(postgres_url: str, schema: str) -> Iterator[Cuttable]:
    with Cuttable(postgres_url, schema=schema) as database:
        yield database


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema) as saver:
        yield saver


def graph_of(node: Any, saver: Any) -> Any:
    graph: Any = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile(checkpointer=saver)


def sending(journal: Journal, sent: list[str]) -> Any:
    @effect
    def send() -> str:
        sent.append("x")
        return "sent"

    return lambda _: {"messages": [AIMessage(str(journal.call(send)))]}


@DURABILITIES
def test_a_kill_under_every_durability(postgres_admin: str, durability: Any) -> None:
    given = {"messages": [["user", "work"]]}
    points = ("before-effect", "effect-recorded", "blobs-stored")
    setting = Setting(
        f"{SAMPLE}:chain",
        postgres_admin,
        given,
        kills=1,
        seed=f"cell-{durability}",
        durability=durability,
        kills_each=1,
        points=points,
    )
    report = crashtest(setting)
    assert report.kills == 1
    assert len(report.reference["ledger"]) == 6, "unharmed, every payment is made"
    assert report.verdict == "sound", report.facts()


@DURABILITIES
def test_a_kill_before_an_effect_asks_nobody(postgres_admin: str, durability: Any) -> None:
    setting = Setting(
        f"{SAMPLE}:chain",
        postgres_admin,
        {"messages": [["user", "work"]]},
        kills=1,
        seed=f"before-{durability}",
        durability=durability,
        kills_each=1,
        points=("before-effect",),
    )
    report = crashtest(setting)
    assert report.kills == 1
    assert report.verdict == "sound", report.facts()
    assert report.total("asked") == 0


def test_power_tears_files_and_the_next_process_repairs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may leave names without content, with the times of the full file."""
    folder, blobs = tmp_path / "work", FolderBlobs(tmp_path / "blobs")
    workspace = Workspace(folder, blobs=blobs)
    folder.mkdir()
    (folder / "a").write_bytes(b"content")
    manifest = workspace.snapshot()
    status = (folder / "a").stat()
    (folder / "a").write_bytes(bytes(7))
    os.utime(folder / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    # No test can set a file's change time back, so what was known of it is carried forward.
    index = Index(workspace.checkout.side / "index", workspace.checkout.rules.name())
    known = index.load()
    assert known is not None
    known.keys["a"] = key_of((folder / "a").stat())
    index.save(replace(known))
    assert Workspace(folder, blobs=blobs).status() == manifest, "times alone tell nothing"
    monkeypatch.setattr("plumbgraph.workspace.index.boot", lambda: "after the power cut")
    Workspace(folder, blobs=blobs).restore(manifest)
    assert (folder / "a").read_bytes() == b"content"


@pytest.fixture(scope="module")
def crashing() -> Iterator[tuple[str, str]]:
    """A server of the module's own, and a command that makes it crash and recover."""
    home = Path(tempfile.mkdtemp(prefix="pgg-"))
    told = Settings.load(home=str(home), postgres_url=None, redis_url=None)
    with servers.up(home, settings=told) as up:
        found = next(one for one in servers.status(home).servers if one.kind == "postgres")
        yield up.postgres_url, f"pkill -9 -P {found.pid} -f writer || true"
    servers.down(home)
    shutil.rmtree(home)


@DURABILITIES
def test_a_server_that_crashes_and_recovers(crashing: tuple[str, str], durability: Any) -> None:
    """PostgreSQL itself, in the midst of the run; a run that fails of it is resumed."""
    url, restart = crashing
    setting = Setting(
        f"{SAMPLE}:chain",
        url,
        {"messages": [["user", "work"]]},
        kills=1,
        seed=f"restart-{durability}",
        durability=durability,
        kills_each=1,
        points=("server-restart",),
        restart=restart,
    )
    report = crashtest(setting)
    assert report.verdict == "sound", report.facts()
    assert report.total("restarts") == 1


@DURABILITIES
def test_the_database_restarts_before_a_snapshot(
    saver: PlumbSaver, database: Cuttable, postgres_url: str, tmp_path: Path, durability: Any
) -> None:
    workspace = Workspace(tmp_path / "work", blobs=PostgresBlobs(database))

    def node(state: Any) -> Any:
        (Workspace.current().folder / "a").write_text("a")
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return {"messages": [AIMessage("x")]}

    graph = graph_of(WorkspaceNode(node, workspace=workspace), saver)
    state = graph.invoke({"messages": []}, T1, durability=durability)
    assert workspace.read(state["workspace"], "a") == b"a"


@DURABILITIES
def test_a_cut_before_an_effect_starts_nothing(
    saver: PlumbSaver, database: Cuttable, durability: Any
) -> None:
    sent: list[str] = []
    graph = graph_of(sending(journal_for(saver, database), sent), saver)
    database.cut = "INSERT INTO {schema}.effects"
    with pytest.raises(StoreUnavailable):
        graph.invoke({"messages": []}, T1, durability=durability)
    assert sent == []
    database.cut = ""
    assert graph.invoke(None, T1, durability=durability)["messages"][-1].content == "sent"
    assert sent == ["x"]


@DURABILITIES
def test_a_cut_while_a_result_is_recorded_is_asked_about(
    saver: PlumbSaver, database: Cuttable, durability: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plumbgraph.effects.once._RETRY_AFTER_S", (0.01, 0.01))
    sent: list[str] = []
    graph = graph_of(sending(journal_for(saver, database), sent), saver)
    database.cut = "SET state = 'done'"
    with pytest.raises(StoreUnavailable):
        graph.invoke({"messages": []}, T1, durability=durability)
    database.cut = ""
    asked = graph.invoke(None, T1, durability=durability)["__interrupt__"][0].value
    assert asked["effects"][0]["name"] == "send"
    graph.invoke(Command(resume="done"), T1, durability=durability)
    assert sent == ["x"]


@DURABILITIES
def test_a_short_cut_while_a_result_is_recorded_is_waited_out(
    saver: PlumbSaver, database: Cuttable, durability: Any
) -> None:
    sent: list[str] = []
    journal = journal_for(saver, database)

    @effect
    def send() -> str:
        sent.append("x")
        database.cut = "SET state = 'done'"
        threading.Timer(0.2, lambda: setattr(database, "cut", "")).start()
        return "sent"

    graph = graph_of(lambda _: {"messages": [AIMessage(journal.call(send))]}, saver)
    done = graph.invoke({"messages": []}, T1, durability=durability)
    assert done["messages"][-1].content == "sent"
    assert sent == ["x"]


@DURABILITIES
def test_a_cut_during_a_snapshot_fails_the_run_and_loses_nothing(
    saver: PlumbSaver, database: Cuttable, tmp_path: Path, durability: Any
) -> None:
    workspace = Workspace(tmp_path / "work", blobs=PostgresBlobs(database))

    def node(state: Any) -> Any:
        with (Workspace.current().folder / "log").open("a") as file:
            file.write("x")
        return {"messages": [AIMessage("x")]}

    graph = graph_of(WorkspaceNode(node, workspace=workspace), saver)
    graph.invoke({"messages": []}, T1, durability=durability)
    database.cut = "INSERT INTO {schema}.blobs"
    with pytest.raises(StoreUnavailable):
        graph.invoke({"messages": []}, T1, durability=durability)
    database.cut = ""
    state = graph.invoke(None, T1, durability=durability)
    assert workspace.read(state["workspace"], "log") == b"xx"
    assert (tmp_path / "work/log").read_text() == "xx"


@DURABILITIES
def test_two_that_resume_at_once_do_no_harm(postgres_admin: str, durability: Any) -> None:
    setting = Setting(
        f"{SAMPLE}:chain",
        postgres_admin,
        {"messages": [["user", "work"]]},
        kills=1,
        seed=f"double-{durability}",
        durability=durability,
        kills_each=1,
        double_resume=True,
        points=("after-effect", "effect-recorded"),
    )
    report = crashtest(setting)
    assert report.kills == 1
    assert report.verdict == "sound", report.facts()


@DURABILITIES
def test_two_that_resume_without_a_claim_do_an_effect_once(
    saver: PlumbSaver, database: Cuttable, durability: Any
) -> None:
    sent: list[str] = []
    fails = [True]
    journal = journal_for(saver, database)
    inner = sending(journal, sent)

    def node(state: Any) -> Any:
        if fails:
            fails.clear()
            raise ValueError
        return inner(state)

    graph = graph_of(node, saver)
    with pytest.raises(ValueError):  # noqa: PT011 - the test's own
        graph.invoke({"messages": []}, T1, durability=durability)
    problems: list[Exception] = []

    def resume() -> None:
        try:
            graph.invoke(None, T1, durability=durability)
        except PlumbError as error:
            problems.append(error)

    threads = [threading.Thread(target=resume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent == ["x"]
    assert len(problems) <= 1


def test_every_cell_of_the_table_names_a_test(root: Path) -> None:
    page = (root / "docs/guarantees.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    table = [row for row in rows if row.startswith("| **")]
    assert len(table) >= 6
    sources = "".join(p.read_text() for p in (root / "tests").rglob("test_*.py"))
    for row in table:
        cells = [cell.strip() for cell in row.strip("| ").split("|")][1:]
        for cell in cells:
            named = re.findall(r"\[(\d+)\]", cell)
            assert named, f"no test for {cell!r}"
            told = [re.search(rf"(?m)^{number}\. `(test_\w+)`", page) for number in named]
            assert all(told), f"a line is missing of {named}"
            tests = [found[1] for found in told if found]
            bodies = [re.search(rf"def {test}\(([^)]*)\)", sources) for test in tests]
            assert all(bodies), f"a test is missing of {tests}"
            assert "power" in row or any("durability" in body[1] for body in bodies if body), cell
