"""The log of record: each event is one line, in the file before the next step begins.

A line is handed to the kernel by one `write` in append mode, so it survives `kill -9` of the
process, and two processes may write one log without mixing lines. Only a crash of the machine
can lose lines, because nothing is forced to the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from plumbgraph.clock import SYSTEM
from plumbgraph.tracing.emit import stamped
from plumbgraph.tracing.encode import encode_line
from plumbgraph.tracing.events import Event

ROTATE_BYTES = 64 * 1024 * 1024
KEEP = 4

# Regular files ignore O_NONBLOCK; with it, watchers for blocking calls in event loops
# (blockbuster under `langgraph dev`) know that the descriptor never waits.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_RETRY_S = 1.0

_logger = logging.getLogger("plumbgraph.tracing")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesLost(Event):
    """So many lines could not be written since the last one that could."""

    name = "trace.lost"
    level = logging.WARNING
    count: int


class JsonLog:
    """A sink that appends JSON lines to a file readable by its owner only.

    Nothing here raises into a run: a full disk or an unwritable path costs lines, which are
    counted in `lost`, named once in the stdlib log, and reported by a `trace.lost` line as soon
    as writing works again.

    Args:
        path: The log file; its folder is made when missing.
        rotate_bytes: Size at which the file becomes `path.1` and a new one begins.
        keep: How many rotated files stay.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, rotate_bytes: int = ROTATE_BYTES, keep: int = KEEP
    ) -> None:
        self.path = Path(path).expanduser()
        _aside(self._make_absolute, wait=True)
        self.lost = 0
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._unreported = 0
        self._torn = False
        self._fd: int | None = None
        self._since_check = 0
        self._check_each = min(64 * 1024, rotate_bytes)
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._open()

    def __repr__(self) -> str:
        return f"JsonLog({str(self.path)!r}, lost={self.lost})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record."""
        line = encode_line(record)
        if self._fd is None and SYSTEM.monotonic() >= self._retry_at:
            self._open()
        if self._unreported:
            self._report_loss()
        if not self._append(line):
            with self._alone():
                self.lost += 1
                self._unreported += 1
        self._since_check += len(line)
        if self._since_check >= self._check_each:
            # Every now and then see whether the file is still ours and still small enough.
            self._since_check = 0
            _aside(self._check_file, wait=False)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        with self._alone():
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the rare paths; a line itself needs none, appending is atomic.

        Turning until it is free instead of waiting keeps an event loop from being told that it
        blocks; nobody holds it for longer than a few system calls.
        """
        while not self._lock.acquire(blocking=False):
            pass
        try:
            yield
        finally:
            self._lock.release()

    def _make_absolute(self) -> None:
        self.path = self.path.absolute()

    def _make_folder(self) -> None:
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def _open(self) -> None:
        with self._alone():
            self._retry_at = SYSTEM.monotonic() + _RETRY_S
            if self._fd is None:
                self._fd = self._opened()

    def _opened(self) -> int | None:
        try:
            return os.open(self.path, _FLAGS, 0o600)
        except FileNotFoundError:
            _aside(self._make_folder, wait=True)
        except OSError as error:
            self._complain(error)
            return None
        try:
            return os.open(self.path, _FLAGS, 0o600)
        except OSError as error:
            self._complain(error)
            return None

    def _append(self, line: bytes) -> bool:
        fd = self._fd
        if fd is None:
            return False
        data = b"\n" + line if self._torn else line
        try:
            done = os.write(fd, data)
            while done < len(data):
                self._torn = True
                done += os.write(fd, data[done:])
        except OSError as error:
            self._complain(error)
            return False
        self._torn = False
        return True

    def _report_loss(self) -> None:
        with self._alone():
            if self._unreported and self._append(self._loss_line()):
                self._unreported = 0

    def _loss_line(self) -> bytes:
        return encode_line({**stamped(LinesLost, {}), "count": self._unreported})

    def _complain(self, error: OSError) -> None:
        if self.lost == 0:
            name = errno.errorcode.get(error.errno or 0, "?")
            _logger.warning(
                "cannot write the event log %r (%s): events are counted as lost until it works",
                str(self.path),
                name,
            )

    def _check_file(self) -> None:
        with self._alone(), contextlib.suppress(OSError):
            if self._fd is None or not self._has_moved(self._fd):
                return
            fresh = self._opened()
            if fresh is not None:
                # The number stays, so a line on its way in another thread finds an open file.
                os.dup2(fresh, self._fd, inheritable=False)
                os.close(fresh)

    def _has_moved(self, fd: int) -> bool:
        """Whether `path` is another file by now, because someone else or this call moved it."""
        ours = os.fstat(fd)
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return True
        if (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino):
            return True
        return ours.st_size >= self._rotate_bytes and self._shift(fd)

    def _shift(self, fd: int) -> bool:
        """Rename `path` to `path.1` and so on, unless another process is about to."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # Whoever held the lock before may have renamed the file already.
        if self.path.stat().st_ino == os.fstat(fd).st_ino:
            for number in range(self._keep - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._numbered(number).replace(self._numbered(number + 1))
            self.path.replace(self._numbered(1))
        return True

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _aside(call: Callable[[], None], *, wait: bool) -> None:
    """Make a call that asks the disk for more than a write: in an event loop, by a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        call()
        return
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    while wait and thread.is_alive():  # joining would count as blocking
        pass
