"""Mark and sweep: which content no reference reaches any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from plumbgraph.errors import SettingsError

LEAST_GRACE_S = 120.0
TOUCH_EVERY_S = 60.0
"""How stale a blob's touch may get while it is in use; far below the least grace."""

_BATCH = 256


class Tracer(Protocol):
    """Knows the shape of what is stored: which blobs hold the digests of others."""

    def starts(self, root: str) -> Iterable[str]:
        """The blobs that a reference names, given its digest."""

    def holds(self, digest: str) -> bool:
        """Whether a blob met on the way has to be read, because it may name others."""

    def children(self, digest: str, data: bytes) -> Iterable[str]:
        """The digests that a blob names."""


class Flat:
    """A tracer for content that refers to nothing: only the references themselves are kept."""

    def starts(self, root: str) -> Iterable[str]:
        """The root."""
        return (root,)

    def holds(self, digest: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """Nothing is to be read."""
        return False

    def children(self, digest: str, data: bytes) -> Iterable[str]:  # noqa: ARG002 - as above
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection found and removed."""

    kept: int
    deleted: int
    freed_bytes: int


class Marking:
    """The walk from the roots, as steps: ask `wanted()`, read those blobs, `learn` them."""

    def __init__(self, tracer: Tracer, roots: Iterable[str]) -> None:
        self._tracer = tracer
        self._queue: list[str] = []
        self._read: set[str] = set()
        self.reached: set[str] = set()
        for root in roots:
            self._meet(tracer.starts(root))

    def _meet(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self.reached.add(digest)
            # Equal bytes can be met as a plain file first and as a tree later.
            if digest not in self._read and self._tracer.holds(digest):
                self._read.add(digest)
                self._queue.append(digest)

    def wanted(self) -> Iterator[list[str]]:
        """Batches of blobs to read, until all are reached."""
        while self._queue:
            batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
            yield batch

    def learn(self, digest: str, data: bytes) -> None:
        """Take in what a blob names."""
        self._meet(self._tracer.children(digest, data))


def checked_grace(grace_s: float) -> float:
    """`grace_s`, when it is one that is safe.

    Raises:
        SettingsError: It lies between zero and the least.
    """
    if grace_s != 0 and grace_s < LEAST_GRACE_S:
        raise SettingsError(
            f"A grace of {grace_s:g} s could delete what a running agent relies on.",
            hint=f"Use at least {LEAST_GRACE_S:g} s, or 0 when nobody else uses the store.",
        )
    return grace_s
