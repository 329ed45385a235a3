"""The prebuilt nodes, for any StateGraph."""

from plumbgraph.agents.guard import GuardNode
from plumbgraph.agents.model import ModelNode
from plumbgraph.agents.node import Node
from plumbgraph.agents.workspace import WorkspaceNode

__all__ = ["GuardNode", "ModelNode", "Node", "WorkspaceNode"]
