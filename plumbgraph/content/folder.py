"""The blob store in a folder: one file a digest, for tests, laptops and shared disks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.content.codec import decode, encode
from plumbgraph.content.collect import Collected, Marking, Tracer, checked_grace
from plumbgraph.content.digest import is_digest, verify
from plumbgraph.content.seal import Seal
from plumbgraph.content.store import Ref
from plumbgraph.errors import BlobCorrupt, BlobMissing, SettingsError

_HEAD = 9


class FolderBlobs:
    """A `BlobStore` in a folder of this machine.

    A file holds one byte of codec, eight of size, and the body; its modification time says when
    it was last used. Files appear by rename and are flushed to disk first.

    Args:
        folder: Where the files lie; made on first write.
        tenant: Whose content; tenants share nothing.
        space: What kind of content.
        seal: Encrypt bodies and hide names.
        clock: Tells the age of unused content.

    Raises:
        SettingsError: `tenant` or `space` is not usable as a folder's name.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        tenant: str = "default",
        space: str = "workspace",
        seal: Seal | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        for name in (tenant, space):
            if not name or name.startswith(".") or "/" in name or "\0" in name:
                raise SettingsError(f"{name!r} cannot be a folder's name.")
        self.root = Path(folder) / tenant / space
        self.tenant = tenant
        self._seal = seal
        self._clock = clock

    def put_many(self, blobs: Mapping[str, bytes], *, refs: Iterable[Ref] = ()) -> None:
        """See `BlobStore.put_many`; flushed to disk when it returns."""
        folders: set[Path] = set()
        for digest, data in blobs.items():
            path = self._path(digest)
            if not self._touched(path):
                codec, body = encode(digest, data, self._seal)
                raw = bytes([codec]) + len(data).to_bytes(8, "big") + body
                _place(path, raw, self._clock.now())
                folders.add(path.parent)
        for ref in refs:
            path = self._ref_path(ref)
            if not self._touched(path):
                _place(path, f"{ref.owner}\n{ref.digest}".encode(), self._clock.now())
                folders.add(path.parent)
        for folder in folders:
            _flush(folder)

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        """See `BlobStore.get_many`."""
        wanted = list(dict.fromkeys(digests))
        found: dict[str, bytes] = {}
        for digest in wanted:
            try:
                raw = self._path(digest).read_bytes()
            except FileNotFoundError:
                continue
            if len(raw) < _HEAD:
                raise BlobCorrupt(f"Blob {digest[:16]!r}… is cut short.", digest=digest)
            size = int.from_bytes(raw[1:_HEAD], "big")
            data = decode(digest, raw[0], size, raw[_HEAD:], self._seal)
            found[digest] = verify(digest, data)
        absent = [digest for digest in wanted if digest not in found]
        if absent:
            raise BlobMissing(
                f"{len(absent)} of {len(wanted)} blobs are not in {str(self.root)!r}, "
                f"first {absent[0][:16]!r}….",
                digests=absent,
            )
        return found

    def missing(self, digests: Iterable[str]) -> set[str]:
        """See `BlobStore.missing`."""
        return {digest for digest in set(digests) if not self._touched(self._path(digest))}

    def delete_many(self, digests: Iterable[str]) -> int:
        """See `BlobStore.delete_many`."""
        return sum(_removed(self._path(digest)) for digest in set(digests))

    def refs(self, owner: str | None = None, *, limit: int = 1000) -> list[Ref]:
        """See `BlobStore.refs`."""
        found = [ref for ref in self._refs() if owner is None or ref.owner == owner]
        return sorted(found, key=lambda ref: (-ref.touched_at, ref.digest))[:limit]

    def drop_refs(self, refs: Iterable[Ref]) -> int:
        """See `BlobStore.drop_refs`."""
        return sum(_removed(self._ref_path(ref)) for ref in refs)

    def collect(self, tracer: Tracer, *, grace_s: float = 86_400.0) -> Collected:
        """See `BlobStore.collect`."""
        limit = self._clock.now() - checked_grace(grace_s)
        idle = [path for path in self._blobs() if _touched_at(path) <= limit]
        marking = Marking(tracer, (ref.digest for ref in self._refs()))
        for batch in marking.wanted():
            for digest, data in self.get_many(batch).items():
                marking.learn(digest, data)
        reached = {self._path(digest) for digest in marking.reached}
        deleted = freed = 0
        for path in idle:
            if path not in reached and _touched_at(path) <= limit:
                size = path.stat().st_size
                deleted, freed = deleted + _removed(path), freed + size
        return Collected(kept=len(reached), deleted=deleted, freed_bytes=freed)

    async def aput_many(self, blobs: Mapping[str, bytes], *, refs: Iterable[Ref] = ()) -> None:
        """See `BlobStore.put_many`."""
        await asyncio.to_thread(self.put_many, blobs, refs=refs)

    async def aget_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        """See `BlobStore.get_many`."""
        return await asyncio.to_thread(self.get_many, digests)

    async def amissing(self, digests: Iterable[str]) -> set[str]:
        """See `BlobStore.missing`."""
        return await asyncio.to_thread(self.missing, digests)

    async def adelete_many(self, digests: Iterable[str]) -> int:
        """See `BlobStore.delete_many`."""
        return await asyncio.to_thread(self.delete_many, digests)

    async def arefs(self, owner: str | None = None, *, limit: int = 1000) -> list[Ref]:
        """See `BlobStore.refs`."""
        return await asyncio.to_thread(self.refs, owner, limit=limit)

    async def adrop_refs(self, refs: Iterable[Ref]) -> int:
        """See `BlobStore.drop_refs`."""
        return await asyncio.to_thread(self.drop_refs, refs)

    async def acollect(self, tracer: Tracer, *, grace_s: float = 86_400.0) -> Collected:
        """See `BlobStore.collect`."""
        return await asyncio.to_thread(self.collect, tracer, grace_s=grace_s)

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise BlobMissing(f"{digest!r} is not a digest.", digests=[digest])
        name = self._seal.name(digest).hex() if self._seal else digest
        return self.root / "blobs" / name[:2] / name[2:]

    def _ref_path(self, ref: Ref) -> Path:
        owner = hashlib.blake2b(ref.owner.encode(), digest_size=16).hexdigest()
        return self.root / "refs" / owner / ref.digest

    def _blobs(self) -> Iterator[Path]:
        return (path for path in self.root.glob("blobs/??/*") if not path.name.startswith("."))

    def _refs(self) -> Iterator[Ref]:
        for path in self.root.glob("refs/*/*"):
            if path.name.startswith("."):
                continue
            try:
                owner, _, digest = path.read_text().rpartition("\n")
                yield Ref(owner, digest, _touched_at(path))
            except FileNotFoundError:
                continue

    def _touched(self, path: Path) -> bool:
        now = self._clock.now()
        try:
            os.utime(path, (now, now))
        except FileNotFoundError:
            return False
        return True


def _place(path: Path, raw: bytes, now: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.utime(name, (now, now))
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _touched_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
