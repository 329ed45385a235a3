"""Threads out of here: into another saver, as if it had written them itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from plumbgraph.state.versions import next_version


@dataclass(slots=True)
class Respelling:
    """Gives channel versions the unique texts of LangGraph's savers.

    Ours are whole numbers, and two branches may use the same one for different values; savers
    that name values by channel and version would then mix them up.
    """

    known: dict[str, dict[tuple[str, Any], str]] = field(default_factory=dict)

    def __call__(self, found: CheckpointTuple) -> tuple[dict[str, Any], dict[str, str]]:
        """The checkpoint with textual versions, and those that are new in it."""
        checkpoint: Mapping[str, Any] = found.checkpoint
        names = dict(self.known.get(_parent(found) or "", {}))
        new = {}
        for channel, version in checkpoint["channel_versions"].items():
            if (channel, version) not in names:
                names[channel, version] = new[channel] = _spell(version)
        self.known[checkpoint["id"]] = names
        versions = {c: names[c, v] for c, v in checkpoint["channel_versions"].items()}
        seen = {
            node: {c: names.get((c, v)) or _spell(v) for c, v in versions_.items()}
            for node, versions_ in checkpoint["versions_seen"].items()
        }
        return {**checkpoint, "channel_versions": versions, "versions_seen": seen}, new


def _parent(found: CheckpointTuple) -> str | None:
    return found.parent_config["configurable"]["checkpoint_id"] if found.parent_config else None


def _spell(version: Any) -> str:
    if isinstance(version, str):
        return version
    return str(next_version(f"{int(version) - 1}.0"))


def oldest_first(found: Iterable[CheckpointTuple]) -> list[CheckpointTuple]:
    """Checkpoints in the order in which they were made, parents before children."""
    return sorted(found, key=lambda each: each.checkpoint["id"])


def put_arguments(
    found: CheckpointTuple, spell: Respelling
) -> tuple[Any, dict[str, Any], Any, dict[str, str]]:
    """What to call another saver's `put` with."""
    checkpoint, new = spell(found)
    config = dict(found.config["configurable"])
    config.pop("checkpoint_id")
    if (parent := _parent(found)) is not None:
        config["checkpoint_id"] = parent
    return {"configurable": config}, checkpoint, found.metadata, new


def writes_arguments(found: CheckpointTuple) -> list[tuple[Any, list[tuple[str, Any]], str]]:
    """What to call another saver's `put_writes` with, task by task, in their order."""
    return [
        (found.config, [(channel, value) for _, channel, value in mine], task)
        for task, mine in groupby(found.pending_writes or (), lambda write: write[0])
    ]
