"""Pictures for notebooks: a run's cost, context and steps, and a memory's versions over time.

Values show themselves as HTML without this package. The plots need the extra `notebook`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plumbgraph.notebook.memory import memory_versions as memory_versions
    from plumbgraph.notebook.run import context_tokens as context_tokens
    from plumbgraph.notebook.run import cost_by_model as cost_by_model
    from plumbgraph.notebook.run import story as story
    from plumbgraph.notebook.run import strip as strip
    from plumbgraph.notebook.shown import show as show

_HOMES = {
    "context_tokens": "run",
    "cost_by_model": "run",
    "memory_versions": "memory",
    "show": "shown",
    "story": "run",
    "strip": "run",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - names resolve lazily


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
