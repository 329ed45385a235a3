"""Tracing: CPU a step, what is left after kill -9, time to a verdict, memory, sums of cost."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from math import fsum
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langsmith import Client
from typing_extensions import TypedDict

from benchmarks import tracing_guard
from benchmarks.setting import postgres_url
from benchmarks.tables import machine, median, print_table, timed, write_json
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel
from plumbgraph.testing.ingest import IngestServer
from plumbgraph.timeline import Timeline
from plumbgraph.tracing import read_log, trace
from plumbgraph.tracing.costs import Cost
from plumbgraph.tracing.langsmith import LangSmith

STEPS = 50
ROUNDS = 15
USES_DATA = True
ASK: Any = {"messages": [("user", "go")], "n": 0}


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    n: int


def graph(steps: int, *, deadly_at: int | None = None, saver: Any = None) -> Any:
    """Nodes that call a model and a tool in turn, `steps` times; optionally killed at one."""
    model = ScriptedChatModel(["a short answer"], on_end="repeat")

    @tool
    def look(q: str) -> str:
        """Look something up."""
        return f"found {q}"

    def work(state: State) -> dict[str, Any]:
        if state["n"] == deadly_at:
            os.kill(os.getpid(), signal.SIGKILL)
        model.invoke("what next?")
        look.invoke({"q": "".join(chr(97 + int(digit)) for digit in str(state["n"]))})
        return {"n": state["n"] + 1, "messages": [AIMessage(f"step {state['n']}")]}

    builder: Any = StateGraph(State)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    builder.add_conditional_edges("work", lambda s: "work" if s["n"] < steps else END)
    return builder.compile(checkpointer=saver)


def config(callbacks: list[Any], steps: int = STEPS, thread: str = "t") -> Any:
    return {
        "callbacks": callbacks,
        "configurable": {"thread_id": thread},
        "recursion_limit": steps + 5,
    }


def price(_: str, usage: Any) -> Cost:
    return Cost(usage["input_tokens"] * 3e-6, usage["output_tokens"] * 15e-6)


def _cpu(run: Callable[[], None]) -> float:
    """Milliseconds of CPU a step, background threads included."""
    gc.collect()
    start = time.process_time()
    run()
    return (time.process_time() - start) * 1000 / STEPS


def _serve(port: Any) -> None:
    with IngestServer() as server:
        port.send(server.url)
        port.recv()


@contextmanager
def far_server() -> Iterator[str]:
    """An ingest server in a process of its own, so that its CPU is not counted."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_serve, args=(there,), daemon=True)
    child.start()
    yield str(here.recv())
    here.send(None)
    child.join(10)


def overhead(folder: Path, url: str) -> list[dict[str, Any]]:
    """None, the log, LangSmith's own tracer, and both together, in turn."""
    made = graph(STEPS)

    def plain(callbacks: list[Any]) -> None:
        made.invoke(ASK, config(callbacks))

    def logged() -> None:
        plain([trace(path=folder / "cpu.jsonl")])

    def peer() -> None:
        client = Client(api_url=url, api_key="none")
        plain([LangChainTracer(client=client, project_name="peer")])
        client.flush(timeout=30)

    def both() -> None:
        with LangSmith(log=folder / "both.jsonl", url=url, repair=False, wait_s=30) as sink:
            plain(sink.config["callbacks"])

    modes: dict[str, Callable[[], None]] = {
        "none": lambda: plain([]),
        "JSON lines (ours)": logged,
        "LangSmith's tracer alone": peer,
        "both, anonymized (ours)": both,
    }
    found: dict[str, list[float]] = {name: [] for name in modes}
    for turn in range(ROUNDS + 1):
        for name, run in modes.items():
            taken = _cpu(run)
            if turn:
                found[name].append(taken)
    base, peers = found["none"], found["LangSmith's tracer alone"]
    return [
        {
            "sink": name,
            "CPU ms a step": round(median(each), 2),
            "over none": round(median(each) - median(base), 2),
            "over none, least": round(min(each) - min(base), 2),
            "of the peer's": _share(each, base, peers) if name != "none" else None,
        }
        for name, each in found.items()
    ]


def _share(each: list[float], base: list[float], peers: list[float]) -> float:
    """What a sink adds, as a share of what LangSmith's tracer adds, by the least of all rounds."""
    return round((min(each) - min(base)) / (min(peers) - min(base)), 2)


def _doomed(log: str, url: str, at: int, *, peer: bool) -> None:
    if peer:
        client = Client(api_url=url, api_key="none")
        callbacks = [trace(path=log), LangChainTracer(client=client, project_name="peer")]
    else:
        callbacks = LangSmith(log=log, url=url, repair=False).config["callbacks"]
    graph(at + 5, deadly_at=at).invoke(ASK, config(callbacks, at + 5))


def after_kill(folder: Path, times: int = 4) -> list[dict[str, Any]]:
    """Finished model calls that can still be seen after SIGKILL in step 40."""
    at = 39
    seen: dict[str, list[float]] = {"event log (ours)": [], "LangSmith": []}
    roots, spawn = 0, multiprocessing.get_context("spawn")
    for turn in range(2 * times):
        log = folder / f"kill{turn}.jsonl"
        with IngestServer() as server:
            told = (str(log), server.url, at)
            child = spawn.Process(target=_doomed, args=told, kwargs={"peer": turn % 2 == 0})
            child.start()
            child.join()
            time.sleep(0.3)
            ended = [r for r in server.runs.values() if r.get("run_type") == "llm"]
            if turn % 2 == 0:
                seen["LangSmith"].append(sum(bool(run.get("end_time")) for run in ended) / at)
            lines = [r for r in read_log(log) if r["event"] == "model.ended"]
            seen["event log (ours)"].append(len(lines) / at)
            with LangSmith(log=log, url=server.url, wait_s=30):
                pass
            roots += len(server.open_roots())
    rows: list[dict[str, Any]] = [
        {"visible after SIGKILL": name, "lowest": min(each), "median": median(each)}
        for name, each in seen.items()
    ]
    return [*rows, {"visible after SIGKILL": "roots open after the next start", "lowest": roots}]


def verdict_time(folder: Path) -> list[dict[str, Any]]:
    """Seconds to load a 500-step thread and judge it, from all there is and from each alone."""
    log, rows = folder / "long.jsonl", []
    with ExitStack() as ending:
        savers: dict[str, Any] = {"memory": InMemorySaver()}
        if url := postgres_url():
            savers["PlumbSaver"] = ending.enter_context(PlumbSaver(url, schema="bench_tracing"))
        for name, saver in savers.items():
            with trace(path=log):
                graph(500, saver=saver).invoke(ASK, config([], 500, name))
            for told, given in {"log": log, name: saver, f"{name} and log": [saver, log]}.items():
                taken = timed(partial(_judged, name, given), 5)
                rows.append({"verdict on 500 steps from": told, "s": round(median(taken), 3)})
    return rows


def _judged(thread: str, sources: Any) -> None:
    assert Timeline.load(thread, sources=sources).verdict.code == "finished"


def flat_memory(folder: Path) -> dict[str, Any]:
    """Growth of the peak of resident memory from step 1,000 to step 5,000."""
    handler = trace(path=folder / "memory.jsonl")
    handler_config = config([handler], 1000)
    graph(1000).invoke(ASK, handler_config)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(4):
        graph(1000).invoke(ASK, handler_config)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert len(handler._open) == 0  # noqa: SLF001 - nothing may pile up inside
    return {"figure": "peak RSS growth, step 1,000 to 5,000, MB", "ours": round(grown, 1)}


def cost_sums(folder: Path) -> dict[str, Any]:
    """Largest difference between the sums in log, LangSmith's payload and the report."""
    log = folder / "cost.jsonl"
    with IngestServer() as server:
        with LangSmith(log=log, url=server.url, price=price, wait_s=30) as sink:
            graph(STEPS).invoke(ASK, config(sink.config["callbacks"]))
        told = fsum(r.get("cost_usd") or 0.0 for r in read_log(log))
        runs = [run for run in server.runs.values() if run.get("run_type") == "llm"]
        sent = fsum(run["extra"]["metadata"]["usage_metadata"]["total_cost"] for run in runs)
        orphans = len(server.orphans())
    report = Timeline.load("t", log=log).spent.usd
    assert told > 0
    apart = max(abs(told - sent), abs(told - report))
    return {"figure": f"cost sums apart, $ ({orphans} orphans)", "ours": apart}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks tracing", description=__doc__)
    parser.add_argument("--only", nargs="*", help="any of: cpu, kill, verdict, rest, guard")
    parser.add_argument("--data", type=Path, help="folder of public data sets, for the guard")
    asked = parser.parse_args(argv)
    payload: dict[str, Any] = {"machine": machine("langgraph", "langsmith")}
    with tempfile.TemporaryDirectory() as name, far_server() as url:
        folder = Path(name)
        parts: dict[str, tuple[str, Callable[[], list[dict[str, Any]]]]] = {
            "cpu": ("CPU, a model and a tool call a step", lambda: overhead(folder, url)),
            "kill": ("After kill -9 at step 40", lambda: after_kill(folder)),
            "verdict": ("Time to a verdict", lambda: verdict_time(folder)),
            "rest": ("The rest", lambda: [flat_memory(folder), cost_sums(folder)]),
        }
        for part, (title, measure) in parts.items():
            if not asked.only or part in asked.only:
                payload[part] = measure()
                print_table(title, payload[part])
                write_json("tracing", payload)
    if asked.data and (not asked.only or "guard" in asked.only):
        tracing_guard.main(["--data", str(asked.data)])
    return payload


if __name__ == "__main__":
    main()
