"""The prebuilt nodes, for any StateGraph."""

from plumbgraph.agents.effects import EffectToolNode, RepairNode
from plumbgraph.agents.gate import GateNode
from plumbgraph.agents.guard import GuardNode
from plumbgraph.agents.memory import RecallNode, RememberNode
from plumbgraph.agents.model import ModelNode
from plumbgraph.agents.node import Node
from plumbgraph.agents.routing import RouterNode
from plumbgraph.agents.skills import SkillNode
from plumbgraph.agents.workspace import WorkspaceNode

__all__ = [
    "EffectToolNode",
    "GateNode",
    "GuardNode",
    "ModelNode",
    "Node",
    "RecallNode",
    "RememberNode",
    "RepairNode",
    "RouterNode",
    "SkillNode",
    "WorkspaceNode",
]
