"""A node's function as a Runnable, with the arguments LangGraph gives nodes by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config, run_in_executor
from langgraph.config import get_store, get_stream_writer
from langgraph.runtime import get_runtime
from typing_extensions import override

from plumbgraph.errors import SettingsError

NodeLike: TypeAlias = Runnable[Any, Any] | Callable[..., Any]
"""What `StateGraph.add_node` takes: a Runnable, or a function of the state."""

_GIVEN: dict[str, Callable[[RunnableConfig], Any]] = {
    "config": lambda config: config,
    "runtime": lambda _: get_runtime(),
    "store": lambda _: get_store(),
    "writer": lambda _: get_stream_writer(),
}


def as_runnable(inner: NodeLike) -> Runnable[Any, Any]:
    """`inner` as a Runnable; a compiled graph or a node of ours stays what it is."""
    return inner if isinstance(inner, Runnable) else FunctionNode(inner)


class FunctionNode(Runnable[Any, Any]):
    """A function of the state that may also ask for `config`, `runtime`, `store` and `writer`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self._asynchronous = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - whether it is async, not callable
        )
        names = [*inspect.signature(function).parameters][1:]
        self._wanted = [name for name in names if name in _GIVEN]

    def _extra(self, config: RunnableConfig) -> dict[str, Any]:
        return {name: _GIVEN[name](config) for name in self._wanted}

    @override
    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        if self._asynchronous:
            raise SettingsError(
                f"{self.name!r} is async and was invoked without a loop.",
                hint="Run the graph with `ainvoke` or `astream`.",
            )
        return self._function(input, **self._extra(ensure_config(config)))

    @override
    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        if self._asynchronous:
            return await self._function(input, **self._extra(ensure_config(config)))
        extra = self._extra(ensure_config(config))
        return await run_in_executor(config, self._function, input, **extra)
