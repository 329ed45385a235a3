"""Memory: versioned facts that expire, supersede and can be asked as of any moment."""

from plumbgraph.memory.attributes import Attribute, Attributes
from plumbgraph.memory.facts import Fact, Outcome, Remember
from plumbgraph.memory.items import MemoryItem, MemorySearchItem
from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.ops import Delete, Get, History, Put
from plumbgraph.memory.recollection import Hit, Recollection
from plumbgraph.memory.records import (
    Marks,
    Provenance,
    Version,
)
from plumbgraph.memory.sleep import Rewrite, SleepReport, SleepRules
from plumbgraph.memory.store import MemoryStore

__all__ = [
    "Attribute",
    "Attributes",
    "Delete",
    "Fact",
    "Get",
    "History",
    "Hit",
    "Marks",
    "MemoryItem",
    "MemorySearchItem",
    "MemoryStore",
    "Namespace",
    "Outcome",
    "Provenance",
    "Put",
    "Recollection",
    "Remember",
    "Rewrite",
    "SleepReport",
    "SleepRules",
    "Version",
]
