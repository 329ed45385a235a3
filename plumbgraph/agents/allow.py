"""The types of one's own that a graph's state may hold, read off its schemas."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, get_args, get_type_hints

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel
from typing_extensions import is_typeddict

AnyGraph = StateGraph[Any, Any, Any, Any] | CompiledStateGraph[Any, Any, Any, Any]


def types_in_state(graph: AnyGraph) -> frozenset[type]:
    """The pydantic models, dataclasses and enums that stand in a graph's schemas, nested ones too.

    A checkpointer with strict types has to be told of them: `PlumbSaver(allow=…)`. Types that
    only appear at run time, behind `Any` for example, are not found.
    """
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else graph
    schemas = [builder.state_schema, builder.input_schema, builder.output_schema]
    schemas += [node.input_schema for node in builder.nodes.values()]
    found: set[type] = set()
    _collect(schemas, found, set())
    return frozenset(found)


def _collect(hints: Iterable[Any], found: set[type], seen: set[int]) -> None:
    for hint in hints:
        if id(hint) in seen:
            continue
        seen.add(id(hint))
        if isinstance(hint, type) and _is_own(hint):
            found.add(hint)
        _collect(_within(hint), found, seen)


def _is_own(hint: type) -> bool:
    own = issubclass(hint, BaseModel | Enum) or dataclasses.is_dataclass(hint)
    return own and not hint.__module__.startswith(("langchain_core.", "langgraph."))


def _within(hint: Any) -> Iterator[Any]:
    """What a type is made of: its arguments, and its fields where it has any."""
    yield from get_args(hint)
    if hasattr(hint, "__supertype__"):
        yield hint.__supertype__
    if isinstance(hint, type) and (_is_own(hint) or is_typeddict(hint)):
        try:
            yield from get_type_hints(hint, include_extras=True).values()
        except NameError:  # a name known to type checkers alone
            return
