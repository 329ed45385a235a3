"""Read event logs back: whole or while they grow, torn lines and newer versions included."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plumbgraph.tracing.emit import VERSION

_CHUNK = 256 * 1024
_START = b'{"v":'
_LONGEST = 1024 * 1024  # no writer makes a line of more than 64 KiB
_WHOLE = frozenset({"pid", "step", "attempt", "count", "since_call"})
_TEXT = frozenset({"event", "ts", "thread_id", "run_id", "node", "checkpoint_ns", "charge_id"})


class LogReader:
    """The records of one log file, from where the last `read` ended.

    Attributes:
        torn: Pieces that were no record: a line cut by a full disk or a crash.
        newer: Records of an envelope version above the one this plumbgraph writes; they are
            handed out as they are.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.torn = 0
        self.newer = 0
        self._offset = 0
        self._rest = b""
        self._skipping = False

    def read(self) -> Iterator[dict[str, Any]]:
        """Records of the lines that are complete now; a line still being written waits."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while chunk := file.read(_CHUNK):
                self._offset += len(chunk)
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                if self._skipping and lines:
                    del lines[0]
                    self._skipping = False
                for line in lines:
                    yield from self._records(line)
                self._shorten()

    @property
    def unfinished(self) -> bool:
        """Whether the file ends in the middle of a line, as after a crash."""
        return bool(self._rest) or self._skipping

    def _shorten(self) -> None:
        """Give up a line that no writer made: it must not fill the memory."""
        if len(self._rest) > _LONGEST:
            self.torn += not self._skipping
            self._skipping = True
        if self._skipping:
            self._rest = b""

    def _records(self, line: bytes) -> Iterator[dict[str, Any]]:
        if not line.strip():
            return
        record = _parse(line)
        if record is None:
            # Another process may have appended behind a line that a full disk cut off.
            self.torn += 1
            start = line.rfind(_START, 1)
            record = _parse(line[start:]) if start > 0 else None
        if record is None:
            return
        version = record.get("v")
        if isinstance(version, int) and version > VERSION:
            self.newer += 1
        yield record


class LogTail:
    """The records that are written to a log from now on, through its rotations."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._number = self._inode()
        self._reader = LogReader(self.path)
        for _ in self._reader.read() if self._number else ():
            pass

    def read(self) -> Iterator[dict[str, Any]]:
        """What came since the last call."""
        now = self._inode()
        if now != self._number and self._number:
            self._reader.path = self.path.with_name(f"{self.path.name}.1")
            if self._reader.path.exists():
                yield from self._reader.read()
        if now != self._number:
            self._reader, self._number = LogReader(self.path), now
        if self._number:
            yield from self._reader.read()

    def _inode(self) -> int:
        return self.path.stat().st_ino if self.path.exists() else 0


def read_log(
    path: str | os.PathLike[str], *, thread_id: str | None = None
) -> Iterator[dict[str, Any]]:
    """The records of a log with its rotated files, oldest file first.

    Args:
        path: The log file as given to `JsonLog`.
        thread_id: Only the records of this thread.

    Raises:
        FileNotFoundError: Neither the file nor a rotated one exists.
    """
    files = log_files(path)
    if not files:
        raise FileNotFoundError(f"no event log at {str(path)!r}")
    for file in files:
        for record in LogReader(file).read():
            if thread_id is None or record.get("thread_id") == thread_id:
                yield record


def log_files(path: str | os.PathLike[str]) -> list[Path]:
    """The log and its rotated files that exist, oldest first."""
    newest = Path(path)
    return [*reversed(_rotated(newest)), *([newest] if newest.exists() else [])]


def _rotated(path: Path) -> list[Path]:
    found: list[Path] = []
    while (older := path.with_name(f"{path.name}.{len(found) + 1}")).exists():
        found.append(older)
    return found


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    for name in [name for name, value in record.items() if not _sound(name, value)]:
        del record[name]
    return record


def _sound(name: str, value: Any) -> bool:
    """Whether a value is of the kind that its name promises to whoever reads on."""
    if name in _WHOLE or name.startswith("gen_ai.usage."):
        return isinstance(value, int) or value is None
    return name not in _TEXT or isinstance(value, str) or value is None
