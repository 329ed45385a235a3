"""A place to watch routing: a small and a large model, a budget, and the reason for every answer.

`PLUMBGRAPH_ROUTER_MODELS` names the models, `provider:name` by commas, the weakest first. Without
it two scripted models answer, which needs no network and no key. `PLUMBGRAPH_ROUTER_USD` is what
the process may spend, a dollar when not set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.graph import StateGraph

from plumbgraph.agents import build_agent, resolve_model
from plumbgraph.agents.routing import RouterNode
from plumbgraph.routing import Aim, Budget, CostRouter, ModelCard, Price, Route
from plumbgraph.testing import ScriptedChatModel

SYSTEM = "You answer briefly and say so when you do not know."


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def route_of(state: Any) -> Route:
    """Tool-using threads and first questions are tasks of their own; a pin is kept."""
    used = any(message.type == "tool" for message in state["messages"])
    return Route(task="tools" if used else "talk", pin=state.get("route_pin") or "")


def scripted(name: str) -> ScriptedChatModel:
    """A model without a network, which says who it is and what it heard."""

    def respond(messages: Sequence[BaseMessage]) -> AIMessage:
        heard = next((m.text for m in reversed(messages) if m.type == "human"), "")
        return AIMessage(f"({name}) You said: {heard}", response_metadata={"finish_reason": "stop"})

    return ScriptedChatModel.from_messages(respond, model_name=name)


def cards(names: str) -> list[ModelCard]:
    """The named models, or the two scripted ones."""
    if not names:
        return [
            ModelCard(model=scripted("small"), price=Price.per_mtok(0.25, 2.0), prior=0.75),
            ModelCard(model=scripted("large"), price=Price.per_mtok(3.0, 15.0), prior=0.92),
        ]
    listed = [name.strip() for name in names.split(",") if name.strip()]
    step = 0.25 / max(len(listed) - 1, 1)
    return [ModelCard(model=name, prior=0.7 + step * n) for n, name in enumerate(listed)]


@lru_cache(maxsize=1)
def router() -> CostRouter:
    """One router for the process, so that its budget is one."""
    return CostRouter(
        cards(os.environ.get("PLUMBGRAPH_ROUTER_MODELS", "")),
        aim=Aim.quality(0.8),
        budget=Budget(float(os.environ.get("PLUMBGRAPH_ROUTER_USD", "1.0"))),
        load=resolve_model,
    )


def make_graph() -> StateGraph[Any, Any, Any, Any]:
    """The agent's graph, not yet compiled."""
    route = RouterNode(router(), describe=route_of)
    return build_agent(route.model, [add], system=SYSTEM, each_turn=[route])


graph = make_graph()
