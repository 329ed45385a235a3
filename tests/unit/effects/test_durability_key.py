"""What a run tells its nodes by private keys alone: these fail when LangGraph moves them."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import RetryPolicy

from plumbgraph.upstream import CONFIG_KEY_DURABILITY, CONFIG_KEY_RESUMING


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


@pytest.mark.parametrize(
    ("fails_at", "error", "again"),
    [
        (None, None, []),
        (0, ValueError, [True, False, False, False]),
        (1, ValueError, [True, False, False]),
        (2, ConnectionError, [True, False]),
    ],
)
def test_a_node_can_tell_that_it_may_have_run_before(fails_at: Any, error: Any, again: Any) -> None:
    """A step that is resumed or tried again, in the graph itself and in a graph inside of it."""
    seen: list[Any] = []

    def node(_: Any) -> None:
        seen.append(bool(get_config()["configurable"].get(CONFIG_KEY_RESUMING)))
        if len(seen) - 1 == fails_at:
            raise error

    inner: Any = StateGraph(MessagesState)
    inner.add_node("first", node)
    inner.add_node("second", node, retry_policy=RetryPolicy(initial_interval=0.01))
    inner.add_edge(START, "first")
    inner.add_edge("first", "second")
    outer: Any = StateGraph(MessagesState)
    outer.add_node("before", node)
    outer.add_node("inner", inner.compile())
    outer.add_node("after", node)
    outer.add_edge(START, "before")
    outer.add_edge("before", "inner")
    outer.add_edge("inner", "after")
    graph = outer.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    if error is ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - the test's own
            graph.invoke({"messages": []}, config)
        graph.invoke(None, config)
    else:
        graph.invoke({"messages": []}, config)
    first = 4 if fails_at is None else fails_at + 1
    assert seen == [*[False] * first, *again]
