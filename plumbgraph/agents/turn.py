"""`TurnNode`: what decides before the model, and the model, in one super-step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NotRequired, TypeAlias, get_args, get_origin, get_type_hints

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from typing_extensions import override

from plumbgraph.agents.node import Ask, Node, State
from plumbgraph.agents.stages import merged_schema
from plumbgraph.plan import Plan

Reducer: TypeAlias = Callable[[Any, Any], Any]


class TurnNode(Node):
    """A node together with those that decide before it, as one super-step of the graph.

    Every super-step is a checkpoint, and a checkpoint costs more than a decision. So nodes that
    only decide are no steps of their own: each sees the state as the ones before it left it, and
    what all of them say is one update. One whose `way` says `stop` ends the step there.

    Args:
        last: The node that acts; this one has its name.
        before: The nodes that decide, in their order.
    """

    def __init__(self, last: Node, before: Sequence[Node]) -> None:
        super().__init__(name=last.name)
        self.last = last
        self.before = tuple(before)
        # Instance's own: the channels and the edges are those of the nodes inside.
        schema = merged_schema([each.state_schema for each in (*before, last)])
        self.state_schema = schema  # type: ignore[misc]
        self._reducers = reducers_of(schema)
        if self._ways:
            self.way = self._way

    @property
    def _ways(self) -> list[Callable[[State], str]]:
        return [each.way for each in self.before if hasattr(each, "way")]

    def _way(self, state: State) -> str:
        return "stop" if any(way(state) == "stop" for way in self._ways) else "go"

    @property
    @override
    def inside(self) -> tuple[str, ...]:
        return tuple(name for each in (*self.before, self.last) for name in each.inside)

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, Any]]:
        update: dict[str, Any] = {}
        for each in self.before:
            said = yield from each.plan(state, runtime, config)
            state = self._after(state, said)
            update = joined(update, said)
            way = getattr(each, "way", None)
            if way is not None and way(state) == "stop":
                return update
        said = yield from self.last.plan(state, runtime, config)
        return joined(update, said)

    def _after(self, state: State, said: Mapping[str, Any]) -> State:
        """The state as the next node inside sees it."""
        held = dict(state)
        for key, value in said.items():
            reducer = self._reducers.get(key)
            held[key] = reducer(held.get(key), value) if reducer else value
        return held


def joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two updates as one: lists one after the other, mappings by key, else the second."""
    both = {**first, **second}
    for key in first.keys() & second.keys():
        one, other = first[key], second[key]
        if isinstance(one, list) and isinstance(other, list):
            both[key] = [*one, *other]
        elif isinstance(one, Mapping) and isinstance(other, Mapping):
            both[key] = {**one, **other}
    return both


def reducers_of(schema: type) -> dict[str, Reducer]:
    """The reducers of a schema's channels, by name; new messages just follow the old ones."""
    found: dict[str, Reducer] = {}
    for key, hint in get_type_hints(schema, include_extras=True).items():
        inner = get_args(hint)[0] if get_origin(hint) is NotRequired else hint
        if get_origin(inner) is Annotated and callable(inner.__metadata__[-1]):
            found[key] = inner.__metadata__[-1]
    return {**found, "messages": lambda held, new: [*(held or ()), *new]}
