"""Read files under a root: no symlink is followed, no pipe waited for, no limit passed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from plumbgraph.errors import SkillInvalid
from plumbgraph.skills.values import RESOURCE_FOLDERS, SKILL_FILE, SKIPPED_FOLDERS, Limits

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def shown(path: str | os.PathLike[str]) -> str:
    """A path fit for a message, whatever its bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def refuse(code: str, message: str, path: str) -> SkillInvalid:
    """The error for a file that is not read; its `reason` is the diagnostic's code."""
    return SkillInvalid(f"{message}: {shown(path)!r}.", path=shown(path), line=None, reason=code)


def read_file(path: str, limit: int, *, dir_fd: int | None = None) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises:
        SkillInvalid: With `reason` naming what it is instead.
    """
    try:
        fd = os.open(path, _FILE, dir_fd=dir_fd)
    except OSError as error:
        raise _refused_open(error, path) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise refuse("skills.not_a_file", "Not a regular file", path)
        if found.st_size > limit:
            raise refuse("skills.too_large", f"{found.st_size} bytes, more than {limit}", path)
        return _read(fd, found.st_size, limit, path)
    finally:
        os.close(fd)


def _read(fd: int, expected: int, limit: int, path: str) -> bytes:
    data = os.read(fd, expected + 1)
    while len(data) > expected or expected == 0:
        more = os.read(fd, limit + 1 - len(data))
        if not more:
            break
        data += more
        if len(data) > limit:
            raise refuse("skills.too_large", f"It grew past {limit} bytes", path)
    return data


def _refused_open(error: OSError, path: str) -> SkillInvalid:
    if error.errno == errno.ELOOP:
        return refuse("skills.symlink", "A symbolic link is not followed", path)
    if error.errno == errno.EISDIR:
        return refuse("skills.not_a_file", "Not a regular file", path)
    if error.errno == errno.ENOENT:
        return refuse("skills.gone", "The file is gone", path)
    return refuse("skills.unreadable", f"It cannot be read ({error.strerror})", path)


@contextmanager
def open_folder(root: str, location: str) -> Iterator[int]:
    """A descriptor of the folder `location` below `root`, each step without following links."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in (p for p in location.split("/") if p not in {"", "."}):
            try:
                inner = os.open(part, _FOLDER, dir_fd=fd)
            except OSError as error:
                raise _refused_open(error, os.path.join(root, location)) from error  # noqa: PTH118 - descriptors, not paths
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def read_package(fd: int, limits: Limits) -> dict[str, bytes]:
    """Every regular file below an open folder by relative path.

    Symlinks and special files are left out; folders that are skills of their own end the walk.

    Raises:
        SkillInvalid: Too many or too large files, or two paths that differ only in case.
    """
    found: dict[str, bytes] = {}
    folded: dict[str, str] = {}
    total = 0
    for path, parent, name in _walk(fd, limits.depth):
        if other := folded.setdefault(path.casefold(), path) != path:
            raise refuse("skills.case_collision", f"{other!r} differs only in case from it", path)
        found[path] = read_file(name, limits.file_bytes, dir_fd=parent)
        total += len(found[path])
        if len(found) > limits.package_files or total > limits.package_bytes:
            raise refuse("skills.too_large", "The skill's folder holds too much", path)
    return found


def _walk(
    fd: int, depth: int, prefix: str = "", *, resource: bool = False
) -> Iterator[tuple[str, int, str]]:
    """Pairs of relative path and parent descriptor of the regular files, sorted."""
    with os.scandir(fd) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    if prefix and not resource and any(entry.name == SKILL_FILE for entry in entries):
        return
    for entry in entries:
        if entry.is_file(follow_symlinks=False):
            yield prefix + entry.name, fd, entry.name
        elif entry.is_dir(follow_symlinks=False) and entry.name not in SKIPPED_FOLDERS and depth:
            inner = os.open(entry.name, _FOLDER, dir_fd=fd)
            try:
                below = resource or entry.name in RESOURCE_FOLDERS
                yield from _walk(inner, depth - 1, f"{prefix}{entry.name}/", resource=below)
            finally:
                os.close(inner)
