"""Where the process ends itself: at events, and around the saver's writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plumbgraph.testing.crash.values import POINTS, Kill


class Killer:
    """A sink of events that ends its own process with SIGKILL at the chosen one."""

    def __init__(self, kill: Kill | None, records: Path) -> None:
        self._records = records
        self._name = POINTS.get(kill.point) if kill else None
        self._left = kill.nth if kill else 0
        self._late_s = 0.02 * kill.share if kill and kill.point == "restoring" else 0.0
        self._lock = threading.Lock()
        self.seen: dict[str, int] = {}

    def write(self, record: Mapping[str, Any]) -> None:
        """Take an event; effects whose record was committed are remembered across kills."""
        if record["event"] == "effect.done":
            with self._records.open("a") as file:
                file.write(f"{str(record['key'])[:16]}\n")
        self.passed(str(record["event"]))

    def recorded(self) -> set[str]:
        """The short keys of effects that are on record."""
        return set(self._records.read_text().split()) if self._records.exists() else set()

    def passed(self, name: str) -> None:
        """The process is at a point."""
        with self._lock:
            self.seen[name] = self.seen.get(name, 0) + 1
            if name != self._name:
                return
            self._left -= 1
            due = self._left == 0
        if due:
            if self._late_s:
                # Not at the point itself but a moment later, in the midst of what it announces.
                threading.Timer(self._late_s, _end).start()
            else:
                _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slowed(kind: type[Any], killer: Killer, delay_s: float) -> type[Any]:
    """A saver class whose writes take longer and pass the killer's points."""

    class Slowed(kind):  # type: ignore[misc]
        def _wait(self) -> None:
            # A saver with a lock around its connection waits for the network inside of it.
            with getattr(self, "lock", None) or contextlib.nullcontext():
                time.sleep(delay_s)

        def put(self, *args: Any, **kwargs: Any) -> Any:
            self._wait()
            killer.passed("saver.put")
            result = super().put(*args, **kwargs)
            killer.passed("saver.putted")
            return result

        def put_writes(self, *args: Any, **kwargs: Any) -> Any:
            self._wait()
            return super().put_writes(*args, **kwargs)

        async def aput(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(delay_s)
            killer.passed("saver.put")
            result = await super().aput(*args, **kwargs)
            killer.passed("saver.putted")
            return result

        async def aput_writes(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(delay_s)
            return await super().aput_writes(*args, **kwargs)

    return Slowed
