from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, NewType, NotRequired

from langchain_core.messages import AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import BaseModel
from typing_extensions import TypedDict

from plumbgraph.agents.allow import types_in_state


class Colour(Enum):
    RED = 1


class Inner(BaseModel):
    colour: Colour


@dataclass
class Point:
    inner: list[Inner]
    twin: Point | None = None


Home = NewType("Home", Point)


class Row(TypedDict):
    homes: NotRequired[dict[str, Home]]


class Private(BaseModel):
    note: str


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    rows: Annotated[list[Row], operator.add]
    anything: Any


def act(state: Private) -> dict[str, Any]:
    return {}


def test_own_types_are_found_wherever_they_stand() -> None:
    graph = StateGraph(State)
    graph.add_node("act", act)
    graph.add_edge(START, "act")
    graph.add_edge("act", END)
    found = types_in_state(graph)
    assert found == {Colour, Inner, Point, Private}
    assert types_in_state(graph.compile()) == found
