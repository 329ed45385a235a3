"""One user of a working folder at a time, across threads and processes of this machine.

The lock is `flock` on a file beside the folder: it goes with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plumbgraph.errors import ThreadBusy
from plumbgraph.workspace.files import guarded

_PAUSE_S = 0.02


class Lock:
    """The lock of one folder, as the file that is locked."""

    def __init__(self, side: Path) -> None:
        self._side = side
        self._path = side / "lock"

    def acquire(self) -> int | None:
        """A handle that holds the lock until it is closed, or nothing when somebody has it."""
        with guarded(str(self._side)):
            self._side.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    @contextmanager
    def held(self, wait_s: float) -> Iterator[None]:
        """Hold the lock for a block, waiting for it if need be.

        Raises:
            ThreadBusy: It was not free within `wait_s`.
        """
        deadline = time.monotonic() + wait_s
        while (handle := self.acquire()) is None:
            if time.monotonic() > deadline:
                raise ThreadBusy(
                    f"Somebody works in the folder beside {str(self._side)!r}.",
                    hint="Wait until the node that runs there has ended.",
                )
            time.sleep(_PAUSE_S)
        try:
            yield
        finally:
            os.close(handle)
