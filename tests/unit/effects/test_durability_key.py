"""The run's durability is read from a private key: this fails when LangGraph moves it."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config
from langgraph.graph import START, MessagesState, StateGraph

from plumbgraph.upstream import CONFIG_KEY_DURABILITY


@pytest.mark.parametrize("durability", ["sync", "async", "exit", None])
def test_a_node_can_tell_its_durability(durability: Any) -> None:
    seen: list[Any] = []
    graph: Any = StateGraph(MessagesState)

    def node(_: Any) -> None:
        seen.append(get_config()["configurable"].get(CONFIG_KEY_DURABILITY))

    graph.add_node("n", node)
    graph.add_edge(START, "n")
    config = {"configurable": {"thread_id": "t"}}
    graph.compile(checkpointer=InMemorySaver()).invoke(
        {"messages": []}, config, durability=durability
    )
    assert seen == [durability]
