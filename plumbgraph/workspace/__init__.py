"""The workspace: a folder whose state is a digest, tied to a graph's steps."""

from plumbgraph.workspace.checkout import Restored
from plumbgraph.workspace.reference import Reference, join_references
from plumbgraph.workspace.retention import IDLE_S, Threads
from plumbgraph.workspace.session import Session, enter
from plumbgraph.workspace.share import SharedWorkspace
from plumbgraph.workspace.values import Change, Dir, Entry, File, Left, Link, Manifest, Quota
from plumbgraph.workspace.workspace import Workspace

__all__ = [
    "IDLE_S",
    "Change",
    "Dir",
    "Entry",
    "File",
    "Left",
    "Link",
    "Manifest",
    "Quota",
    "Reference",
    "Restored",
    "Session",
    "SharedWorkspace",
    "Threads",
    "Workspace",
    "enter",
    "join_references",
]
