"""plumbgraph: the plumbing that lets LangGraph agents actually run.

Public names load on first use, so importing the package costs next to nothing and pulls in
neither langgraph nor langchain nor redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumbgraph.lazy import lazily

if TYPE_CHECKING:
    from plumbgraph import channels as channels
    from plumbgraph import errors as errors
    from plumbgraph import middleware as middleware
    from plumbgraph import nodes as nodes
    from plumbgraph import servers as servers
    from plumbgraph import testing as testing
    from plumbgraph.agents.create import create_agent as create_agent
    from plumbgraph.agents.open import open as open  # noqa: A004 - `plumbgraph.open`
    from plumbgraph.agents.subagents import subagent as subagent
    from plumbgraph.effects import effect as effect
    from plumbgraph.memory import Fact as Fact
    from plumbgraph.memory import MemoryStore as MemoryStore
    from plumbgraph.policy import Policy as Policy
    from plumbgraph.routing import Budget as Budget
    from plumbgraph.routing import CostRouter as CostRouter
    from plumbgraph.routing import ModelCard as ModelCard
    from plumbgraph.skills.library import SkillLibrary as SkillLibrary
    from plumbgraph.state import PlumbSaver as PlumbSaver
    from plumbgraph.timeline import Timeline as Timeline
    from plumbgraph.tracing import trace as trace
    from plumbgraph.tracing.guard import Guard as Guard
    from plumbgraph.workspace import Workspace as Workspace

__version__ = "0.1.0"

_HOMES: dict[str, str] = {
    "Budget": "plumbgraph.routing",
    "CostRouter": "plumbgraph.routing",
    "create_agent": "plumbgraph.agents.create",
    "effect": "plumbgraph.effects",
    "Fact": "plumbgraph.memory",
    "Guard": "plumbgraph.tracing.guard",
    "MemoryStore": "plumbgraph.memory",
    "ModelCard": "plumbgraph.routing",
    "open": "plumbgraph.agents.open",
    "PlumbSaver": "plumbgraph.state",
    "Policy": "plumbgraph.policy",
    "SkillLibrary": "plumbgraph.skills.library",
    "subagent": "plumbgraph.agents.subagents",
    "Timeline": "plumbgraph.timeline",
    "trace": "plumbgraph.tracing",
    "Workspace": "plumbgraph.workspace",
    **dict.fromkeys(("channels", "errors", "middleware", "nodes", "servers", "testing"), ""),
}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - names resolve lazily
__getattr__, __dir__ = lazily(__name__, _HOMES)
