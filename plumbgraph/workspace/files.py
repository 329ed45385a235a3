"""The folder's own system calls: everything relative to an open folder, no link ever followed."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from operator import attrgetter

from plumbgraph.errors import (
    PlumbError,
    WorkspaceChanging,
    WorkspaceQuota,
    WorkspaceUnsafe,
    WorkspaceUnwritable,
)

Key = tuple[int, int, int, int]
key_of = attrgetter("st_ctime_ns", "st_mtime_ns", "st_size", "st_ino")
"""What tells that a file is unchanged; the change time cannot be set back by its user."""

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES = 5
_TICK_S = 0.02
_COARSE_TICK_S = 2.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_LINKED = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)

KINDS = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class guarded:  # noqa: N801 - a context manager, entered for every folder: a class is cheapest
    """Turn the system's refusals about `path` into typed errors."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and (ours := _typed(error, self._path)) is not None:
            raise ours from error


def _typed(error: OSError, path: str) -> PlumbError | None:
    if error.errno in _FULL:
        return WorkspaceQuota(
            f"No room to write {path!r}: {error.strerror}.",
            hint="Free disk space and run again; nothing recorded was lost.",
            path=path,
        )
    if error.errno in _DENIED:
        return WorkspaceUnwritable(
            f"{path!r} cannot be read or changed: {error.strerror}.", path=path
        )
    if error.errno in _LINKED:
        return WorkspaceUnsafe(
            f"{path!r} is a link or a file where a folder was expected.", path=path
        )
    return None


def open_folder(name: str, parent: int | None = None) -> int:
    """A handle on a folder that is no link itself."""
    return os.open(name, _OPEN_DIR, dir_fd=parent)


def racy(status: os.stat_result, now: float) -> bool:
    """Whether a later change could carry the same times, because the clock has not ticked."""
    coarse = status.st_mtime_ns % 1_000_000 == 0 and status.st_ctime_ns % 1_000_000 == 0
    tick = _COARSE_TICK_S if coarse else _TICK_S
    return now - max(status.st_ctime, status.st_mtime) < tick


def listings_show_in_times(place: str) -> bool:
    """Whether a folder's times change with its names, as POSIX demands and some mounts do not.

    Args:
        place: A folder of the file system in question, in which to try.
    """
    probe = os.path.join(place, f"times-{os.getpid()}-{threading.get_ident()}")  # noqa: PTH118 - not UTF-8
    one, two = os.path.join(probe, "one"), os.path.join(probe, "two")  # noqa: PTH118 - as above
    os.mkdir(probe, 0o700)  # noqa: PTH102 - as above
    try:
        made = _stirs(probe, lambda: os.mkdir(one))  # noqa: PTH102 - as above
        renamed = _stirs(probe, lambda: os.rename(one, two))  # noqa: PTH104 - as above
        return _stirs(probe, lambda: os.rmdir(two)) and made and renamed  # noqa: PTH106 - as above
    finally:
        os.rmdir(probe)  # noqa: PTH106 - as above


def _stirs(folder: str, act: Callable[[], None]) -> bool:
    os.utime(folder, ns=(0, 0))
    act()
    return os.stat(folder).st_mtime_ns != 0  # noqa: PTH116 - as above


def read_steady(parent: int, name: str, path: str, block: int) -> Iterator[bytes]:
    """A file's content in pieces of `block` bytes, read from one open handle.

    Raises:
        WorkspaceChanging: It changed while it was read; the pieces are to be thrown away.
    """
    handle = os.open(name, _OPEN_FILE, dir_fd=parent)
    try:
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            raise WorkspaceChanging(f"{path!r} became something else.", path=path)
        size = 0
        while piece := os.read(handle, block):
            while (
                len(piece) < block
                and size + len(piece) <= before.st_size
                and (more := os.read(handle, block - len(piece)))
            ):
                piece += more
            size += len(piece)
            if size > before.st_size:
                raise WorkspaceChanging(f"{path!r} grew while it was read.", path=path)
            yield piece
        if size != before.st_size or key_of(os.fstat(handle)) != key_of(before):
            raise WorkspaceChanging(f"{path!r} changed while it was read.", path=path)
    finally:
        os.close(handle)


def tries() -> Iterator[bool]:
    """How often a changing file is read: each item says whether it is the last time."""
    return (attempt == _TRIES - 1 for attempt in range(_TRIES))


def write_new(parent: int, name: str, pieces: Iterator[bytes], mode: int, *, flush: bool) -> None:
    """Make a file that did not exist, with exactly this mode."""
    handle = os.open(name, _OPEN_NEW, 0o600, dir_fd=parent)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(handle, view) :]
        os.fchmod(handle, mode)
        if flush:
            os.fsync(handle)
    finally:
        os.close(handle)


class Handles:
    """Open handles on folders below a root, by relative path; few at a time.

    Every component is opened without following links, starting at the root's own handle.
    """

    def __init__(self, root: int, most: int = 32) -> None:
        self._root = root
        self._most = most
        self._open: dict[str, int] = {}

    def get(self, path: str) -> int:
        """The handle of the folder at `path`; it stays open until others push it out."""
        if not path:
            return self._root
        handle = self._open.pop(path, None)
        if handle is None:
            parent, _, name = path.rpartition("/")
            with guarded(path):
                handle = open_folder(name, self.get(parent))
        self._open[path] = handle
        while len(self._open) > self._most:
            os.close(self._open.pop(next(iter(self._open))))
        return handle

    def drop(self, path: str) -> None:
        """Close handles at and below `path`, because it goes away."""
        for known in [p for p in self._open if p == path or p.startswith(f"{path}/")]:
            os.close(self._open.pop(known))

    def close(self) -> None:
        """Close all but the root's."""
        for handle in self._open.values():
            os.close(handle)
        self._open.clear()
