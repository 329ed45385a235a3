from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, Send, interrupt

from plumbgraph import tracing
from plumbgraph.errors import SettingsError
from plumbgraph.tracing.events import Event
from plumbgraph.tracing.handler import Trace

SECRET = "sk-proj-abcdefghijklmnop1234"


@dataclass(frozen=True, slots=True, kw_only=True)
class Added(Event):
    name = "test.added"
    total: int


class Kept:
    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []

    def write(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)

    def names(self) -> list[str]:
        return [record["event"] for record in self.records]

    def only(self, name: str) -> Mapping[str, Any]:
        (record,) = (each for each in self.records if each["event"] == name)
        return record


@tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    tracing.emit(Added(total=a + b))
    return str(a + b)


def calling_model() -> GenericFakeChatModel:
    usage = {
        "input_tokens": 30,
        "output_tokens": 4,
        "total_tokens": 34,
        "input_token_details": {"cache_read": 20},
        "total_cost": 0.25,
    }
    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "call-1"}
    answers = [AIMessage("", tool_calls=[call], usage_metadata=usage), AIMessage(SECRET)]
    return GenericFakeChatModel(messages=iter(answers))


def agent() -> Any:
    model = calling_model()

    def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def onward(state: MessagesState) -> str:
        return "tools" if state["messages"][-1].tool_calls else END  # type: ignore[union-attr]

    graph = StateGraph(MessagesState).add_node("think", think).add_node("tools", ToolNode([add]))
    graph.add_edge(START, "think").add_conditional_edges("think", onward, ["tools", END])
    return graph.add_edge("tools", "think").compile(checkpointer=InMemorySaver())


def config(thread_id: str = "t") -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id}}


def by_block(graph: Any, sink: Kept) -> Any:
    with tracing.trace(sinks=[sink]):
        return graph.invoke({"messages": "hi"}, config())


def by_config(graph: Any, sink: Kept) -> Any:
    traced = graph.with_config(callbacks=[tracing.trace(sinks=[sink])])
    return traced.invoke({"messages": "hi"}, config())


def by_graph(graph: Any, sink: Kept) -> Any:
    return tracing.trace(graph, sinks=[sink]).graph.invoke({"messages": "hi"}, config())


def by_call_config(graph: Any, sink: Kept) -> Any:
    traced = tracing.trace(config(), sinks=[sink]).config
    return graph.invoke({"messages": "hi"}, traced)


def by_async_block(graph: Any, sink: Kept) -> Any:
    async def call() -> Any:
        with tracing.trace(sinks=[sink]), blockbuster_ctx():
            return await graph.ainvoke({"messages": "hi"}, config())

    return asyncio.run(call())


@pytest.mark.parametrize("call", [by_block, by_config, by_graph, by_call_config, by_async_block])
def test_every_way_of_attaching_tells_the_same_story(call: Callable[..., Any]) -> None:
    sink = Kept()
    call(agent(), sink)
    turn = ["node.started", "model.started", "model.ended", "node.ended"]
    tools = ["node.started", "tool.started", "test.added", "tool.ended", "node.ended"]
    assert sink.names() == ["run.started", *turn, *tools, *turn, "run.ended"]
    assert {record["thread_id"] for record in sink.records} == {"t"}
    assert len({record["run_id"] for record in sink.records}) == 1


def test_events_carry_their_place_tokens_cost_and_digests() -> None:
    sink = Kept()
    by_config(agent(), sink)
    ended = next(each for each in sink.records if each["event"] == "model.ended")
    assert ended["gen_ai.usage.input_tokens"] == 30
    assert ended["gen_ai.usage.cache_read.input_tokens"] == 20
    assert ended["cost_usd"] == 0.25
    assert ended["tool_calls"] == ("add",)
    assert (ended["step"], ended["node"], ended["attempt"]) == (1, "think", 1)
    used = sink.only("tool.ended")
    assert used["gen_ai.tool.call.id"] == "call-1"
    assert used["args_digest"] == sink.only("tool.started")["args_digest"]
    added = sink.only("test.added")
    assert added["step"] == 2
    assert added["checkpoint_ns"].startswith("tools:")
    assert str(UUID(added["checkpoint_id"])) == added["checkpoint_id"]


def test_a_routed_answer_tells_its_cost_without_a_price() -> None:
    usage = {"input_tokens": 30, "output_tokens": 4, "total_tokens": 34}
    charged = {"plumbgraph": {"cost_usd": 0.5}}
    answers = [
        AIMessage("a", usage_metadata=usage, response_metadata=charged),
        AIMessage("b", usage_metadata=usage),
    ]
    model = GenericFakeChatModel(messages=iter(answers))
    sink = Kept()
    with tracing.trace(sinks=[sink]):
        told, untold = (dict(model.invoke("hi", config()).usage_metadata or {}) for _ in answers)
    assert told["total_cost"] == 0.5
    assert "total_cost" not in untold
    ended = [each for each in sink.records if each["event"] == "model.ended"]
    assert [each.get("cost_usd") for each in ended] == [0.5, None]


def test_content_and_secrets_do_not_reach_the_log(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    graph = agent()
    with tracing.trace(path=path):
        graph.invoke({"messages": f"the key is {SECRET}"}, config())
        with pytest.raises(ValueError, match="bad key"):
            failing(f"bad key {SECRET} of bob@example.org").invoke({"messages": "x"}, config())
    text = path.read_text()
    assert '"error.type":"ValueError"' in text
    assert SECRET not in text
    assert "bob@example.org" not in text


def failing(message: str, *, times: int = 99) -> Any:
    left = iter(range(times))

    def fail(state: MessagesState) -> dict[str, Any]:
        if next(left, None) is not None:
            raise ValueError(message)
        return {}

    policy = RetryPolicy(initial_interval=0.001, retry_on=ValueError, max_attempts=2)
    graph = StateGraph(MessagesState).add_node("fail", fail, retry_policy=policy)
    return graph.add_edge(START, "fail").compile(checkpointer=InMemorySaver())


def test_attempts_are_counted_and_failures_named() -> None:
    sink = Kept()
    by_config(failing("once", times=1), sink)
    assert sink.names() == [
        "run.started",
        "node.started",
        "node.failed",
        "node.started",
        "node.ended",
        "run.ended",
    ]
    assert [r["attempt"] for r in sink.records if r["event"] == "node.started"] == [1, 2]
    assert sink.only("node.failed")["error"] == "once"


def test_a_failed_run_says_why_and_leaves_no_scope_behind() -> None:
    sink, later = Kept(), Kept()
    with pytest.raises(ValueError, match="always"):
        by_config(failing("always"), sink)
    assert sink.only("run.failed")["error.type"] == "ValueError"
    tracing.attach(later)
    tracing.emit(Added(total=1))
    tracing.detach(later)
    assert "run_id" not in later.records[0]
    assert "test.added" not in sink.names()


def asking() -> Any:
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(interrupt("sure?"))]}

    graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask")
    return graph.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("call", [by_config, by_block])
def test_an_interrupt_is_no_failure(call: Callable[..., Any]) -> None:
    sink = Kept()
    call(asking(), sink)
    assert sink.only("run.ended")["status"] == "interrupted"
    assert sink.only("node.interrupted")["reason"] == "GraphInterrupt"
    assert not [name for name in sink.names() if "failed" in name]


def test_interrupt_and_resume_name_their_checkpoint() -> None:
    sink = Kept()
    graph = tracing.trace(asking(), sinks=[sink]).graph
    graph.invoke({"messages": "hi"}, config())
    graph.invoke(Command(resume="yes"), config())
    paused, resumed = sink.only("run.interrupted"), sink.only("run.resumed")
    assert paused["checkpoint_id"] == resumed["checkpoint_id"]
    assert paused["run_id"] != resumed["run_id"]
    assert sink.records[-1]["status"] == "done"


def test_an_abandoned_stream_ends_its_run() -> None:
    sink = Kept()
    stream = tracing.trace(agent(), sinks=[sink]).graph.stream({"messages": "hi"}, config())
    next(stream)
    stream.close()
    assert sink.records[-1]["event"] == "run.ended"
    assert sink.records[-1]["status"] == "abandoned"


def fan_out() -> Any:
    def spread(state: MessagesState) -> list[Send]:
        return [Send("inner", {"messages": [str(number)]}) for number in range(5)]

    def leaf(state: MessagesState) -> dict[str, Any]:
        add.invoke({"a": 1, "b": 1})
        return {}

    inner = StateGraph(MessagesState).add_node("leaf", leaf).add_edge(START, "leaf").compile()
    graph = StateGraph(MessagesState).add_node("inner", inner)
    return graph.add_conditional_edges(START, spread, ["inner"]).compile(
        checkpointer=InMemorySaver()
    )


@pytest.mark.parametrize("call", [by_config, by_block, by_async_block])
def test_no_event_is_orphaned_under_send_subgraphs_threads_and_tasks(
    call: Callable[..., Any],
) -> None:
    sink = Kept()
    call(fan_out(), sink)
    assert len([name for name in sink.names() if name == "test.added"]) == 5
    root = sink.only("run.started")["run_id"]
    assert {record["run_id"] for record in sink.records} == {root}
    places = {r["checkpoint_ns"] for r in sink.records if r["event"] == "test.added"}
    assert len(places) == 5


def test_runs_side_by_side_keep_their_own_ids_and_nothing_stays_open() -> None:
    sink = Kept()
    traced = tracing.trace(fan_out(), sinks=[sink])
    ids = [uuid4() for _ in range(8)]

    def call(number: int) -> None:
        traced.graph.invoke({"messages": "hi"}, {**config(f"t{number}"), "run_id": ids[number]})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(8)))
    pairs = {(record["thread_id"], record["run_id"]) for record in sink.records}
    assert pairs == {(f"t{number}", str(each)) for number, each in enumerate(ids)}
    assert len(traced._open) == 0


def test_blocks_in_two_tasks_do_not_hear_each_other() -> None:
    async def one(thread_id: str) -> Kept:
        sink = Kept()
        with tracing.trace(sinks=[sink]):
            await agent().ainvoke({"messages": "hi"}, config(thread_id))
        return sink

    async def both() -> tuple[Kept, Kept]:
        return await asyncio.gather(one("a"), one("b"))

    for sink, thread_id in zip(asyncio.run(both()), "ab", strict=True):
        assert {record["thread_id"] for record in sink.records} == {thread_id}


def test_nowhere_to_write_is_refused() -> None:
    with pytest.raises(SettingsError, match="nowhere to write"):
        tracing.trace()


def test_a_wrong_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither a graph nor a config"):
        tracing.trace(42, path=tmp_path / "x")


def test_a_trace_is_a_callback_handler(tmp_path: Path) -> None:
    made = tracing.trace(path=tmp_path / "x")
    assert isinstance(made, Trace)
    assert made.config == {"callbacks": [made]}


def test_what_the_handler_tells_are_fields_of_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    from plumbgraph.tracing import handler

    told: set[str] = set()

    def checked(kind: type[Event], facts: Mapping[str, Any], *_: Any) -> None:
        made = kind(**facts)
        told.add(made.name)

    monkeypatch.setattr(handler, "tell", checked)
    sink = Kept()
    by_config(agent(), sink)
    by_config(asking(), sink)
    with pytest.raises(ValueError, match="always"):
        by_config(failing("always"), sink)
    assert len(told) >= 10
