"""Real graphs leave the same history here as in InMemorySaver, hot and cold, both colours."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph, add_messages

from plumbgraph.state import PlumbSaver

STEPS = 70


class State(TypedDict):
    messages: Annotated[list[Any], add_messages]
    n: int
    files: Annotated[dict[str, str], operator.or_]


def _node(state: State) -> dict[str, Any]:
    n = state["n"] + 1
    text = f"{n} " + "word " * 60
    if n % 9 == 0:
        state["messages"][n // 2].content = f"changed in place at {n}"
    return {
        "messages": [AIMessage(text, id=f"m{n if n % 11 else n - 5}")],
        "n": n,
        "files": {f"f{n % 7}": f"content {n} " * 30},
    }


def _graph(saver: BaseCheckpointSaver[Any]) -> Any:
    graph = StateGraph(State)
    graph.add_node("work", _node)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda s: "work" if s["n"] % STEPS else END)
    return graph.compile(checkpointer=saver)


def _start() -> Any:
    return {"messages": [HumanMessage("hi", id="h")], "n": 0, "files": {}}


def _history(saver: BaseCheckpointSaver[Any], config: RunnableConfig) -> list[Any]:
    found = _graph(saver).get_state_history(config)
    return [(each.values, each.metadata["step"], each.next) for each in found]


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_history_is_that_of_memory(postgres_url: str, schema: str, colour: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "t"}, "recursion_limit": 1000}
    memory = InMemorySaver()
    async with PlumbSaver(postgres_url, schema=schema) as saver:
        for each in (memory, saver):
            if colour == "sync":
                await asyncio.to_thread(_graph(each).invoke, _start(), config, durability="sync")
            else:
                await _graph(each).ainvoke(_start(), config, durability="sync")
        expected = _history(memory, config)
        assert len(expected) == STEPS + 2
        assert await asyncio.to_thread(_history, saver, config) == expected
        async with PlumbSaver(postgres_url, schema=schema) as cold:
            assert await asyncio.to_thread(_history, cold, config) == expected


async def test_goes_on_in_a_new_process(postgres_url: str, schema: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "t"}, "recursion_limit": 1000}
    memory = InMemorySaver()
    for _ in range(3):
        await _graph(memory).ainvoke(_start(), config)
        async with PlumbSaver(postgres_url, schema=schema) as saver:
            await _graph(saver).ainvoke(_start(), config)
    async with PlumbSaver(postgres_url, schema=schema) as cold:
        found = await _graph(cold).aget_state(config)
        assert found.values == _graph(memory).get_state(config).values
