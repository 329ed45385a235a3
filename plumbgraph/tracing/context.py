"""Where in which run this code is executing, taken from the running LangGraph config.

Only public names are read, and only of modules that are already imported: code outside any
graph, or in a process without langchain, pays a dictionary lookup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

KEYS = ("thread_id", "run_id", "step", "node", "checkpoint_ns", "checkpoint_id", "attempt")
"""The correlation keys, in the order in which a line shows them."""

RUN: ContextVar[Mapping[str, Any] | None] = ContextVar("plumbgraph_run", default=None)
"""Thread and run of the traced graph whose frames this code was called from."""


@runtime_checkable
class TracesRuns(Protocol):
    """A callback handler that knows the root run of the runs it has seen, and has sinks."""

    plumb_sinks: tuple[Any, ...]

    def root_of(self, run_id: Any) -> str | None:
        """The id of the root run above `run_id`, if it was seen to start."""


def running_config() -> Mapping[str, Any] | None:
    """The config of the node or tool that is executing here, or `None` outside of one."""
    module = sys.modules.get("langchain_core.runnables.config")
    variable = getattr(module, "var_child_runnable_config", None)
    return variable.get() if variable is not None else None


def tracers(config: Mapping[str, Any] | None) -> Iterator[TracesRuns]:
    """The tracing handlers attached to a config."""
    callbacks = config.get("callbacks") if config else None
    for handler in getattr(callbacks, "handlers", None) or (
        callbacks if isinstance(callbacks, list) else ()
    ):
        if isinstance(handler, TracesRuns):
            yield handler


def correlation(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The correlation of code under `config`; absent keys are left out."""
    found = dict(RUN.get() or ())
    if not config:
        return found
    found.update(from_metadata(config.get("metadata") or {}))
    configurable = config.get("configurable") or {}
    found.setdefault("thread_id", configurable.get("thread_id"))
    found.update(_from_runtime())
    run_id = getattr(config.get("callbacks"), "parent_run_id", None)
    for tracer in tracers(config):
        root = tracer.root_of(run_id)
        if root is not None:
            found["run_id"] = root
    return {key: found[key] for key in KEYS if found.get(key) is not None}


def from_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Thread, step, node and namespace out of the metadata LangGraph gives to callbacks."""
    values = {
        "thread_id": metadata.get("thread_id"),
        "step": metadata.get("langgraph_step"),
        "node": metadata.get("langgraph_node"),
        "checkpoint_ns": metadata.get("langgraph_checkpoint_ns"),
    }
    return {key: value for key, value in values.items() if value is not None}


def _from_runtime() -> dict[str, Any]:
    """What the running node's `ExecutionInfo` adds: checkpoint, attempt, and the run's id."""
    module = sys.modules.get("langgraph.runtime")
    if module is None:
        return {}
    try:
        info = module.get_runtime().execution_info
    except (RuntimeError, KeyError, AttributeError):
        return {}
    if info is None:
        return {}
    values = {
        "run_id": info.run_id,
        "checkpoint_id": info.checkpoint_id,
        "attempt": getattr(info, "node_attempt", None),
    }
    return {key: value for key, value in values.items() if value is not None}
