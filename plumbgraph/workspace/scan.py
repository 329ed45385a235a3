"""The folder as it is now: digests of everything, reading only what changed since last time."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import is_

from plumbgraph.clock import Clock
from plumbgraph.content.digest import digest_of
from plumbgraph.errors import WorkspaceChanging, WorkspaceQuota, WorkspaceUnsafe
from plumbgraph.workspace import files
from plumbgraph.workspace.exclude import BY_RULE, Excludes
from plumbgraph.workspace.files import Key
from plumbgraph.workspace.names import MODES, collisions, escapes
from plumbgraph.workspace.ops import BlobPlan, Missing, Put
from plumbgraph.workspace.sweep import Known, Pack, packed, sweep
from plumbgraph.workspace.tree import encode_blocks, encode_tree, totals
from plumbgraph.workspace.values import LARGE, WHOLE, Dir, Entry, File, Left, Link, Quota, block_of

BATCH_BYTES = 8 << 20
_ASK_FIRST = 64


@dataclass(slots=True)
class Seen:
    """One folder as it was found: its tree, and what tells whether that still holds.

    Attributes:
        mode: Permission bits.
        key: The folder's own stat key, where it tells that no name came or went.
        tree: What is kept, by name.
        keys: Stat keys of files and links; `None` for one that must be read again.
        dirs: Folders below, also those of which nothing is kept.
        left: Names that are not kept, with the reason and whether they are folders.
        blocks: Digests of a file's blocks, where it has some.
        digest: The tree's digest.
        files: Files and links in and below it; `own_files` without those below.
        size: Their bytes, and `own_size` likewise.
    """

    mode: int
    key: files.Key | None = None
    tree: dict[str, Entry] = field(default_factory=dict)
    keys: dict[str, files.Key | None] = field(default_factory=dict)
    dirs: dict[str, Seen] = field(default_factory=dict)
    left: dict[str, tuple[str, bool]] = field(default_factory=dict)
    blocks: dict[str, list[str]] = field(default_factory=dict)
    digest: str = ""
    files: int = 0
    size: int = 0
    own_files: int = 0
    own_size: int = 0
    _pack: Pack | None = None
    _left: tuple[Left, ...] | None = None

    def packed(self, path: str) -> Pack | None:
        """What a sweep compares, for this folder at `path`; nothing if it must be listed."""
        if self._pack is None and self.key is not None:
            self._pack = packed(path, self.key, self.keys)
        return self._pack

    def at(self, key: Key | None) -> None:
        """Take the folder's own stat key, when all in it was found as it is known."""
        self.key, self._pack = key, None

    @property
    def bare(self) -> bool:
        """Whether nothing of it is kept although it is not empty; it is in no manifest then."""
        return not self.tree and bool(self.left or self.dirs)

    def left_below(self) -> tuple[Left, ...]:
        """Everything that is not kept, here and below."""
        if self._left is None:
            found = [Left(name, why) for name, (why, _) in sorted(self.left.items())]
            for name, seen in sorted(self.dirs.items()):
                found += [Left(f"{name}/{each.path}", each.reason) for each in seen.left_below()]
            self._left = tuple(found)
        return self._left


class Buffer:
    """Content on its way to the store, in batches; or nowhere, when only digests are wanted."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self.blobs: dict[str, bytes] = {}
        self.size = 0

    def add(self, digest: str, data: bytes) -> None:
        """Take content that may be new."""
        if self._keep and digest not in self.blobs:
            self.blobs[digest] = data
            self.size += len(data)

    def flush(self) -> BlobPlan[None]:
        """Store what gathered; of much content, first ask which is there."""
        yield from put_new(self.blobs)
        self.blobs, self.size = {}, 0


def put_new(blobs: dict[str, bytes]) -> BlobPlan[None]:
    """Store content, sending the bytes only of what may be absent."""
    if len(blobs) > _ASK_FIRST:
        absent: set[str] = yield Missing(tuple(blobs))
        blobs = {digest: blobs[digest] for digest in blobs if digest in absent}
    if blobs:
        yield Put(blobs)


@dataclass(slots=True)
class Scan:
    """One pass over a folder.

    Attributes:
        excludes: What stays out.
        quota: What may be in.
        clock: Tells whether a file is too fresh to trust its times next time.
        buffer: Takes content that was read.
        hints: Entries by path and stat key that need not be read, because we wrote them.
        portable: Refuse names that other file systems would merge.
        listed: Folders' times tell whether names came or went, so that none need be listed.
    """

    excludes: Excludes
    quota: Quota
    clock: Clock
    buffer: Buffer
    hints: Mapping[str, tuple[files.Key, Entry, list[str]]] = field(default_factory=dict)
    portable: bool = False
    listed: bool = False
    _known: Known = field(default_factory=Known)
    _files: int = 0
    _size: int = 0

    def root(self, handle: int, known: Seen | None) -> BlobPlan[Seen]:
        """Look at the whole folder; what did not change is `known` itself."""
        if known is not None:
            self._known = sweep(handle, known)
            if "" in self._known.whole:
                self._count(known.files, known.size, "")
                return known
        return (yield from self._folder(handle, known, ""))

    def _folder(self, handle: int, known: Seen | None, path: str) -> BlobPlan[Seen]:
        status = os.fstat(handle)
        mode = status.st_mode & MODES
        if path.count("/") >= self.quota.depth:
            raise WorkspaceUnsafe(f"{path!r} lies too deep.", path=path)
        key = self._own_key(status)
        if known is not None and self._is_as_it_was(handle, known, mode, key, path):
            dirs = {}
            for name, was in known.dirs.items():
                dirs[name] = yield from self._below(handle, name, was, path)
            if all(map(is_, dirs.values(), known.dirs.values())):
                self._count(known.own_files, known.own_size, path)
                return known
            seen = replace(known, tree=_plain(known.tree), dirs=dirs, _left=None)
            fresh: list[str] = []
        else:
            seen = Seen(mode, key)
            fresh = _sorted_out(handle, known, seen, path)
            for name, was in seen.dirs.items():
                seen.dirs[name] = yield from self._below(handle, name, was, path)
        self._count(*totals(seen.tree), path)
        for name in fresh:
            yield from self._entry(handle, name, known, seen, path)
        self._close(seen, known, path)
        return seen

    def _is_as_it_was(
        self, handle: int, known: Seen, mode: int, key: files.Key | None, path: str
    ) -> bool:
        if path in self._known.clean:
            return True
        if known.mode != mode or not _lists_the_same(handle, known, path):
            return False
        known.at(key)
        return True

    def _own_key(self, status: os.stat_result) -> files.Key | None:
        if not self.listed or files.racy(status, self.clock.now()):
            return None
        return files.key_of(status)

    def _below(self, parent: int, name: str, known: Seen | None, path: str) -> BlobPlan[Seen]:
        where = _join(path, name)
        if known is not None and where in self._known.whole:
            self._count(known.files, known.size, where)
            return known
        with files.guarded(where):
            handle = files.open_folder(name, parent)
        try:
            return (yield from self._folder(handle, known, where))
        finally:
            os.close(handle)

    def _entry(
        self, handle: int, name: str, known: Seen | None, seen: Seen, path: str
    ) -> BlobPlan[None]:
        where = _join(path, name)
        try:
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            folder = stat.S_ISDIR(status.st_mode)
            reason = self.excludes.reason(where, folder=folder)
            if reason is None and stat.S_ISLNK(status.st_mode):
                reason = self._link(handle, name, status, seen, where)
            elif reason is None and stat.S_ISREG(status.st_mode):
                yield from self._file(handle, name, status, known, seen, where)
            elif reason is None and folder:
                seen.dirs[name] = yield from self._below(handle, name, None, path)
            elif reason is None:
                reason = files.KINDS.get(stat.S_IFMT(status.st_mode), "unknown kind")
        except FileNotFoundError:
            return
        if reason is not None:
            seen.left[name] = (reason, folder)

    def _link(
        self, handle: int, name: str, status: os.stat_result, seen: Seen, where: str
    ) -> str | None:
        target = os.readlink(name, dir_fd=handle)
        if escapes(where, target):
            return "link to the outside"
        seen.tree[name] = Link(target)
        seen.keys[name] = None if files.racy(status, self.clock.now()) else files.key_of(status)
        self._count(1, 0, where)
        return None

    def _file(
        self,
        handle: int,
        name: str,
        status: os.stat_result,
        known: Seen | None,
        seen: Seen,
        where: str,
    ) -> BlobPlan[None]:
        self._count(1, status.st_size, where)
        hint = self.hints.get(where)
        if hint is not None and hint[0] == files.key_of(status):
            entry, blocks = hint[1], hint[2]
        else:
            before = set(known.blocks.get(name, ())) if known else set()
            entry, blocks, status = yield from self._read(handle, name, where, before)
        fresh = files.racy(status, self.clock.now())
        seen.tree[name] = entry
        seen.keys[name] = None if fresh else files.key_of(status)
        if blocks:
            seen.blocks[name] = blocks

    def _read(
        self, handle: int, name: str, where: str, before: set[str]
    ) -> BlobPlan[tuple[File, list[str], os.stat_result]]:
        for last in files.tries():
            try:
                with files.guarded(where):
                    status = os.stat(name, dir_fd=handle, follow_symlinks=False)
                    found = yield from self._content(handle, name, status, where, before)
                    return (*found, status)
            except WorkspaceChanging:
                if last:
                    raise
        raise AssertionError("unreachable")

    def _content(
        self, handle: int, name: str, status: os.stat_result, where: str, before: set[str]
    ) -> BlobPlan[tuple[File, list[str]]]:
        mode, size = status.st_mode & MODES, status.st_size
        if size <= WHOLE:
            data = b"".join(files.read_steady(handle, name, where, WHOLE + 1))
            if len(data) != size:
                raise WorkspaceChanging(f"{where!r} changed while it was read.", path=where)
            digest = digest_of(data)
            self.buffer.add(digest, data)
            blocks: list[str] = []
        else:
            blocks = yield from self._blocks(handle, name, where, block_of(size), before)
            if len(blocks) != -(-size // block_of(size)):
                raise WorkspaceChanging(f"{where!r} changed while it was read.", path=where)
            listed = encode_blocks(blocks)
            digest = digest_of(listed)
            self.buffer.add(digest, listed)
        if self.buffer.size > BATCH_BYTES:
            yield from self.buffer.flush()
        return File(mode, size, digest, split=WHOLE < size <= LARGE), blocks

    def _blocks(
        self, handle: int, name: str, where: str, size: int, before: set[str]
    ) -> BlobPlan[list[str]]:
        blocks: list[str] = []
        for piece in files.read_steady(handle, name, where, size):
            blocks.append(digest_of(piece))
            if blocks[-1] not in before:
                self.buffer.add(blocks[-1], piece)
            if self.buffer.size > BATCH_BYTES:
                yield from self.buffer.flush()
        return blocks

    def _close(self, seen: Seen, known: Seen | None, path: str) -> None:
        seen.own_files, seen.own_size = totals(_plain(seen.tree))
        for name, below in seen.dirs.items():
            if not below.bare:
                seen.tree[name] = Dir(below.mode, below.digest, below.files, below.size)
        if self.portable and (pairs := collisions(seen.tree)):
            raise WorkspaceUnsafe(
                f"{pairs[0][0]!r} and {pairs[0][1]!r} in {path or '.'!r} are one name elsewhere.",
                path=path,
            )
        seen.files, seen.size = totals(seen.tree)
        encoded = encode_tree(seen.tree)
        seen.digest = digest_of(encoded)
        if known is None or known.digest != seen.digest:
            self.buffer.add(seen.digest, encoded)

    def _count(self, number: int, size: int, path: str) -> None:
        self._files += number
        self._size += size
        if self._files > self.quota.files or self._size > self.quota.size:
            raise WorkspaceQuota(
                f"The workspace exceeds {self.quota.files:,} files or {self.quota.size:,} bytes "
                f"at {path or '.'!r}.",
                path=path,
                files=self._files,
                size=self._size,
            )


def _lists_the_same(handle: int, known: Seen, path: str) -> bool:
    """Whether every name here is the known one, by its stat key; folders are not entered."""
    keys, dirs, left, key_of = known.keys, known.dirs, known.left, files.key_of
    count = 0
    with files.guarded(path), os.scandir(handle) as entries:
        try:
            for entry in entries:
                key = keys.get(entry.name)
                if key is not None:
                    if key_of(entry.stat(follow_symlinks=False)) != key:
                        return False
                elif not ((entry.name in dirs and _is_folder(entry)) or _still_left(entry, left)):
                    return False
                count += 1
        except FileNotFoundError:
            return False
    return count == len(keys) + len(dirs) + len(left)


def _still_left(entry: os.DirEntry[str], left: Mapping[str, tuple[str, bool]]) -> bool:
    reason, folder = left.get(entry.name, ("", False))
    return reason in BY_RULE and folder == _is_folder(entry)


def _sorted_out(handle: int, known: Seen | None, seen: Seen, path: str) -> list[str]:
    """Fill `seen` with what is as it was, and return the names to look at."""
    with files.guarded(path), os.scandir(handle) as entries:
        if known is None:
            return [entry.name for entry in entries]
        return [entry.name for entry in entries if not _kept(entry, known, seen)]


def _kept(entry: os.DirEntry[str], known: Seen, seen: Seen) -> bool:
    name = entry.name
    key = known.keys.get(name)
    if key is not None:
        try:
            if files.key_of(entry.stat(follow_symlinks=False)) != key:
                return False
        except FileNotFoundError:
            return False
        seen.keys[name], seen.tree[name] = key, known.tree[name]
        if name in known.blocks:
            seen.blocks[name] = known.blocks[name]
    elif name in known.dirs and _is_folder(entry):
        seen.dirs[name] = known.dirs[name]
    elif _still_left(entry, known.left):
        seen.left[name] = known.left[name]
    else:
        return False
    return True


def _plain(tree: Mapping[str, Entry]) -> dict[str, Entry]:
    return {name: entry for name, entry in tree.items() if not isinstance(entry, Dir)}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
