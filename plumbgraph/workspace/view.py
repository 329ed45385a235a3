"""A place for a read-only copy of a manifest, beside the folder and gone after use."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from plumbgraph.workspace.lock import Lock

_WAIT_S = 30.0


class View:
    """The place of one copy; those whose process died are removed by the next.

    Args:
        side: What lies beside the workspace's folder.
    """

    def __init__(self, side: Path) -> None:
        base = side / "views"
        with Lock(base).held(_WAIT_S):
            for old in base.iterdir():
                if old.is_dir():
                    _remove_abandoned(old)
            self._place = base / secrets.token_hex(8)
            self._lock = Lock(self._place).acquire()

    @property
    def folder(self) -> Path:
        """Where the copy is made."""
        return self._place / "files"

    @property
    def side(self) -> Path:
        """What lies beside the copy."""
        return self._place / "side"

    def close(self) -> None:
        """Remove the copy."""
        _remove(self._place)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def forbid_writing(folder: Path) -> None:
    """Take the write permissions of everything in a folder away."""
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)


def _remove_abandoned(place: Path) -> None:
    handle = Lock(place).acquire()
    if handle is not None:
        try:
            _remove(place)
        finally:
            os.close(handle)


def _remove(place: Path) -> None:
    # Whatever is in a folder without write permission cannot be removed, save by root.
    for base, folders, _ in os.walk(place):
        for path in (Path(base, name) for name in folders):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o700)
    shutil.rmtree(place, ignore_errors=True)
