"""The state's keys and reducers of the prebuilt nodes.

They are stored in threads, so each is a public contract with a version.
"""

from plumbgraph.agents.guard import GuardState
from plumbgraph.agents.model import AgentState
from plumbgraph.agents.workspace import WorkspaceState

__all__ = ["AgentState", "GuardState", "WorkspaceState"]
