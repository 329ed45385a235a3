"""A threshold that lives with the traffic: the wanted share of requests passes, whatever comes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from threading import Lock

_CORRECTION = 6.0


class LiveQuantile:
    """Says of each score whether it is among the top `share` of recent ones.

    The threshold is a quantile of the last `window` scores, corrected by how far the share that
    has passed so far is off, so that a shift of the traffic is made good within the window. Safe
    to share between threads.

    Args:
        share: Fraction that is to pass.
        window: Number of recent scores that count.
    """

    def __init__(self, share: float, *, window: int = 100) -> None:
        self.share = share
        self._window = window
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self._debt = 0.0
        self._lock = Lock()

    def passes(self, score: float) -> tuple[bool, float]:
        """Whether the score passes, and the threshold it was compared with."""
        with self._lock:
            threshold = self._threshold()
            passed = score >= threshold
            most = self._window / 4
            self._debt = min(max(self._debt + self.share - passed, -most), most)
            self._remember(score)
        return passed, threshold

    def _threshold(self) -> float:
        wanted = min(self.share + _CORRECTION * self._debt / self._window, 1.0)
        if not self._sorted or wanted <= 0:
            return float("inf")
        place = int((1 - wanted) * len(self._sorted))
        return self._sorted[min(place, len(self._sorted) - 1)]

    def _remember(self, score: float) -> None:
        self._recent.append(score)
        insort(self._sorted, score)
        if len(self._recent) > self._window:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
