"""What to do to a folder so that it becomes a manifest: decided before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass, field

from plumbgraph.errors import WorkspaceQuota, WorkspaceUnsafe
from plumbgraph.workspace.exclude import BY_RULE
from plumbgraph.workspace.names import collisions
from plumbgraph.workspace.ops import BlobPlan
from plumbgraph.workspace.reader import EMPTY, Trees, root_of
from plumbgraph.workspace.scan import Seen
from plumbgraph.workspace.values import Dir, Entry, File, Link, Quota, Tree


@dataclass(slots=True)
class Changes:
    """What a restore will do.

    Attributes:
        doomed: Entries that go away or are overwritten, by path.
        emptied: Folders to remove once empty, the deepest first.
        blocked: What must go although it cannot be kept: pipes, links to the outside, folders
            with such things in them.
        folders: Folders to make, parents first.
        files: Files to write.
        links: Links to make, after everything else.
        modes: Permission bits to set on files and folders that stay.
        twins: Names that a file system which ignores case would merge.
    """

    doomed: dict[str, Entry] = field(default_factory=dict)
    emptied: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    twins: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(
            (self.doomed, self.emptied, self.blocked, self.folders, self.files, self.links,
             self.modes)
        )  # fmt: skip


def compare(trees: Trees, seen: Seen, root: str, quota: Quota) -> BlobPlan[Changes]:
    """The changes that turn the folder `seen` into the manifest `root`.

    Raises:
        WorkspaceQuota: The result would exceed the quota.
        WorkspaceUnsafe: The manifest holds what must not be written.
    """
    changes = Changes()
    level: dict[str, tuple[Seen | None, Dir]] = {"": (seen, root_of(root))}
    if seen.digest == root:
        return changes
    while level:
        below = yield from trees.below({path: entry for path, (_, entry) in level.items()})
        if "" in below:
            _check_quota(below[""], quota)
        following: dict[str, tuple[Seen | None, Dir]] = {}
        for path, tree in below.items():
            changes.twins += collisions(tree)
            _one(changes, path, level[path][0], tree, following)
        level = following
    return changes


def _check_quota(tree: Tree, quota: Quota) -> None:
    number, size = sum(e.files for e in tree.values()), sum(e.size for e in tree.values())
    if number > quota.files or size > quota.size:
        raise WorkspaceQuota(
            f"The manifest holds {number:,} files and {size:,} bytes, beyond the quota.",
            files=number,
            size=size,
        )


def _one(
    changes: Changes,
    path: str,
    seen: Seen | None,
    tree: Tree,
    following: dict[str, tuple[Seen | None, Dir]],
) -> None:
    there = seen.tree if seen else EMPTY
    dirs = seen.dirs if seen else {}
    left = seen.left if seen else {}
    for name in [name for name in there if name not in tree]:
        _gone(changes, _join(path, name), there[name], dirs.get(name))
    for name, entry in tree.items():
        where, was = _join(path, name), there.get(name)
        if name in left and left[name][0] not in BY_RULE:
            changes.blocked.append(where)
        elif name in left:
            raise WorkspaceUnsafe(
                f"{where!r} is in the manifest, but here it is left out ({left[name][0]}).",
                hint="Move it away, or restore with the rules the snapshot was taken with.",
                path=where,
            )
        folder = dirs.get(name)
        if isinstance(entry, Dir):
            _folder(changes, where, entry, was, folder, following)
        elif was != entry:
            _plain(changes, where, entry, was, folder)


def _folder(
    changes: Changes,
    where: str,
    entry: Dir,
    was: Entry | None,
    folder: Seen | None,
    following: dict[str, tuple[Seen | None, Dir]],
) -> None:
    if folder is None:
        if was is not None:
            changes.doomed[where] = was
        changes.folders[where] = entry.mode
    elif folder.mode != entry.mode:
        changes.modes[where] = entry.mode
    if folder is None or folder.digest != entry.digest:
        following[where] = (folder, entry)


def _plain(
    changes: Changes, where: str, entry: File | Link, was: Entry | None, folder: Seen | None
) -> None:
    if folder is not None:
        _gone(changes, where, was, folder)
        if where not in changes.emptied:
            changes.blocked.append(where)
    elif (
        isinstance(entry, File) and isinstance(was, File)
        and (was.digest, was.size) == (entry.digest, entry.size)
    ):  # fmt: skip
        changes.modes[where] = entry.mode
        return
    elif was is not None:
        changes.doomed[where] = was
    if isinstance(entry, File):
        changes.files[where] = entry
    else:
        changes.links[where] = entry


def _gone(changes: Changes, where: str, was: Entry | None, folder: Seen | None) -> None:
    if folder is None:
        assert was is not None
        changes.doomed[where] = was
        return
    for name, below in folder.tree.items():
        _gone(changes, _join(where, name), below, folder.dirs.get(name))
    # What a snapshot leaves out is nobody's to remove: such a folder stays, and is in no manifest.
    if not folder.left_below():
        changes.emptied.append(where)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
