"""Model calls that cannot be on record, so that nobody looks for them."""

from __future__ import annotations

from collections import OrderedDict

_MOST = 1000


class News:
    """Keys of tasks that run for the first time, with what has been written about each."""

    def __init__(self) -> None:
        self._written: OrderedDict[str, set[str]] = OrderedDict()

    def asked(self, key: str, *, fresh: bool) -> None:
        """A running task has a key; nothing is on record when it is the task's first time."""
        if not fresh:
            self._written.pop(key, None)
            return
        self._written.setdefault(key, set())
        while len(self._written) > _MOST:
            self._written.popitem(last=False)

    def nothing(self, key: str) -> bool:
        """Whether nothing is on record about a key, or one that is made of it behind a slash."""
        written = self._written.get(key.partition("/")[0])
        return written is not None and key not in written

    def written(self, key: str) -> None:
        """Something is on record, or may be."""
        known = self._written.get(key.partition("/")[0])
        if known is not None:
            known.add(key)
