"""`plumbgraph state`, `recover` and `maintain` on real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from typer.testing import CliRunner

from plumbgraph import PlumbSaver
from plumbgraph.cli import console
from plumbgraph.cli.app import app
from plumbgraph.cli.durations import seconds
from plumbgraph.errors import SettingsError

runner = CliRunner()
GRAPH = """
from pathlib import Path
from langgraph.graph import END, START, MessagesState, StateGraph

def one(state):
    return {"messages": [("ai", "one")]}

def fragile(state):
    if not Path("mended").exists():
        raise ValueError("not mended")
    return {"messages": [("ai", "two")]}

graph = StateGraph(MessagesState)
graph.add_node("one", one)
graph.add_node("fragile", fragile)
graph.add_edge(START, "one")
graph.add_edge("one", "fragile")
graph.add_edge("fragile", END)
"""


@pytest.fixture
def saver(
    postgres_url: str,
    redis_url: str,
    schema: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[PlumbSaver]:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PLUMBGRAPH_REDIS_URL", redis_url)
    monkeypatch.setenv("PLUMBGRAPH_SCHEMA", schema)
    monkeypatch.setenv("PLUMBGRAPH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(GRAPH)
    with PlumbSaver(postgres_url, schema=schema) as made:
        yield made


def graph(saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    for number in range(4):
        builder.add_node(f"n{number}", lambda _: {"messages": [("ai", "x" * 500)]})
        builder.add_edge(f"n{number - 1}" if number else START, f"n{number}")
    builder.add_edge("n3", END)
    return builder.compile(checkpointer=saver)


def fill(saver: Any, *threads: str) -> None:
    for thread in threads:
        graph(saver).invoke({"messages": ["go"]}, {"configurable": {"thread_id": thread}})


def count(saver: Any, thread: str) -> int:
    return len(list(saver.list({"configurable": {"thread_id": thread}})))


def told(*words: str, code: int = console.OK) -> Any:
    done = runner.invoke(app, [*words, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_sizes_of_tables_and_threads(saver: PlumbSaver) -> None:
    fill(saver, "a", "b")
    found = told("state", "size", "--limit", "1")
    assert len(found["threads"]) == 1
    assert found["threads"][0]["checkpoints"] == 6
    assert found["table_bytes"]["checkpoint"] > 0
    shown = runner.invoke(app, ["state", "size"]).stdout
    assert "checkpoints" in shown


def test_named_threads_keep_their_latest_checkpoint(saver: PlumbSaver) -> None:
    fill(saver, "a", "b")
    told("state", "prune", "a")
    assert (count(saver, "a"), count(saver, "b")) == (1, 6)
    state = graph(saver).get_state({"configurable": {"thread_id": "a"}})
    assert len(state.values["messages"]) == 5


def test_rules_prune_all_threads_and_can_be_tried(saver: PlumbSaver) -> None:
    fill(saver, "a", "b")
    tried = told("state", "prune", "--keep-last", "2", "--dry-run")
    assert tried["checkpoints_removed"] == 8
    assert count(saver, "a") == 6
    assert told("state", "prune", "--keep-last", "2")["checkpoints_removed"] == 8
    assert (count(saver, "a"), count(saver, "b")) == (2, 2)
    assert told("state", "prune", "--ttl", "0s")["threads_removed"] == ["a", "b"]
    mixed = told("state", "prune", "a", "--keep-last", "2", code=console.USAGE)
    assert "rules are for all threads" in mixed["error"]["message"]


def test_threads_go_out_to_postgres_saver_and_come_in_from_it(
    saver: PlumbSaver, postgres_url: str, old_tables: None
) -> None:
    fill(saver, "out")
    assert told("state", "export", "out", "--to", postgres_url)["checkpoints"] == 6
    with PostgresSaver.from_conn_string(postgres_url) as legacy:
        assert len(list(legacy.list({"configurable": {"thread_id": "out"}}))) == 6
        fill(legacy, "in")
    report = told("state", "import", "--dry-run")
    assert report["threads"]["in"] == 6
    told("state", "import")
    state = graph(saver).get_state({"configurable": {"thread_id": "in"}})
    assert len(state.values["messages"]) == 5
    assert told("state", "export", "--all", "--to", postgres_url)["threads"] == ["in", "out"]
    told("state", "export", "--to", postgres_url, code=console.USAGE)
    missing = told("state", "export", "nobody", "--to", postgres_url, code=console.NOT_FOUND)
    assert "nobody" in missing["error"]["message"]


def test_recover_finds_each_threads_graph_and_ends_it(saver: PlumbSaver, tmp_path: Path) -> None:
    assert told("recover") == []
    failed = runner.invoke(app, ["run", "app.py:graph", '{"messages": ["go"]}', "--thread", "t"])
    assert failed.exit_code == console.FAILED
    assert told("recover") == []
    again = told("recover", "--idle", "0s", code=console.FAILED)
    assert [(each["thread_id"], each["outcome"]) for each in again] == [("t", "failed")]
    assert "not mended" in again[0]["error"]
    (tmp_path / "mended").touch()
    with saver._core.db as database:
        from plumbgraph.postgres.pool import Statement

        database.send((Statement("UPDATE {schema}.thread SET retry_at = NULL"),))
    assert [each["outcome"] for each in told("recover")] == ["finished"]


def test_recover_leaves_a_thread_whose_graph_nobody_names(saver: PlumbSaver) -> None:
    saver.accept("stranger", {"messages": ["go"]})
    saver._core.db.send(
        (_sql("UPDATE {schema}.accepted SET accepted_at = accepted_at - interval '1 minute'"),)
    )
    assert [each["outcome"] for each in told("recover")] == ["unknown graph"]
    Path("mended").touch()
    found = told("recover", "app.py:graph")
    assert [each["outcome"] for each in found] == ["finished"]
    assert saver.run_status("stranger").next == ()


def _sql(text: str) -> Any:
    from plumbgraph.postgres.pool import Statement

    return Statement(text)


def test_maintain_removes_old_threads_with_all_they_left(saver: PlumbSaver) -> None:
    fill(saver, "a")
    tried = told("maintain", "--ttl", "0s", "--dry-run")
    assert tried == {"threads_removed": 1, "checkpoints_removed": 0, "leases_freed": 0}
    done = told("maintain", "--ttl", "0s", "--grace", "2m")
    assert done["threads_removed"] == 1
    assert saver.threads() == []
    assert told("maintain")["threads_removed"] == 0


def test_spans_of_time() -> None:
    assert [seconds(text) for text in ("90", "1.5s", "5m", "2h", "30d", "1w")] == [
        90,
        1.5,
        300,
        7200,
        2_592_000,
        604_800,
    ]
    with pytest.raises(SettingsError, match="no span"):
        seconds("soon")
    clash = told("recover", "--once", "--every", "1s", code=console.USAGE)
    assert "exclude" in clash["error"]["message"]
