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

_LONGEST_WRITE_S = 2.0


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

    def at(self, name: str) -> bool:
        """Whether this process is to end at a point."""
        return self._name == name

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


class _Underway:
    """Counts the writes that have begun and not ended."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def ended(self) -> None:
        """Wait, not for long, until none is under way."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, timeout=_LONGEST_WRITE_S)


def slowed(kind: type[Any], killer: Killer, delay_s: float) -> type[Any]:
    """A saver class whose writes take longer and pass the killer's points."""
    writes = _Underway()

    class Slowed(kind):  # type: ignore[misc]
        def _wait(self) -> None:
            # A saver with a lock around its connection waits for the network inside of it.
            with getattr(self, "lock", None) or contextlib.nullcontext():
                time.sleep(delay_s)

        def put(self, *args: Any, **kwargs: Any) -> Any:
            self._wait()
            killer.passed("saver.put")
            if killer.at("saver.between"):
                writes.ended()
            killer.passed("saver.between")
            result = super().put(*args, **kwargs)
            killer.passed("saver.putted")
            return result

        def put_writes(self, *args: Any, **kwargs: Any) -> Any:
            with writes:
                self._wait()
                return super().put_writes(*args, **kwargs)

        async def aput(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(delay_s)
            killer.passed("saver.put")
            if killer.at("saver.between"):
                await asyncio.to_thread(writes.ended)
            killer.passed("saver.between")
            result = await super().aput(*args, **kwargs)
            killer.passed("saver.putted")
            return result

        async def aput_writes(self, *args: Any, **kwargs: Any) -> Any:
            with writes:
                await asyncio.sleep(delay_s)
                return await super().aput_writes(*args, **kwargs)

    return Slowed
