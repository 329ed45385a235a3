"""`plumbgraph trace` beyond the report: following, comparing forks, examples, replaying uploads."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from typer.testing import CliRunner

from plumbgraph.agents import create_agent
from plumbgraph.cli.app import app
from plumbgraph.testing import (
    ScriptedChatModel,
    call,
    faults_domains,  # noqa: F401 - it registers faults
)
from plumbgraph.testing.faults import FAULTS, Stage, look, scripted
from plumbgraph.testing.ingest import IngestServer
from plumbgraph.tracing import trace
from plumbgraph.tracing.langsmith import LangSmith

runner = CliRunner()
ASK: Any = {"messages": [("user", "is it me@example.com?")]}


DOOMED = """
import sys
from plumbgraph import trace
from plumbgraph.agents import create_agent
from plumbgraph.testing import ScriptedChatModel, call

def wait(q: str) -> str:
    'Wait for ever.'
    return sys.stdin.read()

with trace(path=sys.argv[1]):
    agent = create_agent(ScriptedChatModel([call("wait", q="a"), "done"]), [wait])
    agent.invoke({"messages": [("user", "go")]}, {"configurable": {"thread_id": "t"}})
"""


def told(*words: str, code: int = 0) -> str:
    done = runner.invoke(app, ["trace", *words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def home(
    tmp_path: Path, postgres_url: str, redis_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A home whose settings name the test's servers."""
    for name, value in {
        "HOME": str(tmp_path),
        "POSTGRES_URL": postgres_url,
        "REDIS_URL": redis_url,
        "SCHEMA": schema,
        "LOG": str(tmp_path / "events.jsonl"),
    }.items():
        monkeypatch.setenv(f"PLUMBGRAPH_{name}", value)
    return tmp_path


def test_following_prints_each_event_until_the_run_ends(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    going_on = threading.Event()

    @tool
    def wait(q: str) -> str:
        """Wait until somebody follows."""
        assert going_on.wait(60)
        return q

    def run() -> None:
        model = ScriptedChatModel([call("wait", q="a"), "done"])
        with trace(path=log):
            create_agent(model, [wait]).invoke(ASK, {"configurable": {"thread_id": "t"}})

    running = threading.Thread(target=run)
    running.start()
    while not (log.exists() and "tool.started" in log.read_text()):
        time.sleep(0.01)
    threading.Timer(1.0, going_on.set).start()
    lines = told("t", "--log-only", "--log", str(log), "--follow").splitlines()
    running.join()
    assert lines[0].startswith("running: Running, at step 2 (tools)")
    followed = "\n".join(lines[3:])
    for word in ("wait returned", "tools ended", "model ended", "run.ended done"):
        assert word in followed
    assert "run.started" not in followed


def test_following_as_json_gives_the_events_themselves(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    stage = Stage(tmp_path)
    FAULTS["all_is_well"].play(stage)
    again = threading.Timer(0.8, FAULTS["all_is_well"].play, [Stage(tmp_path)])
    again.start()
    lines = told("t", "--log-only", "--log", str(log), "--follow", "--json").splitlines()
    again.join()
    events = [json.loads(line)["event"] for line in lines if line.startswith('{"v"')]
    assert events[-1] == "run.ended"
    assert "model.ended" in events


def test_following_ends_when_the_process_dies(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    words = [sys.executable, "-c", DOOMED, str(log)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as child:
        while not (log.exists() and "tool.started" in log.read_text()):
            assert child.poll() is None
            time.sleep(0.02)
        threading.Timer(1.0, child.kill).start()
        # Its parent has to take note of its death, as an init process would.
        threading.Thread(target=child.wait).start()
        lines = told("t", "--log-only", "--log", str(log), "--follow").splitlines()
    assert lines[0].startswith("running")
    assert lines[-1] == f"process {child.pid} is gone: the run was cut off"


def test_forks_of_a_thread_are_compared(home: Path, schema: str, postgres_url: str) -> None:
    stage = Stage(home, postgres_url, schema)
    agent: Any = create_agent(
        scripted([call("look", q="a"), "the first end"]), [look], checkpointer=stage.saver
    )
    agent.invoke(ASK, stage.config)
    history = list(agent.get_state_history(stage.config))
    ended, after_tool = history[0].config["configurable"], history[1].config
    fork = agent.update_state(after_tool, {"messages": [AIMessage("another end")]}, as_node="model")
    stage.saver.close()
    found = json.loads(
        told(
            "diff",
            "t",
            "t",
            "--left-checkpoint",
            ended["checkpoint_id"],
            "--right-checkpoint",
            fork["configurable"]["checkpoint_id"],
            "--json",
        )
    )
    assert found["parted_at"] == 3
    assert [each["step"] for each in found["steps"]] == [3]
    assert told("diff", "t", "t").startswith("the same steps in both")
    told("diff", "t", "nobody", code=5)


def test_threads_become_examples_for_the_router_and_whole_runs(
    home: Path, postgres_url: str, schema: str
) -> None:
    stage = Stage(home, postgres_url, schema)
    FAULTS["a_routed_answer_rated_as_bad"].play(stage)
    fine = Stage(home, postgres_url, schema, thread_id="fine")
    fine.ask(fine.agent(["me@example.com is right"]), "is it me@example.com?")
    fine.saver.close()
    stage.saver.close()
    data = home / "examples.jsonl"

    def examples(*words: str) -> list[dict[str, Any]]:
        told("export", *words, "--dataset", str(data))
        assert data.stat().st_mode & 0o077 == 0
        return [json.loads(line) for line in data.read_text().splitlines()]

    (whole,) = examples("fine")
    assert whole["inputs"] == {"question": "is it [email]?"}
    assert whole["outputs"] == {"answer": "[email] is right"}
    assert whole["metadata"]["plumb_verdict"] == "finished"
    routed = examples("t", "--kind", "router")
    assert [each["outputs"] for each in routed] == [
        {"model": "test:small", "score": None},
        {"model": "test:small", "score": 0.0},
    ]
    assert {each["inputs"]["question"] for each in routed} == {"do it"}
    flagged = examples("t", "fine", "--flagged")
    assert [each["metadata"]["plumb_thread_id"] for each in flagged] == ["t"]
    told("export", "t", "--dataset", str(data), "--kind", "poems", code=2)


def test_uploads_that_failed_are_replayed_by_command(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    with IngestServer() as server:
        server.fail(400, times=100)
        with LangSmith(log=log, url=server.url, project="p", wait_s=30) as sink:
            config: Any = {**sink.config, "configurable": {"thread_id": "t"}}
            create_agent(ScriptedChatModel(["done"])).invoke(ASK, config)
        kept = tmp_path / "langsmith-failed"
        failed = told("replay", str(kept), "--url", server.url, code=3)
        assert "failed again" in failed
        server.heal()
        assert "0 failed" in told("replay", str(kept), "--url", server.url)
        assert len(server.roots()) == 1
        assert server.open_roots() == []
    assert "uploads to langsmith failed" in told("t", "--log-only", "--log", str(log))
    told("replay", str(tmp_path / "none"), code=2)
