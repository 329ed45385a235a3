"""Our tracer leaves out checks and copies of LangChain's, and tells the same of every run."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.graph import END, START, MessagesState, StateGraph
from langsmith import Client, traceable

from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.testing.ingest import IngestServer
from plumbgraph.tracing.langsmith import LangSmith
from plumbgraph.tracing.langsmith_tracer import Tracer

ONCE = {"langgraph_checkpoint_ns", "checkpoint_ns", "revision_id"}  # ids; ours says it once


@tool
def look(q: str) -> str:
    """Look something up."""
    if q == "bad":
        raise ValueError(q)
    return f"found {q}"


@traceable(name="inside")
def inside(text: str) -> str:
    return text.upper()


def graph() -> Any:
    model = ScriptedChatModel([call("look", q="a"), "done"])

    def work(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def use(state: MessagesState) -> dict[str, Any]:
        inside("text")
        RunnableLambda(lambda text: text).invoke("plain text")
        try:
            look.invoke({"q": "bad"})
        except ValueError:
            look.invoke({"q": "a"})
        return {"messages": [AIMessage("used", id="b")]}

    built = StateGraph(MessagesState).add_node("work", work).add_node("use", use)
    built.add_edge(START, "work").add_edge("use", END)
    built.add_conditional_edges("work", lambda _: "use", ["use"])
    return built.compile()


def ask(callbacks: list[Any]) -> None:
    said = {"messages": [HumanMessage("hi", id="a")]}
    chosen = {"callbacks": callbacks, "tags": ["mine"], "metadata": {"team": "x"}}
    graph().invoke(said, {**chosen, "configurable": {"thread_id": "t", "flavor": "mild"}})


def told(server: IngestServer) -> list[tuple[Any, ...]]:
    """What arrived of each run, without what differs from run to run and what we add."""
    names = {key: run["name"] for key, run in server.runs.items()}
    found = []
    for run in server.runs.values():
        metadata = {
            key: value
            for key, value in run["extra"]["metadata"].items()
            if not key.startswith(("plumb_", "LANG")) and key not in ONCE
        }
        own = "messages" if run["run_type"] == "chain" else ""  # states are told in short
        inputs = {key: value for key, value in run["inputs"].items() if key != own}
        outputs = {key: value for key, value in (run.get("outputs") or {}).items() if key != own}
        for row in outputs.get("generations") or ():
            for each in row:
                each["message"]["kwargs"].pop("id", None)
        tags = [tag for tag in sorted(run["tags"]) if not tag.startswith("plumb")]
        error = str(run.get("error") or "").partition("\n")[0]
        parent = names.get(str(run.get("parent_run_id")))
        found.append(
            (run["name"], run["run_type"], parent, tags,
             inputs, outputs, error, metadata if run.get("parent_run_id") else None,
             [each["name"] for each in run["events"]], bool(run["end_time"]),
             run["session_name"], len(run["dotted_order"].split(".")))
        )  # fmt: skip
    return sorted(found, key=repr)


def test_every_run_arrives_as_with_langchains_own_tracer(tmp_path: Any) -> None:
    with IngestServer() as theirs, IngestServer() as ours:
        client = Client(api_url=theirs.url, api_key="none")
        ask([LangChainTracer(client=client, project_name="p")])
        client.flush(timeout=30)
        with LangSmith(log=tmp_path / "log", url=ours.url, project="p", wait_s=30) as sink:
            ask(sink.config["callbacks"])
        expected, found = told(theirs), told(ours)
        assert ours.orphans() == []
    assert [each[:3] for each in found] == [each[:3] for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one == other


def test_what_is_overridden_is_still_called_so() -> None:
    own = {name for name in vars(Tracer) if name.startswith("_") and not name.startswith("__")}
    kept = {name for name in own if not hasattr(LangChainTracer, name)}
    assert kept <= {"_made", "_post", "_tell", "_abc_impl"}
