"""Reading manifests: trees by digest, paths, differences between two of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from plumbgraph.errors import WorkspaceQuota, WorkspaceUnsafe
from plumbgraph.workspace.names import split_path
from plumbgraph.workspace.ops import BlobPlan, Get
from plumbgraph.workspace.tree import checked_totals, decode_blocks, decode_step, decode_tree
from plumbgraph.workspace.values import Change, Diff, Dir, Entry, File, Quota, Step, Tree

EMPTY: Tree = {}
_BATCH = 128
_DEEP = 64


class Trees:
    """Trees and steps by digest, fetched in batches, the last few thousand remembered."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._known: OrderedDict[str, Tree] = OrderedDict()
        self._steps: OrderedDict[str, Step] = OrderedDict()

    def one(self, digest: str, path: str = "") -> BlobPlan[Tree]:
        """One tree."""
        return (yield from self.many({digest: path}))[digest]

    def many(self, wanted: dict[str, str]) -> BlobPlan[dict[str, Tree]]:
        """Several trees; `wanted` maps each digest to the path it is for."""
        # Several branches read at once: ask and take in one step.
        known = {digest: self._known.get(digest) for digest in wanted}
        found: dict[str, Tree] = {d: tree for d, tree in known.items() if tree is not None}
        absent = [digest for digest in wanted if digest not in found]
        for start in range(0, len(absent), _BATCH):
            got: dict[str, bytes] = yield Get(tuple(absent[start : start + _BATCH]))
            for digest, data in got.items():
                found[digest] = self._known[digest] = decode_tree(data, wanted[digest])
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found

    def remember(self, digest: str, step: Step) -> None:
        """Take a step that is stored, so that it need not be fetched."""
        self._steps[digest] = step
        while len(self._steps) > self._most:
            self._steps.popitem(last=False)

    def step(self, digest: str) -> BlobPlan[Step]:
        """What a digest names: a step, or a manifest (then a step without parents)."""
        return (yield from self.steps((digest,)))[digest]

    def steps(self, digests: Iterable[str]) -> BlobPlan[dict[str, Step]]:
        """Several of them."""
        wanted = tuple(dict.fromkeys(digests))
        # As above: several branches read at once.
        known = {digest: self._steps.get(digest) for digest in wanted}
        found = {digest: step for digest, step in known.items() if step is not None}
        absent = tuple(digest for digest in wanted if digest not in found)
        if absent:
            got: dict[str, bytes] = yield Get(absent)
            for digest, data in got.items():
                found[digest] = decode_step(data) if data[:1] == b"{" else Step(digest)
                self.remember(digest, found[digest])
        return found

    def below(self, level: dict[str, Dir]) -> BlobPlan[dict[str, Tree]]:
        """The trees of several folders by their paths, their counts checked."""
        trees = yield from self.many({entry.digest: path for path, entry in level.items()})
        for path, entry in level.items():
            if path.count("/") >= _DEEP:
                raise WorkspaceUnsafe(f"{path!r} lies too deep.", path=path)
            # The root's entry is made up by whoever asks, and counts nothing.
            if path:
                checked_totals(entry, trees[entry.digest], path)
        return {path: trees[entry.digest] for path, entry in level.items()}


def root_of(digest: str) -> Dir:
    """The root folder of a manifest, as an entry."""
    return Dir(0o755, digest, 0, 0)


def find(trees: Trees, root: str, path: str) -> BlobPlan[Entry | None]:
    """The entry at `path`, or nothing."""
    entry: Entry | None = root_of(root)
    here = ""
    for name in split_path(path):
        if not isinstance(entry, Dir):
            return None
        tree = yield from trees.one(entry.digest, here)
        here = f"{here}/{name}" if here else name
        entry = tree.get(name)
    return entry


def walk(trees: Trees, root: str) -> BlobPlan[dict[str, Entry]]:
    """Every entry of a manifest by path, folders before what is in them."""
    found: dict[str, Entry] = {}
    level = {"": root_of(root)}
    while level:
        below = yield from trees.below(level)
        level = {}
        for path, tree in below.items():
            for name, entry in tree.items():
                where = f"{path}/{name}" if path else name
                found[where] = entry
                if isinstance(entry, Dir):
                    level[where] = entry
    return dict(sorted(found.items()))


def diff(trees: Trees, before: str, after: str) -> BlobPlan[list[Change]]:
    """What differs, by path; equal folders are not even read."""
    changes: list[Change] = []
    level: dict[str, tuple[Entry | None, Entry | None]] = {"": (root_of(before), root_of(after))}
    while level:
        olds = yield from trees.below({p: a for p, (a, _) in level.items() if isinstance(a, Dir)})
        news = yield from trees.below({p: b for p, (_, b) in level.items() if isinstance(b, Dir)})
        level = {}
        for path in {**olds, **news}:
            for where, pair in _pairs(path, olds.get(path, EMPTY), news.get(path, EMPTY)):
                old, new = pair
                if _shown(old, new):
                    changes.append(Change(where, old, new))
                if _deeper(old, new):
                    level[where] = pair
    return Diff(sorted(changes, key=lambda change: change.path))


def _pairs(
    path: str, old: Tree, new: Tree
) -> Iterator[tuple[str, tuple[Entry | None, Entry | None]]]:
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield (f"{path}/{name}" if path else name), (old.get(name), new.get(name))


def _shown(old: Entry | None, new: Entry | None) -> bool:
    both = isinstance(old, Dir) and isinstance(new, Dir)
    return not both or (isinstance(old, Dir) and isinstance(new, Dir) and old.mode != new.mode)


def _deeper(old: Entry | None, new: Entry | None) -> bool:
    a = old.digest if isinstance(old, Dir) else None
    b = new.digest if isinstance(new, Dir) else None
    return a != b


@dataclass(frozen=True, slots=True)
class Content:
    """A file's bytes, in pieces; those of a file in blocks are its blocks."""

    pieces: list[bytes]
    blocks: list[str]


def content(file: File, path: str = "") -> BlobPlan[list[bytes]]:
    """A file's content, in pieces."""
    return (yield from contents({path: file}))[path].pieces


def contents(wanted: Mapping[str, File]) -> BlobPlan[dict[str, Content]]:
    """The content of several files by their paths, in as few requests as there can be.

    Raises:
        WorkspaceUnsafe: What is stored does not fit a file's size.
    """
    got: dict[str, bytes] = yield Get(_once(file.digest for file in wanted.values()))
    blocks = {
        path: decode_blocks(got[file.digest], file, path)
        for path, file in wanted.items()
        if file.in_blocks
    }
    digests = _once(digest for listed in blocks.values() for digest in listed)
    parts: dict[str, bytes] = {}
    for start in range(0, len(digests), _BATCH):
        parts.update((yield Get(digests[start : start + _BATCH])))
    found: dict[str, Content] = {}
    for path, file in wanted.items():
        listed = blocks.get(path, [])
        pieces = [parts[digest] for digest in listed] if file.in_blocks else [got[file.digest]]
        if sum(map(len, pieces)) != file.size:
            raise WorkspaceUnsafe(f"The content of {path!r} does not fit its size.", path=path)
        found[path] = Content(pieces, listed)
    return found


def _once(digests: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(digests))


def checked_quota(entries: Iterable[Entry], quota: Quota) -> tuple[int, int]:
    """Files and bytes of a manifest's entries, when they fit the quota.

    Raises:
        WorkspaceQuota: They do not.
    """
    plain = [entry for entry in entries if not isinstance(entry, Dir)]
    number, size = len(plain), sum(entry.size for entry in plain)
    if number > quota.files or size > quota.size:
        raise WorkspaceQuota(
            f"The manifest holds {number:,} files and {size:,} bytes, beyond the quota.",
            files=number,
            size=size,
        )
    return number, size
