"""The state's keys and reducers of the prebuilt nodes.

They are stored in threads, so each is a public contract with a version.
"""

from plumbgraph.agents.guard import GuardState
from plumbgraph.agents.memory import MemoryState
from plumbgraph.agents.model import AgentState
from plumbgraph.agents.routing import RouteState
from plumbgraph.agents.workspace import WorkspaceState
from plumbgraph.skills.channel import SkillState

__all__ = ["AgentState", "GuardState", "MemoryState", "RouteState", "SkillState", "WorkspaceState"]
