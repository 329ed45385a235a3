"""plumbgraph: the plumbing that lets LangGraph agents actually run.

Public names load on first use, so importing the package costs next to nothing and pulls in
neither langgraph nor langchain nor redis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plumbgraph import errors as errors

__version__ = "0.1.0"

_HOMES: dict[str, str] = {}
_MODULES: tuple[str, ...] = ("errors",)

__all__ = ["__version__", *_HOMES, *_MODULES]  # noqa: PLE0604 - names resolve lazily


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
