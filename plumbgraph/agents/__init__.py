"""Agents out of the parts: prebuilt nodes, whole agents, and the servers they run on.

Names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumbgraph.lazy import lazily

if TYPE_CHECKING:
    from plumbgraph.agents.allow import types_in_state as types_in_state
    from plumbgraph.agents.create import Parts as Parts
    from plumbgraph.agents.create import build_agent as build_agent
    from plumbgraph.agents.create import create_agent as create_agent
    from plumbgraph.agents.effects import journal_for as journal_for
    from plumbgraph.agents.files import file_tools as file_tools
    from plumbgraph.agents.memory import memory_tools as memory_tools
    from plumbgraph.agents.models import resolve_model as resolve_model
    from plumbgraph.agents.node import Node as Node
    from plumbgraph.agents.remembering import Memory as Memory
    from plumbgraph.agents.subagents import subagent as subagent

_HOMES: dict[str, str] = {
    "Memory": "plumbgraph.agents.remembering",
    "Node": "plumbgraph.agents.node",
    "Parts": "plumbgraph.agents.create",
    "build_agent": "plumbgraph.agents.create",
    "create_agent": "plumbgraph.agents.create",
    "file_tools": "plumbgraph.agents.files",
    "journal_for": "plumbgraph.agents.effects",
    "memory_tools": "plumbgraph.agents.memory",
    "resolve_model": "plumbgraph.agents.models",
    "subagent": "plumbgraph.agents.subagents",
    "types_in_state": "plumbgraph.agents.allow",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - names resolve lazily
__getattr__, __dir__ = lazily(__name__, _HOMES)
