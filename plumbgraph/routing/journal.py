"""What the router needs of a journal: its decision before a call, the answer after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """What a journal holds under a key.

    Attributes:
        intent: What was about to happen.
        result: What came of it, `None` where that was never recorded.
    """

    intent: Mapping[str, Any]
    result: Mapping[str, Any] | None = None


class Journal(Protocol):
    """Keeps entries beyond the life of this process. Keys and values are plain JSON data."""

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


class NoJournal:
    """Keeps nothing: a call outside a graph, or one whose graph has no journal."""

    def lookup(self, key: str) -> None:
        """Nothing."""

    def intent(self, key: str, facts: Mapping[str, Any]) -> None:
        """Not kept."""

    def done(self, key: str, result: Mapping[str, Any]) -> None:
        """Not kept."""

    async def alookup(self, key: str) -> None:
        """Nothing."""

    async def aintent(self, key: str, facts: Mapping[str, Any]) -> None:
        """Not kept."""

    async def adone(self, key: str, result: Mapping[str, Any]) -> None:
        """Not kept."""
