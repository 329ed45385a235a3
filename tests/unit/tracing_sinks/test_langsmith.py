from __future__ import annotations

import asyncio
import multiprocessing
import operator
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import pytest
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from plumbgraph.agents import create_agent
from plumbgraph.errors import SettingsError
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.testing.ingest import IngestServer
from plumbgraph.tracing import emit, read_log
from plumbgraph.tracing.anonymize import anonymized
from plumbgraph.tracing.costs import Cost
from plumbgraph.tracing.guard import LoopDetected
from plumbgraph.tracing.langsmith import LangSmith
from plumbgraph.tracing.langsmith_facts import FEEDBACK, TAGS
from plumbgraph.tracing.langsmith_replay import replay


@tool
def look(q: str) -> str:
    """Look something up."""
    return f"found {q}"


@tool
def leak(q: str) -> str:
    """Say a secret."""
    return f"{q} sk-abcdefghijklmnopqrstuvwxyz me@example.com"


@tool
def die(q: str) -> str:
    """End the process without a word."""
    os.kill(os.getpid(), signal.SIGKILL)
    return q


@tool
def warn(q: str) -> str:
    """Report a loop."""
    emit(LoopDetected(code="loop.cycle", reason="r", cycle=("a",), since_call=0, cost_usd=0.5))
    return q


def agent(*script: Any, tools: Any = (look,)) -> Any:
    return create_agent(ScriptedChatModel(script), tools)


SESSION = "5f1b1c1e-0000-4000-8000-000000000001"
ASK: Any = {"messages": [("user", "hi")]}


@pytest.fixture
def server() -> Iterator[IngestServer]:
    with IngestServer() as server:
        yield server


def traced(server: IngestServer, tmp_path: Path, **options: Any) -> LangSmith:
    return LangSmith(
        log=tmp_path / "log.jsonl",
        url=server.url,
        project="p",
        session_id=SESSION,
        **{"wait_s": 30.0, **options},
    )


def config(sink: LangSmith, thread: str = "t") -> Any:
    return {**sink.config, "configurable": {"thread_id": thread}}


def test_the_log_and_langsmith_speak_of_the_same_run(server: IngestServer, tmp_path: Path) -> None:
    run_id = uuid4()
    with traced(server, tmp_path) as sink:
        agent(call("look", q="a"), "done").invoke(ASK, {**config(sink), "run_id": run_id})
    (root,) = server.roots()
    assert root["id"] == str(run_id)
    assert root["extra"]["metadata"]["plumb_run_id"] == str(run_id)
    assert {r["run_id"] for r in read_log(tmp_path / "log.jsonl", thread_id="t")} == {str(run_id)}
    spans = {r["span_id"] for r in read_log(tmp_path / "log.jsonl", thread_id="t")}
    assert spans <= set(server.runs)
    assert server.open_roots() == []
    assert server.orphans() == []
    assert not sink.unsent


def test_costs_reach_langsmith_and_the_log_alike(server: IngestServer, tmp_path: Path) -> None:
    models = set()

    def price(model: str, usage: Any) -> Cost:
        models.add(model)
        return Cost(usage["input_tokens"] * 1.1e-6, usage["output_tokens"] * 7.3e-6)

    with traced(server, tmp_path, price=price) as sink:
        agent(call("look", q="a"), call("look", q="b"), "done").invoke(ASK, config(sink))
    log = read_log(tmp_path / "log.jsonl", thread_id="t")
    logged = sum(record.get("cost_usd") or 0.0 for record in log)
    usages = [
        run["extra"]["metadata"]["usage_metadata"]
        for run in server.runs.values()
        if run["run_type"] == "llm"
    ]
    assert models == {"scripted"}
    assert len(usages) == 3
    assert logged > 0
    assert sum(usage["total_cost"] for usage in usages) == pytest.approx(logged, abs=1e-9)
    assert all(usage["input_cost"] + usage["output_cost"] for usage in usages)


def test_steps_name_the_checkpoint_they_began_from(
    server: IngestServer, tmp_path: Path, postgres_url: str, schema: str
) -> None:
    from plumbgraph.state import PlumbSaver

    with PlumbSaver(postgres_url, schema=schema) as saver, traced(server, tmp_path) as sink:
        model = ScriptedChatModel([call("look", q="a"), "done"])
        create_agent(model, [look], checkpointer=saver).invoke(ASK, config(sink))
        ids = {each.checkpoint["id"] for each in saver.list(config(sink))}
    named = {
        run["name"]: run["extra"]["metadata"].get("plumb_checkpoint_id")
        for run in server.runs.values()
        if run["run_type"] in {"llm", "tool"} or run["name"] in {"model", "tools"}
    }
    assert set(named) == {"model", "tools", "look", "ScriptedChatModel"}
    assert set(named.values()) <= ids


def test_secrets_are_found_nowhere(server: IngestServer, tmp_path: Path) -> None:
    secret = "sk-abcdefghijklmnopqrstuvwxyz"
    mail = "me@example.com"
    both = f"{secret} {mail}"
    with traced(server, tmp_path) as sink:
        told = {
            **config(sink),
            "run_name": f"run {both}",
            "tags": [both],
            "metadata": {"who": both},
        }
        graph = agent(call("leak", q=both), RuntimeError(both), tools=[leak])
        with pytest.raises(RuntimeError):
            graph.invoke({"messages": [("user", both)]}, told)
    assert server.runs
    log = (tmp_path / "log.jsonl").read_text()
    for text in (secret, mail):
        assert not server.contains(text)
        assert text not in log
    assert server.contains("[email]")


def test_events_become_metadata_tags_and_feedback(server: IngestServer, tmp_path: Path) -> None:
    with traced(server, tmp_path) as sink:
        agent(call("warn", q="a"), "done", tools=[warn]).invoke(ASK, config(sink))
    (root,) = server.roots()
    own = {tag for tag in root["tags"] if tag.startswith("plumb")}
    assert own == {"plumb", "plumb:loop"}
    assert own <= set(TAGS)
    assert root["extra"]["metadata"]["plumb_loop"] == ["a"]
    assert [(each["key"], each["score"]) for each in server.feedback] == [("plumb.loop", 1.0)]
    assert {each["key"] for each in server.feedback} <= set(FEEDBACK)
    assert server.feedback[0]["run_id"] == root["id"]


def test_a_person_rates_a_run(server: IngestServer, tmp_path: Path) -> None:
    run_id = uuid4()
    with traced(server, tmp_path) as sink:
        agent("done").invoke(ASK, {**config(sink), "run_id": run_id})
        sink.feedback(run_id, 0.5, comment="mail me@example.com")
    assert server.feedback[0]["key"] == "user_score"
    assert server.feedback[0]["comment"] == "mail [email]"


def crash(url: str, log: str) -> None:
    sink = LangSmith(log=log, url=url, project="p")
    graph = agent(call("look", q="a"), call("die", q="b"), "done", tools=[look, die])
    graph.invoke(ASK, config(sink, "crashed"))


def killed(url: str, log: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=crash, args=(url, str(log)))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


def test_a_crash_leaves_nothing_open_after_the_next_start(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with IngestServer() as server:
        # The killed process could not even send its root.
        server.fail(500, times=1000)
        killed(server.url, log)
        server.heal()
        with traced(server, tmp_path):
            pass
        begun = {r["span_id"] for r in read_log(log) if r["event"].endswith(".started")}
        ended = {r["span_id"] for r in read_log(log) if r["event"].endswith((".ended", ".failed"))}
        assert begun - ended
        for span in begun - ended:
            assert server.runs[span]["end_time"]
            assert "crashed" in server.runs[span]["error"]
        assert server.open_roots() == []
        before = len(server.requests)
        with traced(server, tmp_path):
            pass
        assert len(server.requests) == before  # once is enough


def test_repair_waits_for_a_server_that_is_back(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with IngestServer() as server:
        killed(server.url, log)
        url = server.url
    with LangSmith(log=log, url=url, project="p", wait_s=20):
        pass
    events = [record["event"] for record in read_log(log)]
    assert "trace.repair_failed" in events
    assert "trace.repaired" not in events


def test_uploads_that_fail_are_kept_and_replayed(tmp_path: Path) -> None:
    kept = tmp_path / "langsmith-failed"
    with IngestServer() as server:
        server.fail(400, times=100)
        with traced(server, tmp_path) as sink:
            agent(call("look", q="a"), "done").invoke(ASK, config(sink))
        assert server.runs == {}
        server.heal()
        assert list(kept.glob("*.json"))
        found = replay(kept, url=server.url)
        assert found.failed == 0
        assert found.sent > 0
        assert len(server.roots()) == 1
        assert server.open_roots() == []
        assert list(kept.glob("*.json")) == []


def test_replay_keeps_what_fails_again(tmp_path: Path) -> None:
    (tmp_path / "trace_1.json").write_text("no envelope")
    found = replay(tmp_path, url="http://127.0.0.1:9")
    assert (found.sent, found.failed) == (0, 1)
    assert (tmp_path / "trace_1.json").exists()
    with pytest.raises(SettingsError, match="no folder"):
        replay(tmp_path / "none")


@pytest.mark.parametrize("fault", [{"drop": True}, {"delay_s": 3.0}])
def test_a_sink_that_is_down_or_slow_does_not_hold_up_the_run(
    server: IngestServer, tmp_path: Path, fault: dict[str, Any]
) -> None:
    server.fail(times=100, **fault)
    sink = traced(server, tmp_path, wait_s=0.2)
    start = time.monotonic()
    assert (
        agent(call("look", q="a"), "done").invoke(ASK, config(sink))["messages"][-1].text == "done"
    )
    sink.close()
    assert time.monotonic() - start < 20
    events = [record["event"] for record in read_log(tmp_path / "log.jsonl")]
    assert ("trace.flushed" in events) is (not sink.unsent and not sink.failed)
    assert events.count("run.ended") == 1


class Wide(TypedDict):
    said: Annotated[list[str], operator.add]


def test_no_orphans_under_threads_send_subgraphs_and_tasks(
    server: IngestServer, tmp_path: Path
) -> None:
    inner = create_agent(ScriptedChatModel([call("look", q="a"), "x"], replay="turn"), [look])
    builder: Any = StateGraph(Wide)
    builder.add_node("one", lambda _: {"said": [inner.invoke(ASK)["messages"][-1].text]})
    builder.add_node("start", lambda _: {})
    builder.add_edge(START, "start")
    builder.add_conditional_edges("start", lambda _: [Send("one", {"said": []})] * 4, ["one"])
    builder.add_edge("one", END)
    graph = builder.compile()

    async def tasks(sink: LangSmith) -> list[Any]:
        calls = [graph.ainvoke({"said": []}, config(sink, f"a{n}")) for n in range(3)]
        return await asyncio.gather(*calls)

    with traced(server, tmp_path) as sink:
        with ThreadPoolExecutor(3) as threads:
            done = list(
                threads.map(lambda n: graph.invoke({"said": []}, config(sink, f"t{n}")), range(3))
            )
        done += asyncio.run(tasks(sink))
    assert [each["said"] for each in done] == [["x"] * 4] * 6
    records = [r for r in read_log(tmp_path / "log.jsonl") if r["event"] != "trace.flushed"]
    roots = {r["run_id"] for r in records if r["event"] == "run.started"}
    assert len(roots) == 6 == len(server.roots())
    for record in records:
        assert record["run_id"] in roots
        assert record["thread_id"]
        assert record.get("parent_span_id", record["run_id"]) in server.runs
    assert server.orphans() == []
    assert server.open_roots() == []


def test_most_runs_take_one_upload_and_states_are_short(
    server: IngestServer, tmp_path: Path
) -> None:
    long = [("user" if n % 2 else "ai", f"message {n}") for n in range(30)]
    with traced(server, tmp_path) as sink:
        agent(call("look", q="a"), "done").invoke({"messages": long}, config(sink))
    parts = [part for request in server.requests for part in request.parts]
    leaves = {key: run for key, run in server.runs.items() if run["run_type"] in {"llm", "tool"}}
    assert len(leaves) == 3
    for key, run in leaves.items():
        assert f"post.{key}" in parts
        assert f"patch.{key}" not in parts
        assert run["inputs"]
        assert run["outputs"]
        assert "runtime" not in run["extra"]
    nodes = [run for run in server.runs.values() if run["name"] == "model"]
    assert [len(run["inputs"]["messages"]) for run in nodes] == [8, 8]
    assert [run["inputs"]["plumb_earlier_messages"]["messages"] for run in nodes] == [22, 24]
    asked = [run for run in leaves.values() if run["run_type"] == "llm"]
    assert sorted(len(run["inputs"]["messages"][0]) for run in asked) == [30, 32]
    (root,) = server.roots()
    assert len(root["inputs"]["messages"]) == 30
    assert root["extra"]["runtime"]["runtime"] == "python"


def test_the_anonymizer_takes_any_plain_data() -> None:
    data = {"a@b.example": ["x", {"k": "token=abcdef"}], "n": 1, "none": None}
    assert anonymized(data) == {"[email]": ["x", {"k": "token=[secret]"}], "n": 1, "none": None}


def test_events_without_a_run_are_nobodys_facts(server: IngestServer, tmp_path: Path) -> None:
    with traced(server, tmp_path) as sink:
        sink.write({"event": "loop.detected"})
        agent("done").invoke(ASK, config(sink))
    assert server.feedback == []
