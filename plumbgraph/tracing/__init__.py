"""One event stream: typed events, written through to the sinks that are attached.

`emit` is what every domain calls; `trace` attaches a log file or sinks to a graph, a config or
a block of code. What needs langchain loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from plumbgraph.tracing.emit import Sink, attach, detach, emit
from plumbgraph.tracing.events import Event

if TYPE_CHECKING:
    from plumbgraph.tracing.handler import Trace as Trace
    from plumbgraph.tracing.handler import trace as trace
    from plumbgraph.tracing.jsonl import JsonLog as JsonLog
    from plumbgraph.tracing.reader import read_log as read_log

_HOMES = {"JsonLog": "jsonl", "Trace": "handler", "read_log": "reader", "trace": "handler"}

__all__ = ["Event", "Sink", "attach", "detach", "emit", *_HOMES]  # noqa: PLE0604 - lazy names


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
