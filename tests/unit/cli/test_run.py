from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plumbgraph import PlumbSaver
from plumbgraph.cli import console
from plumbgraph.cli.app import app
from plumbgraph.cli.steps import answer_of, short
from plumbgraph.tracing import read_log

runner = CliRunner()
GRAPH = """
import os
import time
from pathlib import Path
from typing_extensions import TypedDict
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

class State(TypedDict, total=False):
    n: int
    said: str

class Context(TypedDict, total=False):
    model: str

def mark(name):
    with Path("marks").open("a") as file:
        file.write(name + "\\n")

def one(state):
    mark("one")
    return {"n": state.get("n", 0) + 1}

def ask(state):
    return {"said": str(interrupt({"question": "which?"}))}

def fragile(state):
    mark("fragile")
    if not Path("mended").exists():
        raise ValueError("not mended")
    return {"n": 100}

def slow(state):
    mark("slow")
    time.sleep(0.7)
    return {"n": 5}

def tell(state, runtime):
    return {"said": f"{runtime.context['model']} {os.environ['PLUMBGRAPH_MODEL']}"}

def chain(*nodes, schema=State, **more):
    graph = StateGraph(schema, **more)
    before = START
    for number, node in enumerate(nodes):
        name = f"{node.__name__}{number}"
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    return graph

asking = chain(one, ask)
failing = chain(one, fragile)
long = chain(one, slow, slow, slow)

def hear(state):
    return {"messages": ["heard " + state["messages"][-1].text]}

chat = chain(hear, schema=MessagesState)
loop = chain(one)
loop.add_edge("one0", "one0")
bound = loop.compile().with_config(recursion_limit=7)

from langgraph.runtime import Runtime
tell.__annotations__["runtime"] = Runtime
told = chain(tell, context_schema=Context)
"""


@pytest.fixture
def place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgres_url: str,
    redis_url: str,
    schema: str,
) -> Iterator[Path]:
    (tmp_path / "agent.py").write_text(GRAPH)
    monkeypatch.chdir(tmp_path)
    for name in ("PLUMBGRAPH_MODEL", "PLUMBGRAPH_WORKSPACE"):
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
    for name, value in {
        "POSTGRES_URL": postgres_url,
        "REDIS_URL": redis_url,
        "SCHEMA": schema,
        "HOME": str(tmp_path / "home"),
        "LOG": str(tmp_path / "events.jsonl"),
    }.items():
        monkeypatch.setenv(f"PLUMBGRAPH_{name}", value)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before


def lines(*words: str, code: int = 0) -> list[dict[str, Any]]:
    result = runner.invoke(app, [*words, "--json"])
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_run_shows_its_steps_and_its_answer(place: Path) -> None:
    result = runner.invoke(app, ["run", "agent.py:chat", "hello", "--thread", "t"])
    assert result.exit_code == 0
    assert "thread t" in result.output
    assert result.output.rstrip().endswith("heard hello")
    events = [record["event"] for record in read_log(place / "events.jsonl", thread_id="t")]
    assert events.pop(0) == "state.claimed"
    assert events[0] == "run.started"
    assert events[-1] == "run.ended"


def test_an_interrupt_ends_with_four_and_its_answer_goes_on(place: Path) -> None:
    *steps, outcome = lines("run", "agent.py:asking", '{"n": 1}', "--thread", "t", code=4)
    assert [step["node"] for step in steps] == ["one0", "ask1"]
    assert outcome["status"] == "interrupted"
    assert outcome["questions"] == [{"question": "which?"}]
    assert outcome["resume"] == "plumbgraph resume t"
    (again,) = lines("resume", "t", code=4)
    assert again["questions"] == [{"question": "which?"}]
    *_, done = lines("resume", "t", "--answer", "the left one")
    assert done["answer"] == {"n": 2, "said": "the left one"}
    assert (place / "marks").read_text() == "one\n"
    (finished,) = lines("resume", "t")
    assert finished["status"] == "done"


def test_a_failure_keeps_what_was_done_and_names_the_way_on(place: Path) -> None:
    failed = runner.invoke(app, ["run", "agent.py:failing", "{}", "--thread", "my thread"])
    assert failed.exit_code == console.FAILED
    assert "ValueError: not mended" in failed.output
    assert "plumbgraph resume 'my thread'" in failed.output
    assert "Traceback" not in failed.output
    (place / "mended").touch()
    *_, done = lines("resume", "my thread")
    assert done["answer"] == {"n": 100}
    assert (place / "marks").read_text() == "one\nfragile\nfragile\n"


def test_threads_are_listed(place: Path) -> None:
    assert "no threads yet" in runner.invoke(app, ["threads"]).output
    lines("run", "agent.py:chat", "hello", "--thread", "a")
    lines("run", "agent.py:asking", "{}", "--thread", "b", code=4)
    (found,) = (json.loads(runner.invoke(app, ["threads", "--json"]).stdout),)
    assert {each["thread_id"] for each in found} == {"a", "b"}
    shown = runner.invoke(app, ["threads"]).output
    assert "thread" in shown
    assert "b" in shown


def test_a_new_thread_gets_a_name_of_its_graph(place: Path) -> None:
    *_, outcome = lines("run", "agent.py:chat", "hello")
    assert outcome["thread_id"].startswith("chat-")


def test_the_model_reaches_context_and_environment(place: Path) -> None:
    *_, outcome = lines("run", "agent.py:told", "{}", "--model", "scripted")
    assert outcome["answer"]["said"] == "scripted scripted"


def test_a_missing_provider_is_named_with_its_package(place: Path) -> None:
    result = runner.invoke(app, ["run", "assistant", "hi", "--model", "mistralai:small"])
    assert result.exit_code == console.UNAVAILABLE
    assert "pip install langchain-mistralai" in result.output


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["resume", "nobody"], console.NOT_FOUND, "no thread 'nobody'"),
        (["run", "agent.py:asking", "hello"], console.USAGE, "takes no messages"),
        (["run", "agent.py:asking", "{not json"], console.USAGE, "no JSON"),
        (["run", "agent.py:chat", "hi", "--model", "gpt"], console.USAGE, "does not name a model"),
    ],
)
def test_wrong_input_is_told(place: Path, words: list[str], code: int, says: str) -> None:
    result = runner.invoke(app, words)
    assert result.exit_code == code
    assert says in result.output


def test_a_dead_server_is_unavailable(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", "postgresql://u:hidden@127.0.0.1:1/x")
    result = runner.invoke(app, ["run", "agent.py:chat", "hi"])
    assert result.exit_code == console.UNAVAILABLE
    assert "PLUMBGRAPH_POSTGRES_URL" in result.output
    assert "hidden" not in result.output


def started(place: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "plumbgraph.cli", "run", "agent.py:long", "{}", "--thread", "t"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 60
    marks = place / "marks"
    while not (marks.exists() and "slow" in marks.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return child


def test_ctrl_c_ends_after_the_step_and_the_thread_goes_on(place: Path) -> None:
    child = started(place)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert child.returncode == console.INTERRUPTED, said
    assert "stopping after this step" in said
    assert "go on with: plumbgraph resume t" in said
    assert (place / "marks").read_text() == "one\nslow\n"
    *steps, done = lines("resume", "t")
    assert [step["node"] for step in steps] == ["slow2", "slow3"]
    assert done["status"] == "done"


def test_a_second_ctrl_c_ends_at_once_and_the_thread_goes_on(place: Path) -> None:
    child = started(place)
    child.send_signal(signal.SIGTERM)
    assert child.stdout is not None
    while "stopping after this step" not in child.stdout.readline():
        pass
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert child.returncode == console.INTERRUPTED
    assert "stopped at once" in said
    *steps, _ = lines("resume", "t")
    assert [step["node"] for step in steps] == ["slow1", "slow2", "slow3"]


def test_an_unwritable_log_costs_events_and_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "full.jsonl").symlink_to("/dev/full")
    monkeypatch.setenv("PLUMBGRAPH_LOG", str(place / "full.jsonl"))
    result = runner.invoke(app, ["run", "agent.py:chat", "hello"])
    assert result.exit_code == 0
    assert "5 events could not be written" in result.output


@pytest.mark.parametrize(("words", "steps"), [([], 7), (["--max-steps", "3"], 3)])
def test_a_loop_is_stopped_by_the_limit(place: Path, words: list[str], steps: int) -> None:
    result = runner.invoke(app, ["run", "agent.py:bound", "{}", "--thread", "t", *words])
    assert result.exit_code == console.FAILED
    assert f"took {steps} steps without coming to an end" in result.output
    assert "plumbgraph resume t --max-steps" in result.output


def test_the_assistant_without_a_model_excuses_itself(place: Path) -> None:
    (place / "desk").mkdir()
    *_, outcome = lines("run", "assistant", "Hello", "--model", "scripted", "--workspace", "desk")
    assert "not a language model" in outcome["answer"]


def test_values_are_shown_on_one_line() -> None:
    assert short("a\nb " * 100, 10) == "a b a b a…"
    assert short({"a": 1}) == '{"a": 1}'
    assert answer_of({"x": 1}) == {"x": 1}


CLAIM = """
import os, sys
from plumbgraph import PlumbSaver
with PlumbSaver(sys.argv[1], schema=sys.argv[2]).claim("left", ttl_s=600):
    os.kill(os.getpid(), 9)
"""


def test_a_thread_has_one_owner(place: Path, postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema) as saver, saver.claim("t", owner="elsewhere"):
        busy = runner.invoke(app, ["run", "agent.py:chat", "hello", "--thread", "t"])
    assert busy.exit_code == console.UNAVAILABLE
    assert "claimed by 'elsewhere'" in busy.output
    lines("run", "agent.py:chat", "hello", "--thread", "t")


def test_an_owner_that_was_killed_is_not_waited_for(
    place: Path, postgres_url: str, schema: str
) -> None:
    child = subprocess.run([sys.executable, "-c", CLAIM, postgres_url, schema], check=False)
    assert child.returncode == -signal.SIGKILL
    with PlumbSaver(postgres_url, schema=schema) as saver:
        assert saver.run_status("left").owner
    lines("run", "agent.py:chat", "hello", "--thread", "left")
