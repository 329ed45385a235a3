"""Where in which run this code is executing, taken from the running LangGraph config.

Only public names are read, and only of modules that are already imported: code outside any
graph, or in a process without langchain, pays a dictionary lookup.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

_NAMES = (
    ("thread_id", "thread_id"),
    ("step", "langgraph_step"),
    ("node", "langgraph_node"),
    ("checkpoint_ns", "langgraph_checkpoint_ns"),
)
KEYS = ("thread_id", "run_id", "step", "node", "checkpoint_ns", "checkpoint_id", "attempt")
"""The correlation keys, in the order in which a line shows them."""


class RunScope(NamedTuple):
    """The traced run whose frames code was called from: a node's, or the graph's own."""

    thread_id: str | None
    run_id: str
    sinks: tuple[Any, ...]


RUN: ContextVar[RunScope | None] = ContextVar("plumbgraph_run", default=None)
"""Set by the handler of `trace` at the start of a root run, for code outside of nodes."""


def running_config() -> Mapping[str, Any] | None:
    """The config of the node or tool that is executing here, or `None` outside of one."""
    module = sys.modules.get("langchain_core.runnables.config")
    variable = getattr(module, "var_child_runnable_config", None)
    return variable.get() if variable is not None else None


def tracers(config: Mapping[str, Any] | None) -> list[Any]:
    """The handlers of `trace` attached to a config: those with `plumb_sinks` and `root_of`."""
    callbacks = config.get("callbacks") if config else None
    handlers = callbacks if isinstance(callbacks, list) else getattr(callbacks, "handlers", ())
    return [handler for handler in handlers if hasattr(handler, "plumb_sinks")]


def correlation(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The correlation of code under `config`; absent keys are left out."""
    scope = RUN.get()
    found: dict[str, Any] = {}
    if scope is not None:
        found.update(thread_id=scope.thread_id, run_id=scope.run_id)
    if config:
        found.update(from_metadata(config.get("metadata") or {}))
        found.setdefault("thread_id", (config.get("configurable") or {}).get("thread_id"))
        found.update(from_runtime())
        run_id = getattr(config.get("callbacks"), "parent_run_id", None)
        roots = [tracer.root_of(run_id) for tracer in tracers(config)]
        found.update(run_id=next(filter(None, roots), found.get("run_id")))
    return {key: found[key] for key in KEYS if found.get(key) is not None}


def from_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Thread, step, node and namespace out of the metadata LangGraph gives to callbacks."""
    found = {}
    for key, name in _NAMES:
        value = metadata.get(name)
        if value is not None:
            found[key] = value
    return found


def from_runtime() -> dict[str, Any]:
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
