"""Pictures for notebooks: a run's cost, context and steps, and a memory's versions over time.

Values show themselves as HTML without this package. The plots need the extra `notebook`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumbgraph.lazy import lazily

if TYPE_CHECKING:
    from plumbgraph.notebook.memory import memory_versions as memory_versions
    from plumbgraph.notebook.routing import router_report as router_report
    from plumbgraph.notebook.run import context_tokens as context_tokens
    from plumbgraph.notebook.run import cost_by_model as cost_by_model
    from plumbgraph.notebook.run import story as story
    from plumbgraph.notebook.run import strip as strip
    from plumbgraph.notebook.shown import show as show

_HOMES = {
    "context_tokens": "run",
    "cost_by_model": "run",
    "memory_versions": "memory",
    "router_report": "routing",
    "show": "shown",
    "story": "run",
    "strip": "run",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - names resolve lazily
__getattr__, __dir__ = lazily(__name__, _HOMES)
