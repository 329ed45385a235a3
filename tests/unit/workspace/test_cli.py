"""`plumbgraph workspace …` and `plumbgraph crashtest` on real servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from typer.testing import CliRunner

from plumbgraph.agents.workspace import WorkspaceNode, WorkspaceState
from plumbgraph.cli.app import app
from plumbgraph.content import PostgresBlobs
from plumbgraph.postgres.pool import Database, Statement
from plumbgraph.state import PlumbSaver
from plumbgraph.workspace import Workspace

RUNNER = CliRunner()


@pytest.fixture
def place(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str, redis_url: str, tmp_path: Path
) -> Path:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PLUMBGRAPH_REDIS_URL", redis_url)
    monkeypatch.setenv("PLUMBGRAPH_HOME", str(tmp_path / "home"))
    with Database(postgres_url) as database:
        workspace = Workspace(tmp_path / "work", blobs=PostgresBlobs(database))

        def node(state: Any) -> None:
            with (Workspace.current().folder / "log").open("a") as log:
                log.write("line\n")

        graph: Any = StateGraph(WorkspaceState)
        graph.add_node("node", WorkspaceNode(node, workspace=workspace))
        graph.add_edge(START, "node")
        graph.add_edge("node", END)
        compiled = graph.compile(checkpointer=PlumbSaver(database))
        thread = tmp_path.name
        for _ in range(2):
            compiled.invoke({}, {"configurable": {"thread_id": thread}})
    return tmp_path


def said(*words: str, code: int = 0) -> Any:
    done = RUNNER.invoke(app, [*words, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if code == 0 else done.output


def test_looking_and_bringing_back(place: Path) -> None:
    thread = place.name
    manifests = [each for each in said("workspace", "ls") if each["owner"] == f"thread:{thread}"]
    assert len(manifests) == 2
    assert said("workspace", "ls", thread) == [{"path": "log", "kind": "file", "bytes": 10}]
    older = next(m["digest"] for m in manifests if m["digest"] != manifests[0]["digest"])
    assert said("workspace", "diff", older, thread) == [{"kind": "modified", "path": "log"}]
    assert said("workspace", "diff", thread, thread) == []
    done = RUNNER.invoke(app, ["workspace", "cat", older[:20], "log"])
    assert done.stdout == "line\n"
    told = said("workspace", "restore", older, str(place / "back"))
    assert (told["written"], told["aside"]) == (1, [])
    assert (place / "back/log").read_text() == "line\n"
    assert said("workspace", "export", thread, str(place / "copy"))["files"] == 1
    said("workspace", "export", thread, str(place / "copy"), code=2)
    assert said("workspace", "gc")["deleted"] == 0


def test_what_does_not_exist_is_named(place: Path) -> None:
    assert "is no thread with files" in said("workspace", "ls", "nobody", code=5)


def test_files_go_with_the_retention_of_their_thread(place: Path, postgres_url: str) -> None:
    """`maintain` removes an idle thread; then its files go, and a shared block of others stays."""
    thread = place.name
    with Database(postgres_url) as database:
        kept = Workspace(place / "kept", blobs=PostgresBlobs(database))
        kept.folder.mkdir()
        (kept.folder / "log").write_text("line\n")
        manifest = kept.snapshot()
        long_ago = "touched_at - interval '1 hour'"
        for table in ("blobs", "blob_refs"):
            sql = f"UPDATE {{schema}}.{table} SET touched_at = {long_ago}"
            database.send((Statement(sql),))
        done = said("maintain", "--ttl", "0s", "--grace", "2m")
        assert done["threads_removed"] >= 1
        assert done["files_deleted"] > 0
        owners = {ref.owner for ref in kept.blobs.refs()}
        assert f"thread:{thread}" not in owners
        assert kept.read(manifest, "log") == b"line\n"


def test_crashtest_gives_a_verdict(place: Path, postgres_url: str) -> None:
    words = ["crashtest", "plumbgraph.testing.crash.sample:chain", "--kills", "1"]
    given = ["--input", '{"messages": [["user", "work"]]}', "--points", "after-effect"]
    told = said(*words, *given, "--database", postgres_url)
    assert told["verdict"] == "sound"
    assert told["kills"] >= 1


@pytest.mark.parametrize(
    "words",
    [
        ["nothing:here"],
        ["no-colon"],
        ["missing.py:graph"],
        ["json:loads", "--points", "nowhere"],
        ["json:loads", "--durability", "maybe"],
        ["json:loads", "--input", "{"],
    ],
)
def test_crashtest_refuses_nonsense(words: list[str], postgres_url: str) -> None:
    done = RUNNER.invoke(app, ["crashtest", *words, "--database", postgres_url])
    assert done.exit_code != 0
    assert "Traceback" not in done.output
