"""What was known of a folder, kept beside it, so that a new process need not read it all again.

It is believed only by processes of the same boot of the same machine: a process that is killed
loses nothing that it had written, a power cut may leave the times of a file without its content.
So after one every file is read again. What is malformed, cut short or of other rules is no index.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from operator import index
from pathlib import Path
from typing import Any

from plumbgraph.errors import WorkspaceUnsafe
from plumbgraph.workspace.files import Key
from plumbgraph.workspace.names import checked_name
from plumbgraph.workspace.scan import Seen
from plumbgraph.workspace.tree import entry_of, row_of, totals
from plumbgraph.workspace.values import Dir

_BOOT = "/proc/sys/kernel/random/boot_id"
_SUM = 32
_WORTH = 2
_LEAST = 1 << 16
_VERSION = 1
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(slots=True)
class Index:
    """The file beside a folder: one line a snapshot, each with the folders that changed in it.

    Args:
        path: Where it lies.
        rules: Names the rules that snapshots are taken by; others' index is none.
    """

    path: Path
    rules: str
    _saved: Seen | None = None
    _state: tuple[int, int] = (0, 0)
    _whole: int = 0

    def load(self) -> Seen | None:
        """What is known; nothing where there is no index to be believed."""
        if not boot():
            return None
        try:
            with self.path.open("rb") as file:
                data = file.read()
                state = os.fstat(file.fileno())
            folders = self._folders(data)
            seen = _seen("", folders)
        except (OSError, WorkspaceUnsafe, *_MALFORMED):
            return None
        self._saved, self._state = seen, (state.st_ino, state.st_size)
        self._whole = data.index(b"\n")
        return seen

    def _folders(self, data: bytes) -> dict[str, Any]:
        folders: dict[str, Any] = {}
        for line in data.removesuffix(b"\n").split(b"\n"):
            told = line[_SUM:]
            if line[:_SUM] != _sum(told):
                raise ValueError("a line was cut short by a kill")
            head, changed = json.loads(told)
            if head != self._head():
                raise ValueError("of another boot, or by other rules")
            folders.update(changed)
        return folders

    def _head(self) -> list[Any]:
        return [_VERSION, boot(), self.rules]

    def save(self, seen: Seen) -> None:
        """Keep what is known now. Where that cannot be, the next process reads everything."""
        if seen is self._saved or not boot():
            return
        try:
            if self._saved is None or self._grown():
                self._replace(seen)
            else:
                self._append(dict(_changed("", seen, self._saved)))
        except OSError:
            self._saved = None
        else:
            self._saved = seen

    def _grown(self) -> bool:
        status = self.path.stat()
        mine = (status.st_ino, status.st_size) == self._state
        return not mine or status.st_size > _WORTH * self._whole + _LEAST

    def _replace(self, seen: Seen) -> None:
        self._saved = None
        line = self._line(dict(_changed("", seen, None)))
        spare = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            handle = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._write(handle, line)
            spare.rename(self.path)
        except OSError:
            spare.unlink(missing_ok=True)
            raise
        self._whole = len(line)

    def _append(self, changed: dict[str, Any]) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._write(handle, self._line(changed))

    def _write(self, handle: int, line: bytes) -> None:
        with os.fdopen(handle, "wb", buffering=0) as file:
            view = memoryview(line)
            while view:
                view = view[file.write(view) :]
            status = os.fstat(file.fileno())
        self._state = (status.st_ino, status.st_size)

    def _line(self, changed: dict[str, Any]) -> bytes:
        told = json.dumps([self._head(), changed], separators=(",", ":")).encode()
        return _sum(told) + told + b"\n"


@cache
def boot() -> str:
    """Names this boot of this machine; empty where the system does not tell."""
    try:
        return Path(_BOOT).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _sum(data: bytes) -> bytes:
    return blake2b(data, digest_size=_SUM // 2).hexdigest().encode()


def _changed(path: str, seen: Seen, saved: Seen | None) -> Iterator[tuple[str, Any]]:
    """Each folder that is not what was saved, by its path."""
    if seen is saved:
        return
    yield path, _told(seen)
    base = f"{path}/" if path else ""
    for name, below in seen.dirs.items():
        yield from _changed(base + name, below, saved.dirs.get(name) if saved else None)


def _told(seen: Seen) -> list[Any]:
    files = [
        [row_of(name, entry), seen.keys[name], seen.blocks.get(name)]
        for name, entry in seen.tree.items()
        if not isinstance(entry, Dir)
    ]
    dirs = {name: below.digest for name, below in seen.dirs.items()}
    return [seen.mode, seen.key, files, dirs, seen.left, seen.digest]


def _seen(path: str, folders: dict[str, Any]) -> Seen:
    """A folder as it was told, with all below."""
    mode, key, files, dirs, left, digest = folders[path]
    seen = Seen(mode, _key(key), digest=digest)
    for row, known, blocks in files:
        name = checked_name(row[0], path)
        seen.tree[name] = entry_of(row, name)
        seen.keys[name] = _key(known)
        if blocks:
            seen.blocks[name] = blocks
    seen.left = {name: (reason, folder) for name, (reason, folder) in left.items()}
    seen.own_files, seen.own_size = totals(seen.tree)
    base = f"{path}/" if path else ""
    for name, below in dirs.items():
        found = _seen(base + checked_name(name, path), folders)
        if found.digest != below:
            raise ValueError("what is told of a folder does not fit its parent")
        seen.dirs[name] = found
        if not found.bare:
            seen.tree[name] = Dir(found.mode, found.digest, found.files, found.size)
    seen.files, seen.size = totals(seen.tree)
    return seen


def _key(told: Any) -> Key | None:
    if told is None:
        return None
    changed, modified, size, inode = map(index, told)
    return changed, modified, size, inode
