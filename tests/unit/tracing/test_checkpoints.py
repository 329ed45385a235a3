"""Every line of a step names the checkpoint that the step began from."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import RetryPolicy, Send

from plumbgraph import tracing
from plumbgraph.tracing.open_runs import OpenRuns
from plumbgraph.upstream import starting_checkpoint

DONE: Any = RunnableLambda(lambda _: ("ai", "done"))


class Kept:
    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []

    def write(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)


def config() -> RunnableConfig:
    return {"configurable": {"thread_id": "t"}}


def graph(saver: InMemorySaver) -> Any:
    """Two plain nodes, a subgraph that is fanned out, and a node that succeeds when tried again."""
    tries: list[int] = []

    def plain(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", "plain")]}

    def stubborn(state: MessagesState) -> dict[str, Any]:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        return {"messages": [DONE.invoke("x")]}

    def spread(state: MessagesState) -> list[Send]:
        return [Send("inner", {"messages": [("user", str(number))]}) for number in range(3)]

    inner = StateGraph(MessagesState).add_node("leaf", plain).add_edge(START, "leaf").compile()
    outer = StateGraph(MessagesState).add_node("plain", plain).add_node("inner", inner)
    again = RetryPolicy(max_attempts=2, initial_interval=0.001, retry_on=ConnectionError)
    outer.add_node("stubborn", stubborn, retry_policy=again)
    outer.add_edge(START, "plain").add_conditional_edges("plain", spread, ["inner"])
    return outer.add_edge("inner", "stubborn").add_edge("stubborn", END).compile(checkpointer=saver)


def by_config(saver: InMemorySaver, sink: Kept) -> None:
    graph(saver).invoke(
        {"messages": "hi"}, {**config(), "callbacks": [tracing.trace(sinks=[sink])]}
    )


def by_block(saver: InMemorySaver, sink: Kept) -> None:
    with tracing.trace(sinks=[sink]):
        graph(saver).invoke({"messages": "hi"}, config())


def by_async_block(saver: InMemorySaver, sink: Kept) -> None:
    async def call() -> None:
        with tracing.trace(sinks=[sink]):
            await graph(saver).ainvoke({"messages": "hi"}, config())

    asyncio.run(call())


@pytest.mark.parametrize("call", [by_config, by_block, by_async_block])
def test_nodes_name_the_checkpoint_they_began_from(
    call: Callable[[InMemorySaver, Kept], None],
) -> None:
    saver, sink = InMemorySaver(), Kept()
    call(saver, sink)
    root: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    stored = {
        each.metadata["step"]: each.config["configurable"]["checkpoint_id"]
        for each in saver.list(root)
    }
    nodes = [record for record in sink.records if str(record["event"]).startswith("node.")]
    assert [record["event"] for record in nodes].count("node.failed") == 1
    for record in nodes:
        if record["node"] == "leaf":  # of a subgraph: a chain of checkpoints of its own
            assert record["checkpoint_id"] not in stored.values()
        else:
            assert record["checkpoint_id"] == stored[record["step"] - 1]
    leaves = {record["checkpoint_id"] for record in nodes if record["node"] == "leaf"}
    assert len(leaves) == 3


def test_a_run_from_a_chosen_checkpoint_names_it() -> None:
    saver, sink = InMemorySaver(), Kept()
    compiled = graph(saver)
    compiled.invoke({"messages": "hi"}, config())
    chosen = list(compiled.get_state_history(config()))[2].config
    compiled.invoke(None, {**chosen, "callbacks": [tracing.trace(sinks=[sink])]})
    started = next(each for each in sink.records if each["event"] == "run.started")
    assert started["checkpoint_id"] == chosen["configurable"]["checkpoint_id"]
    first = next(each for each in sink.records if each["event"] == "node.started")
    assert first["checkpoint_id"]


def test_without_a_caller_that_knows_there_is_no_checkpoint() -> None:
    config: RunnableConfig = {"configurable": {}}
    assert starting_checkpoint("node:id") is None
    assert config


def test_a_root_that_ends_leaves_the_runs_of_other_threads_alone() -> None:
    """Ending a root looks through all open runs while other threads begin theirs."""
    opened, faults = OpenRuns(), list[BaseException]()

    def work() -> None:
        try:
            for _ in range(300):
                root, node, left = uuid4(), uuid4(), uuid4()
                opened.start(root, None, "inner", metadata={}, at=0.0)
                opened.start(node, root, "node", metadata={}, at=0.0)
                opened.start(left, node, "inner", metadata={}, at=0.0)
                assert opened.end(node) is not None
                assert opened.end(root) is not None
        except BaseException as fault:  # noqa: BLE001 - told by the test's own thread
            faults.append(fault)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(before)
    assert not faults
    assert len(opened) == 0
