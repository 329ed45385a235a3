"""Bringing a folder to a manifest: aside first, then away, then written, links last.

Every file is written beside the folder and renamed into place, so a crash leaves the old or the
new content, and the next restore goes on from there. Nothing is followed: each name is used
relative to a handle on its own folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from plumbgraph.workspace import files
from plumbgraph.workspace.compare import Changes
from plumbgraph.workspace.ops import BlobPlan
from plumbgraph.workspace.reader import Content, contents
from plumbgraph.workspace.scan import BATCH_BYTES
from plumbgraph.workspace.values import Entry, File

Hints = dict[str, tuple[files.Key, Entry, list[str]]]
_BATCH_FILES = 256
_WRITABLE = 0o700


@dataclass(slots=True)
class Site:
    """The folder being changed and what lies beside it.

    Attributes:
        handles: Handles in the folder.
        spare: Handle on a folder of the same file system for files not yet in place.
        aside: Handles in the place for what nobody recorded; made when first needed.
        flush: Flush each file to disk before it is renamed.
        hints: Filled with what was written.
    """

    handles: files.Handles
    spare: int
    aside: Aside
    flush: bool = False
    hints: Hints = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)
    _opened: dict[str, int] = field(default_factory=dict)

    def spare_name(self) -> str:
        """A name nobody else uses in the spare folder."""
        return f"{os.getpid()}-{next(self._numbers)}"

    def writable(self, path: str) -> int:
        """A handle on a folder in which we may make and remove names."""
        handle = self.handles.get(path)
        mode = os.fstat(handle).st_mode & 0o777
        if mode & _WRITABLE != _WRITABLE:
            with files.guarded(path):
                os.fchmod(handle, mode | _WRITABLE)
            self._opened.setdefault(path, mode)
        return handle

    def restore_modes(self, changes: Changes) -> None:
        """Give folders that were opened for us their modes again."""
        for path, mode in self._opened.items():
            if path not in changes.modes and path not in changes.folders:
                changes.modes[path] = mode


class Aside:
    """Where files go that no manifest of the thread knows: kept, never deleted by us."""

    def __init__(self, base: str, label: str) -> None:
        self.folder = os.path.join(base, label)  # noqa: PTH118 - names may not be UTF-8
        self.paths: list[str] = []

    def take(self, parent: int, name: str, path: str) -> None:
        """Move one entry, keeping its path below a folder of this restore."""
        target = os.path.join(self.folder, path)  # noqa: PTH118 - as above
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        os.rename(name, target, src_dir_fd=parent)
        self.paths.append(path)


def apply(site: Site, changes: Changes, unknown: set[str]) -> BlobPlan[None]:
    """Carry out `changes`; `unknown` are the doomed paths that must be moved aside."""
    _make_way(site, changes, unknown)
    for path in changes.folders:
        parent, name = _split(path)
        with files.guarded(path):
            os.mkdir(name, _WRITABLE, dir_fd=site.writable(parent))
    for batch in _batches(changes.files):
        yield from _write(site, batch)
    for path, link in changes.links.items():
        parent, name = _split(path)
        with files.guarded(path):
            os.symlink(link.target, name, dir_fd=site.writable(parent))
    _set_modes(site, changes)


def _make_way(site: Site, changes: Changes, unknown: set[str]) -> None:
    for path in changes.blocked:
        parent, name = _split(path)
        handle = site.writable(parent)
        site.handles.drop(path)
        site.aside.take(handle, name, path)
    moved = tuple(f"{path}/" for path in changes.blocked)
    for path in changes.doomed:
        if moved and path.startswith(moved):
            continue
        parent, name = _split(path)
        with files.guarded(path):
            if path in unknown:
                site.aside.take(site.writable(parent), name, path)
            elif path not in changes.files:
                os.unlink(name, dir_fd=site.writable(parent))
    for path in changes.emptied:
        if moved and path.startswith(moved):
            continue
        parent, name = _split(path)
        site.handles.drop(path)
        with files.guarded(path):
            os.rmdir(name, dir_fd=site.writable(parent))


def _batches(wanted: dict[str, File]) -> Iterator[list[tuple[str, File]]]:
    batch: list[tuple[str, File]] = []
    size = 0
    for path, file in wanted.items():
        if batch and (size + file.size > BATCH_BYTES or len(batch) >= _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append((path, file))
        size += file.size
    if batch:
        yield batch


def _write(site: Site, batch: list[tuple[str, File]]) -> BlobPlan[None]:
    found = yield from contents(dict(batch))
    for path, file in batch:
        _place(site, path, file, found[path])


def _place(site: Site, path: str, file: File, found: Content) -> None:
    parent, name = _split(path)
    handle, spare = site.writable(parent), site.spare_name()
    with files.guarded(path):
        try:
            files.write_new(site.spare, spare, iter(found.pieces), file.mode, flush=site.flush)
            os.rename(spare, name, src_dir_fd=site.spare, dst_dir_fd=handle)
        except BaseException:
            _forget(site.spare, spare)
            raise
        status = os.stat(name, dir_fd=handle, follow_symlinks=False)
    site.hints[path] = (files.key_of(status), file, found.blocks)


def _forget(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _set_modes(site: Site, changes: Changes) -> None:
    site.restore_modes(changes)
    wanted = {**changes.modes, **changes.folders}
    # The deepest first: a folder that loses its rights would close the way to those below.
    for path in sorted(wanted, key=lambda path: -path.count("/") if path else 1):
        with files.guarded(path):
            if path in changes.folders or not path:
                os.fchmod(site.handles.get(path), wanted[path])
            else:
                _set_mode(site, path, wanted[path])
    site.handles.close()


def _set_mode(site: Site, path: str, mode: int) -> None:
    parent, name = _split(path)
    handle = os.open(
        name,
        os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
        dir_fd=site.handles.get(parent),
    )
    try:
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent, name
