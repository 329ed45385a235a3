"""The effects this process is running, and their heartbeats for processes elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter

from plumbgraph.effects import statements as sql
from plumbgraph.effects.owner import BEAT_S, me
from plumbgraph.errors import PlumbError
from plumbgraph.postgres.pool import Database

_everywhere: Counter[str] = Counter()
"""How often any journal of this process is running, or is about to run, an effect."""

_lock = threading.Lock()


class Heartbeats:
    """The running effects; a thread says they live for as long as there are any."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant
        self._keys: Counter[str] = Counter()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def __contains__(self, key: object) -> bool:
        return key in _everywhere

    def add(self, key: str) -> None:
        """An effect begins."""
        with _lock:
            self._keys[key] += 1
            _everywhere[key] += 1
            if self._thread is None or not self._thread.is_alive():
                self._wake.clear()
                self._thread = threading.Thread(target=self._beat, daemon=True, name="effects")
                self._thread.start()

    def discard(self, key: str) -> None:
        """An effect ended."""
        with _lock:
            for counted in (self._keys, _everywhere):
                counted[key] -= 1
                if not counted[key]:
                    del counted[key]

    def close(self) -> None:
        """Stop the thread."""
        self._wake.set()

    def _beat(self) -> None:
        while not self._wake.wait(BEAT_S):
            with _lock:
                keys = sorted(self._keys)
                if not keys:
                    self._thread = None
                    return
            # A missed heartbeat is not this process's end: the next one may get through.
            with contextlib.suppress(PlumbError):
                self._database.send((sql.beat(self._tenant, keys, me()),))
