"""One event stream: typed events, written through to the sinks that are attached.

`emit` is what every domain calls; `trace` attaches a log file or sinks to a graph, a config or
a block of code. What needs langchain loads on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumbgraph.lazy import lazily
from plumbgraph.tracing.emit import Sink, attach, detach, emit
from plumbgraph.tracing.events import Event

if TYPE_CHECKING:
    from plumbgraph.tracing.handler import Trace as Trace
    from plumbgraph.tracing.handler import trace as trace
    from plumbgraph.tracing.jsonl import JsonLog as JsonLog
    from plumbgraph.tracing.reader import read_log as read_log

_HOMES = {"JsonLog": "jsonl", "Trace": "handler", "read_log": "reader", "trace": "handler"}

__all__ = ["Event", "Sink", "attach", "detach", "emit", *_HOMES]  # noqa: PLE0604 - lazy names
__getattr__, __dir__ = lazily(__name__, _HOMES)
