"""What the workspace reports: snapshots, restores, merges, and what was left out or moved aside."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from plumbgraph.tracing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRestoring(Event):
    """A folder differs from the manifest and is about to be changed."""

    name: ClassVar[str] = "workspace.restoring"
    folder: str
    root: str
    writes: int
    removals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRestored(Event):
    """A folder equals its manifest again."""

    name: ClassVar[str] = "workspace.restored"
    folder: str
    root: str
    written: int
    removed: int
    aside: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceAside(Event):
    """Files that no manifest of the thread knows were moved aside."""

    name: ClassVar[str] = "workspace.aside"
    level: ClassVar[int] = logging.WARNING
    folder: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceStored(Event):
    """A snapshot is committed to the store; no checkpoint names it yet."""

    name: ClassVar[str] = "workspace.stored"
    folder: str
    root: str
    files: int
    bytes: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceMerged(Event):
    """Manifests of parallel branches became one."""

    name: ClassVar[str] = "workspace.merged"
    root: str
    heads: int
    conflicts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceCollected(Event):
    """Content that no thread needs was deleted."""

    name: ClassVar[str] = "workspace.collected"
    kept: int
    deleted: int
    freed_bytes: int
