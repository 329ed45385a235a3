"""Trees, block lists and steps as bytes: one canonical form, and a strict reader.

A tree is JSON: a list of entries sorted by the bytes of their names. Equal folders give equal
bytes, hence equal digests; whatever is not canonical is refused, so that nothing can hide.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from plumbgraph.content.digest import SIZE, is_digest
from plumbgraph.errors import WorkspaceUnsafe
from plumbgraph.workspace.names import checked_mode, checked_name, checked_target
from plumbgraph.workspace.values import LARGE, WHOLE, Dir, Entry, File, Link, Step, Tree


def encode_tree(tree: Tree) -> bytes:
    """The canonical bytes of a tree."""
    rows = [row_of(name, tree[name]) for name in sorted(tree, key=os.fsencode)]
    return json.dumps(rows, separators=(",", ":")).encode()


def row_of(name: str, entry: Entry) -> list[Any]:
    """An entry as plain data."""
    match entry:
        case File(mode, size, digest, split):
            return [name, "b" if split else "f", mode, size, digest]
        case Link(target):
            return [name, "l", target]
        case Dir(mode, digest, files, size):
            return [name, "d", mode, digest, files, size]


def decode_tree(data: bytes, path: str = "") -> dict[str, Entry]:
    """The tree that `encode_tree` wrote, for the folder at `path`.

    Raises:
        WorkspaceUnsafe: It is malformed, not canonical, or names something that must not be.
    """
    rows = _parsed(data, path)
    if not isinstance(rows, list):
        raise _refused(path)
    tree: dict[str, Entry] = {}
    for row in rows:
        if not isinstance(row, list) or not row:
            raise _refused(path)
        name = checked_name(row[0], path)
        tree[name] = entry_of(row, f"{path}/{name}" if path else name)
    if len(tree) != len(rows) or encode_tree(tree) != data:
        raise _refused(path)
    return tree


def entry_of(row: list[Any], path: str) -> Entry:
    """The entry that `row_of` told.

    Raises:
        WorkspaceUnsafe: It is malformed or must not be.
    """
    match row:
        case [_, "f", mode, size, digest] if _count(size) and is_digest(digest):
            return File(checked_mode(mode, path), size, digest)
        case [_, "b", mode, size, digest] if (
            _count(size) and WHOLE < size <= LARGE and is_digest(digest)
        ):
            return File(checked_mode(mode, path), size, digest, split=True)
        case [_, "l", target]:
            return Link(checked_target(path, target))
        case [_, "d", mode, digest, files, size] if (
            _count(size) and _count(files) and is_digest(digest)
        ):
            return Dir(checked_mode(mode, path), digest, files, size)
        case _:
            raise WorkspaceUnsafe(f"{path!r} is of no kind a workspace knows.", path=path)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def totals(tree: Tree) -> tuple[int, int]:
    """Files and bytes in and below a tree."""
    return sum(e.files for e in tree.values()), sum(e.size for e in tree.values())


def checked_totals(entry: Dir, tree: Tree, path: str) -> None:
    """Make sure a folder's entry counts what its tree holds.

    Raises:
        WorkspaceUnsafe: It does not, which could hide a breach of the quota.
    """
    if (entry.files, entry.size) != totals(tree):
        raise WorkspaceUnsafe(f"The folder {path!r} counts its content wrongly.", path=path)


def encode_blocks(digests: Sequence[str]) -> bytes:
    """The block list of a file."""
    return bytes.fromhex("".join(digests))


def decode_blocks(data: bytes, file: File, path: str = "") -> list[str]:
    """The digests of a file's blocks.

    Raises:
        WorkspaceUnsafe: Their number does not fit the file's size.
    """
    if len(data) != SIZE * -(-file.size // file.block):
        raise WorkspaceUnsafe(f"The block list of {path!r} does not fit its size.", path=path)
    return [data[at : at + SIZE].hex() for at in range(0, len(data), SIZE)]


def encode_step(step: Step) -> bytes:
    """The canonical bytes of a step."""
    return json.dumps(
        {"root": step.root, "parents": list(step.parents)}, separators=(",", ":")
    ).encode()


def decode_step(data: bytes) -> Step:
    """The step that `encode_step` wrote.

    Raises:
        WorkspaceUnsafe: It is malformed.
    """
    match _parsed(data, ""):
        case {"root": root, "parents": [*parents]} if is_digest(root) and all(
            map(is_digest, parents)
        ):
            return Step(root, tuple(parents))
        case _:
            raise WorkspaceUnsafe("A recorded step is malformed.", path="")


def _parsed(data: bytes, path: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise _refused(path) from None


def _refused(path: str) -> WorkspaceUnsafe:
    return WorkspaceUnsafe(f"The manifest of {path or '.'!r} is malformed.", path=path)
