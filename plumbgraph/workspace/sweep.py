"""All known files looked at in one go: which folders are as they were, at the least cost.

Where the C library offers `statx`, it fills one buffer for hundreds of files, and what it found
is compared as bytes: no Python object is made of a file that did not change. Elsewhere each file
is looked at by `os.stat`, with the same answer.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import repeat, starmap
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from plumbgraph.workspace.files import Key, key_of

if TYPE_CHECKING:
    from plumbgraph.workspace.scan import Seen

_ROWS = 512
_WORDS = 32
"""64-bit words in the kernel's `struct statx`, whose layout is the same on every processor."""
_ROW = 8 * _WORDS
_TAKEN = (12, 13, 14, 15, 5, 4)
"""The words of change time and modification time (seconds, nanoseconds), size and inode."""
_NO_FOLLOW = 0x100 | 0x800  # AT_SYMLINK_NOFOLLOW and AT_NO_AUTOMOUNT
_WANTED = 0x40 | 0x80 | 0x100 | 0x200  # STATX_MTIME, STATX_CTIME, STATX_INO, STATX_SIZE
_UNSIGNED = (1 << 64) - 1
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Pack:
    """A folder and the files in it, ready to be looked at.

    Attributes:
        names: Their paths as the system knows them, the folder's own first.
        keys: What each one's stat key was.
        columns: The same as the kernel tells it, one string of words for each part of a key.
    """

    names: tuple[bytes, ...]
    keys: tuple[Key, ...]
    columns: tuple[bytes, ...]


def packed(path: str, own: Key, keys: dict[str, Key | None]) -> Pack | None:
    """The pack of the folder at `path`; nothing if one of its files must be read again anyway."""
    known = [key for key in keys.values() if key is not None]
    if len(known) < len(keys):
        return None
    base = f"{path}/" if path else ""
    names = [path or ".", *(base + name for name in keys)]
    words = zip(*map(_words, (own, *known)), strict=True)
    columns = tuple(array("Q", column).tobytes() for column in words)
    return Pack(tuple(map(os.fsencode, names)), (own, *known), columns)


def _words(key: Key) -> tuple[int, ...]:
    changed, modified, size, inode = key
    times = (*divmod(changed, _NS), *divmod(modified, _NS))
    return tuple(word & _UNSIGNED for word in (*times, size, inode))


def unchanged(handle: int, packs: Sequence[Pack]) -> Iterator[bool]:
    """Of each pack, whether folder and files are what they were, by their stat keys.

    A folder that is none any more, or lies behind one, may be told wrongly: the answer is worth
    something only for folders whose parents were found to be folders.

    Args:
        handle: The folder that the packs' paths begin in.
        packs: What to look at.
    """
    statx = _statx()
    if statx is None:
        return map(partial(_looks_the_same, handle), packs)
    return _compared(packs, *_swept(statx, handle, packs))


def _looks_the_same(handle: int, pack: Pack) -> bool:
    look = partial(os.stat, dir_fd=handle, follow_symlinks=False)
    try:
        return all(key_of(look(n)) == key for n, key in zip(pack.names, pack.keys, strict=True))
    except OSError:
        return False


def _swept(
    statx: Callable[..., int], handle: int, packs: Sequence[Pack]
) -> tuple[list[int], list[bytes]]:
    names = [name for pack in packs for name in pack.names]
    desk = _desk()
    failed: list[int] = []
    found: list[list[bytes]] = [[] for _ in _TAKEN]
    for start in range(0, len(names), _ROWS):
        part = names[start : start + _ROWS]
        asked = zip(repeat(handle), part, repeat(_NO_FOLLOW), repeat(_WANTED), desk.rows)
        failed += starmap(statx, asked)
        for pieces, word in zip(found, _TAKEN, strict=True):
            pieces.append(desk.words[word : _WORDS * len(part) : _WORDS].tobytes())
    return failed, [b"".join(pieces) for pieces in found]


def _compared(packs: Sequence[Pack], failed: list[int], found: Sequence[bytes]) -> Iterator[bool]:
    known = (b"".join(map(itemgetter(n), [p.columns for p in packs])) for n in range(len(_TAKEN)))
    if not any(failed) and all(a == b for a, b in zip(found, known, strict=True)):
        yield from repeat(True, len(packs))
        return
    start = 0
    for pack in packs:
        end = start + len(pack.names)
        pieces = (column[8 * start : 8 * end] for column in found)
        same = all(a == b for a, b in zip(pieces, pack.columns, strict=True))
        yield same and not any(failed[start:end])
        start = end


class _Desk(threading.local):
    """A thread's own buffer for the kernel's answers."""

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(_ROWS * _ROW)
        start = ctypes.addressof(self._buffer)
        self.words = memoryview(self._buffer).cast("B").cast("Q")
        self.rows = [ctypes.c_void_p(start + _ROW * number) for number in range(_ROWS)]


@cache
def _desk() -> _Desk:
    return _Desk()


@cache
def _statx() -> Any:
    """The C library's function, where there is one whose answers can be compared as they lie."""
    if sys.byteorder != "little" or not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None).statx
    except (AttributeError, OSError):
        return None


@dataclass(frozen=True, slots=True)
class Known:
    """What a sweep told about a folder: paths of folders below it, `""` for itself.

    Attributes:
        clean: Those that are as they were, but for folders in them.
        whole: Those of which everything is, whatever lies below.
    """

    clean: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()


def sweep(handle: int, seen: Seen) -> Known:
    """Look at a folder and all that is known below it."""
    folders = dict(_folders(seen))
    packs = {path: pack for path, each in folders.items() if (pack := each.packed(path))}
    same = unchanged(handle, tuple(packs.values()))
    clean = frozenset(path for path, is_same in zip(packs, same, strict=True) if is_same)
    if len(clean) == len(folders):
        return Known(clean, clean)
    whole: set[str] = set()
    # Those below come after those above, so backwards what is below is told first.
    for path, each in reversed(folders.items()):
        base = f"{path}/" if path else ""
        if path in clean and all(base + name in whole for name in each.dirs):
            whole.add(path)
    return Known(clean, frozenset(whole))


def _folders(seen: Seen) -> Iterator[tuple[str, Seen]]:
    queue = [("", seen)]
    for path, each in queue:
        yield path, each
        base = f"{path}/" if path else ""
        queue += [(base + name, below) for name, below in each.dirs.items()]
