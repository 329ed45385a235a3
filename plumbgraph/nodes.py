"""The prebuilt nodes, for any StateGraph."""

from plumbgraph.agents.guard import GuardNode
from plumbgraph.agents.model import ModelNode
from plumbgraph.agents.node import Node

__all__ = ["GuardNode", "ModelNode", "Node"]
