"""What an agent may use: models, tools and web addresses, under managed and recommended rules."""

from plumbgraph.policy.policy import Policy
from plumbgraph.policy.rules import (
    Decision,
    ModelFacts,
    ModelRules,
    Rules,
    ToolRules,
    Verdict,
    WebRules,
)

__all__ = [
    "Decision",
    "ModelFacts",
    "ModelRules",
    "Policy",
    "Rules",
    "ToolRules",
    "Verdict",
    "WebRules",
]
