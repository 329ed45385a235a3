"""Effects: what a graph does to the outside happens once, through crash and resume."""

from plumbgraph.effects.context import Running, current_effect
from plumbgraph.effects.decorator import effect, spec_of
from plumbgraph.effects.journal import Journal
from plumbgraph.effects.repair import dangling, repaired
from plumbgraph.effects.scene import Line
from plumbgraph.effects.values import Call, Done, Outcome, Spec

__all__ = [
    "Call",
    "Done",
    "Journal",
    "Line",
    "Outcome",
    "Running",
    "Spec",
    "current_effect",
    "dangling",
    "effect",
    "repaired",
    "spec_of",
]
