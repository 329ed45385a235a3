"""What a blob store offers: content by digest, and references that keep content alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from plumbgraph.content.collect import Collected, Tracer


@dataclass(frozen=True, slots=True)
class Ref:
    """A root that somebody holds: content reachable from `digest` is kept while it exists.

    Attributes:
        owner: Who holds it, for example a thread or a skill; free text without NUL.
        digest: The root.
        touched_at: When it was last put, seconds since the epoch; 0 for one not yet stored.
    """

    owner: str
    digest: str
    touched_at: float = 0.0


class BlobStore(Protocol):
    """Content by digest. Every method has its awaitable twin with the same meaning.

    A store belongs to one tenant and one space: equal content of two tenants is stored twice, so
    that nobody learns what another holds. Whoever puts content knows its digest
    (`digest_of`); whoever gets it receives it verified.
    """

    def put_many(self, blobs: Mapping[str, bytes], *, refs: Iterable[Ref] = ()) -> None:
        """Store content under its digests, durably; then `refs`. What exists is only touched.

        A reference is never visible before all of `blobs` are.
        """

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        """The content of each digest, verified.

        Raises:
            BlobMissing: One is not there (facts: digests).
            BlobCorrupt: One does not match its digest.
        """

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Those that are not stored; those that are count as used now, so `collect` waits."""

    def delete_many(self, digests: Iterable[str]) -> int:
        """Remove content at once, whoever refers to it; how many there were."""

    def refs(self, owner: str | None = None, *, limit: int = 1000) -> list[Ref]:
        """References, the newest first; of all owners by default."""

    def drop_refs(self, refs: Iterable[Ref]) -> int:
        """Forget references; how many there were. Content goes with the next `collect`."""

    def collect(self, tracer: Tracer, *, grace_s: float = 86_400.0) -> Collected:
        """Delete content that no reference reaches and that nobody used within `grace_s`.

        Safe beside writers for any `grace_s` of at least 120: whoever relies on existing
        content touches it first, and the delete looks at the time again. Zero is for a store
        that nobody else uses.

        Args:
            tracer: Says what a blob refers to, for example the entries of a folder's tree.
            grace_s: Seconds of rest before unreachable content is deleted.
        """

    async def aput_many(self, blobs: Mapping[str, bytes], *, refs: Iterable[Ref] = ()) -> None:
        """See `put_many`."""

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        """See `get_many`."""

    async def amissing(self, digests: Iterable[str]) -> set[str]:
        """See `missing`."""

    async def adelete_many(self, digests: Iterable[str]) -> int:
        """See `delete_many`."""

    async def arefs(self, owner: str | None = None, *, limit: int = 1000) -> list[Ref]:
        """See `refs`."""

    async def adrop_refs(self, refs: Iterable[Ref]) -> int:
        """See `drop_refs`."""

    async def acollect(self, tracer: Tracer, *, grace_s: float = 86_400.0) -> Collected:
        """See `collect`."""
