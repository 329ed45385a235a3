"""What state says about the workspace: about 100 bytes, and how parallel branches join there.

A reference names a step, which names a manifest and what it came from. While branches wait to be
merged, the value is `{"heads": [reference, …]}`; the next node that enters merges them. The
reducer does no I/O: an update says in `from` which heads it has seen, and replaces those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from plumbgraph.content.digest import is_digest
from plumbgraph.errors import WorkspaceUnsafe
from plumbgraph.workspace.values import Manifest

Reference: TypeAlias = dict[str, Any]

_SHORT = 12
_NOTES = 8
_NOTE_LENGTH = 160
EVERY = "*"


def reference(
    manifest: Manifest, step: str, *, seen: Iterable[str] | None = None, notes: Iterable[str] = ()
) -> Reference:
    """The value a node returns for the workspace channel.

    Args:
        manifest: What the folder holds.
        step: The digest of its step, or of the manifest itself.
        seen: Steps of the heads it replaces; all by default, as when a person sets it.
        notes: What the model should know.
    """
    value: Reference = {
        "step": step,
        "files": manifest.files,
        "bytes": manifest.size,
        "from": EVERY if seen is None else [digest[:_SHORT] for digest in seen],
    }
    told = [note[:_NOTE_LENGTH] for note in notes][:_NOTES]
    return {**value, "notes": told} if told else value


def heads(value: Mapping[str, Any] | None) -> list[Reference]:
    """The references that make up the channel's value; none at first.

    Raises:
        WorkspaceUnsafe: It is no reference.
    """
    if not value:
        return []
    found = value.get("heads", [value])
    if not isinstance(found, list) or not all(map(_sound, found)):
        raise WorkspaceUnsafe(
            f"The state's workspace is no reference: {value!r}.",
            hint="Set it with `workspace.reference(manifest)`.",
            path="",
        )
    return found


def _sound(value: object) -> bool:
    return isinstance(value, dict) and is_digest(value.get("step"))


def join_references(left: Reference | None, right: Reference | None) -> Reference:
    """The channel's reducer: what was seen is replaced, what was not stays beside it."""
    new = heads(right)
    if not right or not new:
        return left or {}
    seen = right.get("from", [])
    kept = [] if seen == EVERY else [h for h in heads(left) if h["step"][:_SHORT] not in seen]
    plain = [{key: value for key, value in head.items() if key != "from"} for head in new]
    merged = {head["step"]: head for head in (*kept, *plain)}
    values = list(merged.values())
    return values[0] if len(values) == 1 else {"heads": values}


def beside(one: Reference, other: Reference) -> Reference:
    """One update out of two that were made at the same time: the next node merges their heads."""
    seen = [each.get("from", []) for each in (one, other)]
    known = EVERY if EVERY in seen else list(dict.fromkeys(step for each in seen for step in each))
    plain = [{k: v for k, v in head.items() if k != "from"} for head in heads(one) + heads(other)]
    return {"heads": list({head["step"]: head for head in plain}.values()), "from": known}
