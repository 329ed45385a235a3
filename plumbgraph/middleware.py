"""The prebuilt middleware, for `langchain.agents.create_agent` and deepagents."""

from plumbgraph.agents.memory_middleware import MemoryMiddleware
from plumbgraph.agents.middleware import EffectMiddleware, GuardMiddleware, WorkspaceMiddleware
from plumbgraph.agents.policy_middleware import PolicyMiddleware
from plumbgraph.agents.router_middleware import RouterMiddleware
from plumbgraph.agents.skill_middleware import SkillMiddleware

__all__ = [
    "EffectMiddleware",
    "GuardMiddleware",
    "MemoryMiddleware",
    "PolicyMiddleware",
    "RouterMiddleware",
    "SkillMiddleware",
    "WorkspaceMiddleware",
]
