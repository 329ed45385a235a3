"""The base of every prebuilt node: one plan, run in whichever colour the graph runs."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.runtime import Runtime, get_runtime
from typing_extensions import override

from plumbgraph import plan
from plumbgraph.plan import Plan

State: TypeAlias = Any
"""A graph's state as its nodes see it: a mapping with the channels of its schema."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One call a node wants made, in both colours."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]

    @classmethod
    def of(cls, runnable: Runnable[Any, Any], value: Any, config: RunnableConfig | None) -> Ask:
        """Ask a runnable for its output, inside the caller's trace."""
        return cls(lambda: runnable.invoke(value, config), lambda: runnable.ainvoke(value, config))


def off_loop(call: Callable[..., Any], *arguments: Any) -> Ask:
    """Ask for a call that may block: it runs in a thread where there is a loop."""
    return Ask(lambda: call(*arguments), lambda: asyncio.to_thread(call, *arguments))


class Node(Runnable[Any, Any]):
    """A node for any StateGraph that works under `invoke` and `ainvoke` alike.

    A subclass writes its logic once, as a plan that yields `Ask`s and returns the state's
    update; the runtime (store, context, stream writer) comes from LangGraph. A Runnable is the
    only form of node that has both colours and the runtime without private imports.

    Attributes:
        state_schema: The channels this node needs in the state, as a TypedDict; None for none.
    """

    name: str
    state_schema: ClassVar[type | None] = None

    def __init__(self, *, name: str | None = None) -> None:
        self.name = name or type(self).__name__

    @property
    def inside(self) -> tuple[str, ...]:
        """The names of what happens in this one step, in order."""
        return (self.name,)

    @abstractmethod
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, Any]:
        """The node's logic: yields calls to make, is sent their results, returns the update."""

    @override
    def invoke(self, input: State, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return plan.run(self.plan(input, _runtime(), config), lambda ask: ask.call())

    @override
    async def ainvoke(
        self, input: State, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        return await plan.arun(self.plan(input, _runtime(), config), lambda ask: ask.acall())


def _runtime() -> Runtime[Any]:
    """The running graph's runtime; an empty one when the node is called by hand."""
    try:
        return get_runtime()
    except RuntimeError:
        return Runtime()
