"""The namespaces whose index this process holds, the least used ones given up first."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from plumbgraph.memory.index import NamespaceIndex
from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.records import Record

_BYTES_AN_INDEX = 10_000


class Indexes:
    """Indexes by tenant and namespace, within a number of bytes; empty again after a fork."""

    def __init__(
        self, *, language: str, max_bytes: int, texts: Callable[[Record], str] | None = None
    ) -> None:
        self.language = language
        self._max_bytes = max_bytes
        self._texts = texts
        self._held: OrderedDict[tuple[str, Namespace], NamespaceIndex] = OrderedDict()
        self._uses: dict[tuple[str, Namespace], dict[str, int]] = {}
        self._weighed: dict[tuple[str, Namespace], int] = {}
        self._total = 0
        self._lock = Lock()
        self._pid = os.getpid()

    def of(self, tenant: str, namespace: Namespace) -> NamespaceIndex:
        """The index of a namespace, new or as it was left."""
        if self._pid != os.getpid():
            self._begin_anew()
        name = (tenant, namespace)
        with self._lock:
            index = self._held.get(name)
            if index is None:
                index = self._held[name] = NamespaceIndex(self.language, self._texts)
            self._held.move_to_end(name)
            self._shrink(name, index.bytes + _BYTES_AN_INDEX)
        return index

    def uses(self, tenant: str, namespace: Namespace) -> dict[str, int]:
        """Recalls of keys that the server was not told of yet."""
        with self._lock:
            return self._uses.setdefault((tenant, namespace), {})

    def __len__(self) -> int:
        return len(self._held)

    def _begin_anew(self) -> None:
        self._pid, self._lock = os.getpid(), Lock()
        self._held, self._uses = OrderedDict(), {}
        self._weighed, self._total = {}, 0

    def _shrink(self, spared: tuple[str, Namespace], weight: int) -> None:
        # One that has grown since is weighed when it is asked for again.
        self._total += weight - self._weighed.get(spared, 0)
        self._weighed[spared] = weight
        while self._total > self._max_bytes and len(self._held) > 1:
            gone, _ = self._held.popitem(last=False)
            self._total -= self._weighed.pop(gone)
            if not self._uses.get(gone):
                self._uses.pop(gone, None)
