"""What gc keeps and lets go: of threads, of folders, beside running agents."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from plumbgraph.agents.workspace import SaverThreads, WorkspaceNode, WorkspaceState
from plumbgraph.clock import SYSTEM, HandClock
from plumbgraph.content import FolderBlobs, Ref
from plumbgraph.errors import BlobMissing
from plumbgraph.workspace import Workspace
from plumbgraph.workspace.retention import rests_on_all, unneeded


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


def test_what_checkpoints_name_is_kept_and_the_rest_goes(
    tmp_path: Path,
) -> None:
    clock = HandClock(SYSTEM.now())
    blobs = FolderBlobs(tmp_path / "blobs", clock=clock)
    workspace = Workspace(tmp_path / "{thread_id}", blobs=blobs, clock=clock)
    saver = InMemorySaver()
    graph = agent(workspace, saver)
    kept = [graph.invoke({}, config("kept")) for _ in range(3)][-1]
    gone = graph.invoke({}, config("gone"))
    saver.delete_thread("gone")
    threads = SaverThreads(saver)
    assert workspace.gc(threads, grace_s=3600).deleted == 0, "all of it was used just now"
    clock.advance(7200)
    done = workspace.gc(threads, grace_s=3600)
    assert done.deleted > 0
    history = [s.values["workspace"] for s in graph.get_state_history(config("kept"))]
    for reference in [kept["workspace"], *(r for r in history if r)]:
        for path, entry in workspace.entries(reference).items():
            assert entry.size == len(workspace.read(reference, path))
    with pytest.raises(BlobMissing):
        Workspace(tmp_path / "x", blobs=blobs).entries(gone["workspace"])
    clock.advance(30 * 86_400)
    assert workspace.gc(threads, grace_s=3600, idle_s=14 * 86_400).kept == 0


async def test_gc_async(tmp_path: Path) -> None:
    clock = HandClock(SYSTEM.now())
    blobs = FolderBlobs(tmp_path / "blobs", clock=clock)
    workspace = Workspace(tmp_path / "work", blobs=blobs, clock=clock)
    saver = InMemorySaver()
    await agent(workspace, saver).ainvoke({}, config("t"))
    clock.advance(7200)
    before = await workspace.agc(SaverThreads(saver), grace_s=3600)
    await saver.adelete_thread("t")
    after = await workspace.agc(SaverThreads(saver), grace_s=3600)
    assert before.kept > 0
    assert after.kept == 0


def test_a_running_agent_is_safe_from_gc(tmp_path: Path) -> None:
    """Between a snapshot and its checkpoint nothing names the step but its reference."""
    clock = HandClock(SYSTEM.now())
    blobs = FolderBlobs(tmp_path / "blobs", clock=clock)
    workspace = Workspace(tmp_path / "work", blobs=blobs, clock=clock)
    saver = InMemorySaver()

    class Slow(InMemorySaver):
        def put(self, *args: Any, **kwargs: Any) -> Any:
            clock.advance(1800)
            workspace.gc(SaverThreads(saver), grace_s=3600)
            return saver.put(*args, **kwargs)

        def put_writes(self, *args: Any, **kwargs: Any) -> None:
            saver.put_writes(*args, **kwargs)

        def get_tuple(self, *args: Any, **kwargs: Any) -> Any:
            return saver.get_tuple(*args, **kwargs)

    graph = agent(workspace, Slow())
    for _ in range(5):
        state = graph.invoke({}, config("t"))
    Workspace(tmp_path / "copy", blobs=blobs).restore(state["workspace"])
    assert len(list((tmp_path / "copy").iterdir())) == 5


def test_which_references_are_unneeded() -> None:
    now = 10_000.0
    refs = [
        Ref("thread:a", "1" * 64, now - 5000),
        Ref("thread:a", "2" * 64, now - 5000),
        Ref("thread:a", "3" * 64, now - 10),
        Ref("initial:a", "4" * 64, now - 5000),
        Ref("thread:b", "5" * 64, now - 5000),
        Ref("initial:b", "6" * 64, now - 5000),
        Ref("folder:/x", "7" * 64, now - 5000),
    ]
    steps = {"a": {"1" * 64}, "b": None}
    dropped = {ref.digest[0] for ref in unneeded(refs, steps, now, 1000)}
    assert dropped == {"2", "5", "6"}
    assert {r.digest[0] for r in unneeded(refs, steps, now, 1000, 4000)} == {"2", "5", "6", "7"}
    idle = [ref for ref in refs if ref.digest[0] != "3"]
    assert {r.digest[0] for r in unneeded(idle, steps, now, 1000, 4000)} == set("124567")


def test_which_references_of_folders_are_unneeded() -> None:
    now, day = 100 * 86_400.0, 86_400.0
    refs = [
        Ref("folder:/x", "1" * 64, now - 80 * day),
        Ref("folder:/x", "2" * 64, now - 20 * day),
        Ref("visit:/x", "3" * 64, now - 60 * day),
        Ref("visit:/x", "4" * 64, now - 20 * day),
        Ref("visit:/x", "5" * 64, now - 30 * day),
        Ref("visit:/y", "6" * 64, now - 50 * day),
        Ref("visit:/y", "7" * 64, now - day),
        Ref("shared:report:7", "8" * 64, now - 80 * day),
        Ref("thread:a", "9" * 64, now - 80 * day),
    ]
    steps = {"a": {"9" * 64}, "b": {"5" * 64}, "c": None}

    def gone(idle_s: float | None = None) -> str:
        return "".join(sorted(r.digest[0] for r in unneeded(refs, steps, now, day, idle_s)))

    assert gone() == "36", "what a thread's state names stays, and the newest of a folder"
    assert gone(70 * day) == "1369"
    assert gone(25 * day) == "1369"
    assert gone(15 * day) == "123469"
    assert rests_on_all(refs, now, day)
    assert not rests_on_all([refs[1], refs[7], refs[8]], now, day)


def test_what_was_kept_by_hand_goes_when_told(tmp_path: Path) -> None:
    clock = HandClock(SYSTEM.now())
    blobs = FolderBlobs(tmp_path / "blobs", clock=clock)
    workspace = Workspace(tmp_path / "work", blobs=blobs, clock=clock)
    threads = SaverThreads(InMemorySaver())
    (tmp_path / "work").mkdir()
    found = []
    for text in ("one", "two", "three"):
        (tmp_path / "work/a").write_text(text)
        found.append(workspace.snapshot())
    clock.advance(60 * 86_400)
    assert workspace.gc(threads).deleted == 0, "until told, a snapshot by hand stays"
    assert workspace.forget(found[0])
    assert not workspace.forget(found[0])
    assert workspace.gc(threads).deleted == 2, "a tree and a file"
    with pytest.raises(BlobMissing):
        workspace.restore(found[0])
    workspace.restore(found[1])
    assert workspace.forget(found[1])
    clock.advance(10 * 86_400)
    assert workspace.gc(threads).deleted == 0, "it is what the folder holds"
    workspace.restore(found[2])
    clock.advance(15 * 86_400)
    assert workspace.gc(threads).deleted == 2
    assert workspace.gc(threads, idle_s=14 * 86_400).kept == 0


def test_what_a_state_alone_names_is_kept(tmp_path: Path) -> None:
    """A person put a snapshot into a thread that has not run since."""
    clock = HandClock(SYSTEM.now())
    blobs = FolderBlobs(tmp_path / "blobs", clock=clock)
    workspace = Workspace(tmp_path / "work", blobs=blobs, clock=clock)
    saver = InMemorySaver()
    (tmp_path / "work").mkdir()
    (tmp_path / "work/a").write_text("mine")
    manifest = workspace.snapshot()
    graph = agent(workspace, saver)
    graph.update_state(config("quiet"), {"workspace": workspace.reference(manifest)})
    (tmp_path / "work/a").write_text("newer")
    workspace.snapshot()
    clock.advance(60 * 86_400)
    workspace.gc(SaverThreads(saver), idle_s=14 * 86_400)
    assert workspace.read(manifest, "a") == b"mine"
