"""The namespaces whose index this process holds, the least used ones given up first."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable

from plumbgraph.memory.index import NamespaceIndex
from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.records import Record


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
        self._pid = os.getpid()

    def of(self, tenant: str, namespace: Namespace) -> NamespaceIndex:
        """The index of a namespace, new or as it was left."""
        if self._pid != os.getpid():
            self._pid, self._held, self._uses = os.getpid(), OrderedDict(), {}
        name = (tenant, namespace)
        index = self._held.get(name)
        if index is None:
            index = self._held[name] = NamespaceIndex(self.language, self._texts)
        self._held.move_to_end(name)
        self._shrink(name)
        return index

    def uses(self, tenant: str, namespace: Namespace) -> dict[str, int]:
        """Recalls of keys that the server was not told of yet."""
        return self._uses.setdefault((tenant, namespace), {})

    def _shrink(self, spared: tuple[str, Namespace]) -> None:
        total = sum(index.bytes for index in self._held.values())
        for name in list(self._held):
            if total <= self._max_bytes or name == spared:
                return
            total -= self._held.pop(name).bytes
