"""A graph that asks a person before it goes on."""

from __future__ import annotations

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    """A wish, the answer to it, and what came of it."""

    wish: str
    answer: str
    outcome: str


def ask(state: State) -> State:
    """Stop until a person answers."""
    return {
        "answer": interrupt({"question": f"Grant {state['wish']!r}?", "options": ["yes", "no"]})
    }


async def act(state: State) -> State:
    """Say what came of it."""
    return {"outcome": f"{state['wish']}: {state['answer']}"}


graph = StateGraph(State)
graph.add_node(ask)
graph.add_node(act)
graph.add_edge(START, "ask")
graph.add_edge("ask", "act")
graph.add_edge("act", END)
