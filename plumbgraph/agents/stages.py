"""An agent's nodes in the order they run, and the edges between them."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias, get_type_hints

from langchain_core.runnables import Runnable
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from plumbgraph.agents.model import last_reply
from plumbgraph.agents.node import State
from plumbgraph.errors import SettingsError

Step: TypeAlias = Runnable[Any, Any]
AnyGraph: TypeAlias = StateGraph[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Stages:
    """The agent's nodes in the order they run; the last of `turn` asks the model."""

    before: Sequence[Step]
    turn: Sequence[Step]
    tools: Step | None
    after: Sequence[Step]

    @property
    def all(self) -> list[Step]:
        """Every node."""
        return [*self.before, *self.turn, *([self.tools] if self.tools else []), *self.after]

    def schema(self, *further: type | None) -> type:
        """The channels of all nodes and of further schemas, as one TypedDict."""
        own = [getattr(step, "state_schema", None) for step in self.all]
        return merged_schema([*further, *own])

    def wired(self, graph: AnyGraph) -> AnyGraph:
        """The graph with these nodes and the edges between them.

        Raises:
            SettingsError: Two nodes have the same name.
        """
        for step in self.all:
            if step.get_name() in graph.nodes:
                raise SettingsError(
                    f"Two nodes are named {step.get_name()!r}.",
                    hint="Give one of them another name=….",
                )
            graph.add_node(step.get_name(), step, metadata=_about(step))
        self._forth(graph)
        self._back(graph)
        return graph

    @property
    def _done(self) -> list[str]:
        return [*_names(self.after), END]

    def _forth(self, graph: AnyGraph) -> None:
        """From the start to the model. A node with a `way` may end the run."""
        first = [*self.before, *self.turn]
        graph.add_edge(START, first[0].get_name())
        for step, following in pairwise(first):
            name, onward = step.get_name(), following.get_name()
            if way := getattr(step, "way", None):
                graph.add_conditional_edges(name, way, {"go": onward, "stop": self._done[0]})
            else:
                graph.add_edge(name, onward)

    def _back(self, graph: AnyGraph) -> None:
        """From the model round through the tools, or to the end."""
        again = self.turn[0].get_name()
        end = self._done[0]
        ways: dict[Hashable, str] = {"done": end, "again": again, "tools": end}
        if self.tools:
            ways["tools"] = self.tools.get_name()
            graph.add_edge(self.tools.get_name(), again)
        graph.add_conditional_edges(self.turn[-1].get_name(), next_step, ways)
        for first, second in pairwise(self._done):
            graph.add_edge(first, second)


def next_step(state: State) -> str:
    """Where the model's reply leads: to the `tools`, to `again` ask, or `done`."""
    reply = last_reply(state["messages"])
    if reply is None:
        return "done"
    if reply.tool_calls:
        return "tools"
    return "again" if reply.invalid_tool_calls else "done"


def merged_schema(schemas: Iterable[type | None]) -> type:
    """One TypedDict with the channels of all.

    Raises:
        SettingsError: Two schemas give one channel different types or reducers.
    """
    channels: dict[str, Any] = {}
    for schema in schemas:
        for key, hint in (get_type_hints(schema, include_extras=True) if schema else {}).items():
            if channels.setdefault(key, hint) != hint:
                raise SettingsError(
                    f"The channel {key!r} is {channels[key]!r} in one schema and {hint!r} "
                    f"in {schema!r}.",
                    hint="Rename one of them.",
                )
    make: Any = TypedDict  # its call form wants literals from a type checker
    merged: type = make("AgentState", channels)
    return merged


def _names(steps: Sequence[Step]) -> list[str]:
    return [step.get_name() for step in steps]


def _about(step: Step) -> dict[str, str]:
    """What Studio shows of a node besides its name: what happens in it, or its first line."""
    inside = getattr(step, "inside", ())
    told = f"In this order: {', '.join(inside)}." if len(inside) > 1 else ""
    told = told or (inspect.getdoc(type(step)) or "").partition("\n")[0]
    return {"description": told} if told else {}
