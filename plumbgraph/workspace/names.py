"""Which names, modes and link targets may enter or leave a workspace; all others are refused.

Names come from disk as Python decodes them (`surrogateescape`), so one that is not UTF-8
survives the round trip byte for byte.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

from plumbgraph.errors import WorkspaceUnsafe

_LONGEST_NAME = 255
_LONGEST_TARGET = 4095
NEVER = (".git",)
"""Names that are never read, written or removed, whatever the rules or a manifest say."""

MODES = 0o777
"""The permission bits that are kept: setuid, setgid and the sticky bit are not."""


def checked_name(name: object, where: str) -> str:
    """`name`, when it names one entry of one folder.

    Raises:
        WorkspaceUnsafe: It is empty, `.`, `..`, `.git`, too long, or holds a slash or NUL.
    """
    if (
        not isinstance(name, str)
        or name in {"", ".", ".."}
        or name.casefold() in NEVER
        or "/" in name
        or "\0" in name
        or len(_encoded(name, where)) > _LONGEST_NAME
    ):
        raise WorkspaceUnsafe(f"{name!r} in {where!r} cannot be a file's name.", path=where)
    return name


def _encoded(name: str, where: str) -> bytes:
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:
        raise WorkspaceUnsafe(f"{name!r} in {where!r} is not a file name.", path=where) from None


def checked_mode(mode: object, where: str) -> int:
    """`mode`, when it holds permission bits alone.

    Raises:
        WorkspaceUnsafe: It is no number, or has setuid, setgid, sticky or other bits.
    """
    if not isinstance(mode, int) or isinstance(mode, bool) or mode & ~MODES:
        raise WorkspaceUnsafe(f"{where!r} asks for the mode {mode!r}.", path=where)
    return mode


def escapes(path: str, target: str) -> bool:
    """Whether a link at `path` (relative to the folder) points outside of it, by its text.

    Links on the way are not followed here; nothing of plumbgraph ever follows one.
    """
    if not target or target.startswith("/") or "\0" in target:
        return True
    depth = path.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in {"", "."}:
            depth += 1
        if depth < 0:
            return True
    return False


def checked_target(path: str, target: object) -> str:
    """`target`, when a link at `path` may have it.

    Raises:
        WorkspaceUnsafe: It is absolute, leads out of the folder, or is no link's text.
    """
    if (
        not isinstance(target, str)
        or escapes(path, target)
        or len(_encoded(target, path)) > _LONGEST_TARGET
    ):
        raise WorkspaceUnsafe(f"The link {path!r} points outside: {target!r}.", path=path)
    return target


def split_path(path: str) -> list[str]:
    """The names of a relative path.

    Raises:
        WorkspaceUnsafe: It is absolute, or one of its names is refused.
    """
    if path.startswith("/"):
        raise WorkspaceUnsafe(f"{path!r} is absolute; name a path inside.", path=path)
    return [checked_name(part, path) for part in path.rstrip("/").split("/")]


def collisions(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that are one on a file system that ignores case or Unicode form."""
    folded = sorted((unicodedata.normalize("NFC", name).casefold(), name) for name in names)
    return [(a[1], b[1]) for a, b in pairwise(folded) if a[0] == b[0]]
