"""Locks that the kernel drops when their holder dies: who supervises, who uses, who lives."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def opened(path: Path) -> int:
    """A new open file description of a lock file, not inherited by children."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def take(fd: int, *, shared: bool = False) -> bool:
    """Whether the lock could be had at once."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as fault:
        if fault.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True


def wait(fd: int) -> None:
    """Take the exclusive lock, waiting for those who only look at it."""
    fcntl.flock(fd, fcntl.LOCK_EX)


def release(fd: int) -> None:
    """Give the lock back and keep the file open."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def held(path: Path) -> bool:
    """Whether some process holds the lock exclusively; looks through a description of its own."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not take(fd, shared=True)
    finally:
        os.close(fd)


def holders(path: Path, *, table: Path = Path("/proc/locks")) -> tuple[int, ...]:
    """The processes that took a lock on the file, as far as the kernel tells (Linux only)."""
    try:
        info = path.stat()
        lines = table.read_text().splitlines()
    except OSError:
        return ()
    device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    rows = [line.split() for line in lines]
    return tuple(sorted({int(row[4]) for row in rows if "->" not in row[1] and row[5] == device}))
