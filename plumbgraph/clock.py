"""Where the time comes from: the system's clock, or one that a test winds by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells wall time and monotonic time, both in seconds."""

    def now(self) -> float:
        """Seconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()  # noqa: TID251 - the one place that may

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()


class HandClock:
    """A clock that moves only when told to, for tests and replays."""

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self._at = at
        self._ticked = 0.0

    def now(self) -> float:
        """Seconds since the Unix epoch, as wound."""
        return self._at

    def monotonic(self) -> float:
        """Seconds moved since construction."""
        return self._ticked

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._at += seconds
        self._ticked += seconds

    def jump(self, seconds: float) -> None:
        """Move only the wall clock, as a correction from outside does."""
        self._at += seconds


SYSTEM: Clock = SystemClock()
