"""Keeping, collecting, handing on: what stays and what goes."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from plumbgraph.agents.workspace import SaverThreads, WorkspaceNode, WorkspaceState
from plumbgraph.clock import SYSTEM, HandClock
from plumbgraph.content import FolderBlobs, PostgresBlobs, digest_of
from plumbgraph.errors import BlobMissing, ClaimLost, SettingsError, ThreadBusy
from plumbgraph.postgres.migrate import known
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import SqlPlan
from plumbgraph.workspace import SharedWorkspace, Workspace


@pytest.fixture
def database(postgres_url: str, schema: str) -> Iterator[Database]:
    with Database(postgres_url, schema=schema) as database:
        yield database


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def agent(workspace: Workspace, saver: Any) -> Any:
    def node(state: Any) -> None:
        folder = Workspace.current().folder
        (folder / f"f{len(list(folder.iterdir()))}").write_text(f"{folder} {os.urandom(4).hex()}")

    graph: Any = StateGraph(WorkspaceState)
    graph.add_node("node", WorkspaceNode(node, workspace=workspace))
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile(checkpointer=saver)


def test_a_copy_can_be_looked_at(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    (folder / "a").write_text("a")
    manifest = workspace.snapshot()
    (folder / "a").write_text("b")
    workspace.export(manifest, tmp_path / "copy", read_only=True)
    assert (tmp_path / "copy/a").read_text() == "a"
    assert not stat.S_IMODE((tmp_path / "copy/a").stat().st_mode) & 0o222
    assert not (tmp_path / ".copy.plumbgraph").exists()
    with pytest.raises(SettingsError, match="not empty"):
        workspace.export(manifest, tmp_path / "copy")


async def test_a_copy_async(workspace: Workspace, tmp_path: Path) -> None:
    manifest = await workspace.asnapshot()
    assert (await workspace.aexport(manifest, tmp_path / "copy")).digest == manifest.digest


def test_a_head_survives_gc_and_what_came_before_it_goes(
    database: Database, tmp_path: Path
) -> None:
    clock = HandClock(SYSTEM.now())
    blobs = FolderBlobs(tmp_path / "blobs", clock=clock)
    shared = SharedWorkspace(database, "report")
    for number in range(5):
        mine = Workspace(tmp_path / str(number), blobs=blobs, clock=clock)
        with shared.attach(mine, owner=str(number)):
            (mine.folder / "a").write_text(str(number))
    clock.advance(60 * 86_400)
    look = Workspace(tmp_path / "look", blobs=blobs, clock=clock)
    look.gc(SaverThreads(InMemorySaver()), idle_s=14 * 86_400)
    head = shared.head()
    assert head is not None
    assert look.read(head, "a") == b"4"
    texts = {text for text in map(str, range(5)) if not blobs.missing([digest_of(text.encode())])}
    assert texts == {"3", "4"}, "the head, and what the last claim began with"


def test_a_head_of_the_first_release_is_kept(
    database: Database, postgres_url: str, schema: str, tmp_path: Path
) -> None:
    shared = SharedWorkspace(database, "report")
    mine = Workspace(tmp_path / "mine", blobs=PostgresBlobs(database))
    with shared.attach(mine, owner="one"):
        (mine.folder / "a").write_text("a")
    step = next(each for each in known() if each.name == "shared_refs")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'DELETE FROM "{schema}".blob_refs')
        connection.execute(step.sql.replace("{schema}", f'"{schema}"'))
    (ref,) = mine.blobs.refs()
    assert (ref.owner, ref.digest) == ("shared:report:1", shared.head())


def test_agents_hand_a_workspace_on(database: Database, tmp_path: Path) -> None:
    blobs = PostgresBlobs(database)
    shared = SharedWorkspace(database, "report")
    one, two = Workspace(tmp_path / "1", blobs=blobs), Workspace(tmp_path / "2", blobs=blobs)
    assert shared.head() is None
    with shared.attach(one, owner="writer") as files:
        assert Workspace.current() is files
        (files.folder / "draft").write_text("first")
        with pytest.raises(ThreadBusy, match="writer"), shared.attach(two, owner="reviewer"):
            pass
    with shared.attach(two, owner="reviewer") as files:
        assert (files.folder / "draft").read_text() == "first"
        (files.folder / "draft").write_text("second")
    head = shared.head()
    assert head is not None
    assert two.read(head, "draft") == b"second"


async def test_agents_hand_a_workspace_on_async(database: Database, tmp_path: Path) -> None:
    blobs = PostgresBlobs(database)
    shared = SharedWorkspace(database, "report")
    async with shared.aattach(Workspace(tmp_path / "1", blobs=blobs), owner="a"):
        pass
    assert await shared.ahead() is not None
    async with shared.aattach(Workspace(tmp_path / "2", blobs=blobs), owner="b") as second:
        assert (await second.astatus()).digest == await shared.ahead()


def test_work_that_failed_is_not_handed_on(database: Database, tmp_path: Path) -> None:
    shared = SharedWorkspace(database, "report")
    workspace = Workspace(tmp_path / "1", blobs=PostgresBlobs(database))
    with pytest.raises(ValueError, match="no"), shared.attach(workspace, owner="a"):
        raise ValueError("no")
    assert shared.head() is None
    with shared.attach(workspace, owner="b"):
        pass


def test_whoever_lost_the_claim_saves_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late one's process was stopped for a while, as a paused machine's is."""
    stopped = threading.Event()
    renew = SharedWorkspace._renew

    def unless_stopped(self: SharedWorkspace, *told: Any) -> SqlPlan[None]:
        if not stopped.is_set():
            yield from renew(self, *told)

    monkeypatch.setattr(SharedWorkspace, "_renew", unless_stopped)
    blobs = PostgresBlobs(database)
    shared = SharedWorkspace(database, "report")
    late, quick = Workspace(tmp_path / "1", blobs=blobs), Workspace(tmp_path / "2", blobs=blobs)

    def overtaken() -> None:
        with shared.attach(late, owner="late", lease_s=0.03) as files:
            (files.folder / "x").write_text("late")
            stopped.set()
            time.sleep(0.1)
            with shared.attach(quick, owner="quick") as theirs:
                (theirs.folder / "x").write_text("quick")

    with pytest.raises(ClaimLost):
        overtaken()
    head = shared.head()
    assert head is not None
    assert quick.read(head, "x") == b"quick"


def test_a_claim_lives_for_as_long_as_the_work(database: Database, tmp_path: Path) -> None:
    blobs = PostgresBlobs(database)
    shared = SharedWorkspace(database, "report")
    one, two = Workspace(tmp_path / "1", blobs=blobs), Workspace(tmp_path / "2", blobs=blobs)
    until = time.monotonic() + 2.5
    with shared.attach(one, owner="one", lease_s=1.5) as files:
        (files.folder / "x").write_text("one")
        while time.monotonic() < until:
            with pytest.raises(ThreadBusy), shared.attach(two, owner="two"):
                pass
            time.sleep(0.05)
    with shared.attach(two, owner="two") as files:
        assert (files.folder / "x").read_text() == "one"


async def test_a_claim_lives_async(database: Database, tmp_path: Path) -> None:
    blobs = PostgresBlobs(database)
    shared = SharedWorkspace(database, "report")
    one, two = Workspace(tmp_path / "1", blobs=blobs), Workspace(tmp_path / "2", blobs=blobs)
    async with shared.aattach(one, owner="one", lease_s=1.5):
        await asyncio.sleep(2)
        with pytest.raises(ThreadBusy):
            async with shared.aattach(two, owner="two"):
                pass
    async with shared.aattach(two, owner="two"):
        pass


def test_any_manifest_can_be_attached_to_for_reading(
    workspace: Workspace, folder: Path, blobs: FolderBlobs
) -> None:
    """Beside whoever works in the folder, and however its writer's process ends."""
    (folder / "sub").mkdir()
    (folder / "sub/a").write_text("old")
    old = workspace.snapshot()
    (folder / "sub/a").write_text("new")
    new = workspace.snapshot()
    with workspace.lock.held(1), workspace.at(old) as one, workspace.at(new.digest) as two:
        assert Workspace.current() is two
        assert (one.folder / "sub/a").read_text() == "old"
        assert (two.folder / "sub/a").read_text() == "new"
        assert not stat.S_IMODE((one.folder / "sub/a").stat().st_mode) & 0o222
        assert not stat.S_IMODE((one.folder / "sub").stat().st_mode) & 0o222
        places = [one.folder, two.folder]
    assert not any(place.exists() for place in places)
    assert (folder / "sub/a").read_text() == "new"
    left = folder.parent / ".work.plumbgraph/views/abandoned"
    (left / "files").mkdir(parents=True)
    (left / "files").chmod(0o500)
    with workspace.at(old), pytest.raises(BlobMissing), workspace.at("0" * 64):
        pass
    assert not left.exists()


async def test_any_manifest_can_be_attached_to_async(workspace: Workspace) -> None:
    manifest = await workspace.asnapshot()
    async with workspace.aat(manifest) as found:
        assert found.folder != workspace.folder
        assert Workspace.current() is found


def test_a_warm_folder_of_a_forgotten_thread_is_stored_again(
    database: Database, tmp_path: Path, postgres_url: str, schema: str
) -> None:
    """A process knows its files unchanged, but their content was collected with a thread."""
    blobs = PostgresBlobs(database)
    workspace = Workspace(tmp_path / "work", blobs=blobs)
    saver = InMemorySaver()
    graph = agent(workspace, saver)
    graph.invoke({}, config("old"))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'TRUNCATE "{schema}".blobs, "{schema}".blob_refs'.encode())
    state = graph.invoke({}, config("new"))
    Workspace(tmp_path / "copy", blobs=blobs).restore(state["workspace"])
    assert len(list((tmp_path / "copy").iterdir())) == 2
