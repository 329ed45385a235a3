"""What a folder is made of, as values: entries, trees, manifests, steps and quotas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from plumbgraph.html import Rows

WHOLE = 64 << 10
"""Files with more bytes than this are stored in blocks, so that a small change costs little."""

LARGE = 1 << 20
"""Files with more bytes than this have large blocks, so that the list of them stays short."""

BLOCK = 64 << 10
"""Bytes in a block of a large file; one that is not large has blocks of half of it."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file; `digest` names its content, or the list of its blocks.

    Attributes:
        split: A file that is not large is stored in blocks all the same; large ones always are.
    """

    mode: int
    size: int
    digest: str
    split: bool = False

    @property
    def in_blocks(self) -> bool:
        """Whether the content is stored in blocks."""
        return self.split or self.size > LARGE

    @property
    def block(self) -> int:
        """Bytes in each of its blocks but the last."""
        return block_of(self.size)

    files = 1


def block_of(size: int) -> int:
    """Bytes in the blocks of a file of `size` bytes."""
    return BLOCK if size > LARGE else BLOCK // 2


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link whose target lies inside the folder."""

    target: str

    files = 1
    size = 0


@dataclass(frozen=True, slots=True)
class Dir:
    """A folder; `digest` names its tree, `files` and `size` count everything below."""

    mode: int
    digest: str
    files: int
    size: int


Entry: TypeAlias = File | Link | Dir
Tree: TypeAlias = Mapping[str, Entry]
"""The entries of one folder by name."""


@dataclass(frozen=True, slots=True)
class Left:
    """Something in the folder that a snapshot does not keep, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A folder's whole state.

    Attributes:
        digest: Names the root's tree, and through it everything: equal folders, equal digests.
        files: Files and links in it.
        size: Their bytes.
        left: What is in the folder but not in the manifest; not part of the digest.
    """

    digest: str
    files: int
    size: int
    left: tuple[Left, ...] = ()

    def _repr_html_(self) -> str:
        return (
            f"<table><tr><th>manifest</th><td><code>{self.digest[:16]}…</code></td></tr>"
            f"<tr><th>files</th><td>{self.files:,}</td></tr>"
            f"<tr><th>bytes</th><td>{self.size:,}</td></tr>"
            f"<tr><th>left out</th><td>{len(self.left)}</td></tr></table>"
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A manifest and what it came from, as a commit is to a tree."""

    root: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a workspace may hold.

    Attributes:
        size: Bytes in all files.
        files: Files and links.
        depth: Folders within folders.
    """

    size: int = 1 << 30
    files: int = 20_000
    depth: int = 64


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two manifests; `None` where it does not exist."""

    path: str
    before: Entry | None
    after: Entry | None

    @property
    def kind(self) -> str:
        """`added`, `removed`, `mode`, `type` or `modified`."""
        before, after = self.before, self.after
        if before is None:
            return "added"
        if after is None:
            return "removed"
        if type(before) is not type(after):
            return "type"
        if isinstance(before, File) and isinstance(after, File):
            return "mode" if before.digest == after.digest else "modified"
        return "mode" if isinstance(before, Dir) else "modified"

    def __str__(self) -> str:
        return f"{self.kind:8} {self.path}"


class Diff(Rows):
    """What differs between two manifests: one row a path."""

    columns = ("path", "what happened", "bytes before", "bytes after")

    def cells(self, each: Any) -> Sequence[Any]:
        """One changed path."""
        before, after = each.before, each.after
        return (
            each.path,
            each.kind,
            None if before is None else f"{before.size:,}",
            None if after is None else f"{after.size:,}",
        )
