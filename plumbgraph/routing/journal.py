"""What the router needs of a journal: its decision before a call, the answer after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Entry(Protocol):
    """What a journal holds under a key."""

    @property
    def intent(self) -> Mapping[str, Any]:
        """What was about to happen."""

    @property
    def result(self) -> Mapping[str, Any] | None:
        """What came of it, `None` where that was never recorded."""


class Journal(Protocol):
    """Keeps entries beyond the life of this process. Keys are texts, values plain JSON data.

    `plumbgraph.agents.journal_for` makes one of a checkpointer.
    """

    def key(self, name: str, args: Any) -> str:
        """A key for a call of the running task, the same when the task is resumed."""

    async def akey(self, name: str, args: Any) -> str:
        """See `key`."""

    def lookup(self, key: str) -> Entry | None:
        """The entry of a key."""

    def intent(self, key: str, facts: Mapping[str, Any]) -> None:
        """Record what is about to happen; durable when it returns."""

    def done(self, key: str, result: Mapping[str, Any]) -> None:
        """Record what came of it; durable when it returns."""

    async def alookup(self, key: str) -> Entry | None:
        """See `lookup`."""

    async def aintent(self, key: str, facts: Mapping[str, Any]) -> None:
        """See `intent`."""

    async def adone(self, key: str, result: Mapping[str, Any]) -> None:
        """See `done`."""
