"""The workspaces made of one another: the same object by name for as long as anybody uses it."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

Member = TypeVar("Member")
_MOST = 64


class Family(Generic[Member]):
    """Members by name, with what they know of their folders.

    The last used ones are kept; of the others only those that are in use somewhere, so a process
    that serves ever new threads does not grow.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = Lock()
        self._alive: WeakValueDictionary[str, Member] = WeakValueDictionary()
        self._recent: OrderedDict[str, Member] = OrderedDict()

    def get(self, name: str) -> Member | None:
        """The member of that name, if there is one."""
        with self._lock:
            found = self._alive.get(name)
            return None if found is None else self._used(name, found)

    def setdefault(self, name: str, member: Member) -> Member:
        """The member of that name, else this one from now on."""
        with self._lock:
            return self._used(name, self._alive.setdefault(name, member))

    def pop(self, name: str) -> Member:
        """Take a member out."""
        with self._lock:
            member = self._alive.pop(name)
            self._recent.pop(name, None)
            return member

    def __len__(self) -> int:
        return len(self._alive)

    def _used(self, name: str, member: Member) -> Member:
        self._recent[name] = member
        self._recent.move_to_end(name)
        while len(self._recent) > self._most:
            self._recent.popitem(last=False)
        return member
