"""What can be read of recorded manifests without a folder: entries, files, differences."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO, TypeAlias

from plumbgraph.content.store import BlobStore
from plumbgraph.errors import WorkspaceUnsafe
from plumbgraph.workspace import reader, reference
from plumbgraph.workspace.ops import BlobPlan, Get, arun, run
from plumbgraph.workspace.reader import Trees
from plumbgraph.workspace.reference import Reference
from plumbgraph.workspace.tree import decode_blocks
from plumbgraph.workspace.values import Change, Entry, File, Manifest

Named: TypeAlias = str | Manifest | Reference
"""How a manifest is named: its digest or a step's, itself, or what a thread's state holds."""


class Views:
    """Reads recorded manifests. Safe beside whoever works in the folder, and at any digest.

    Args:
        blobs: Where content lies.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs
        self._trees = Trees()

    def digest(self, named: Named) -> str:
        """The digest of the manifest that a reference, a step or a manifest stands for."""
        return run(self._root(named), self.blobs)

    async def adigest(self, named: Named) -> str:
        """See `digest`."""
        return await arun(self._root(named), self.blobs)

    def _root(self, named: Named) -> BlobPlan[str]:
        if isinstance(named, Manifest):
            return named.digest
        step = named if isinstance(named, str) else _one_step(named)
        return (yield from self._trees.step(step)).root

    def diff(self, before: Named, after: Named) -> list[Change]:
        """What differs between two manifests, by path."""
        return run(self._diff(before, after), self.blobs)

    async def adiff(self, before: Named, after: Named) -> list[Change]:
        """See `diff`."""
        return await arun(self._diff(before, after), self.blobs)

    def _diff(self, before: Named, after: Named) -> BlobPlan[list[Change]]:
        roots = (yield from self._root(before)), (yield from self._root(after))
        return (yield from reader.diff(self._trees, *roots))

    def entries(self, digest: Named) -> dict[str, Entry]:
        """Everything in a manifest, by path."""
        return run(self._entries(digest), self.blobs)

    async def aentries(self, digest: Named) -> dict[str, Entry]:
        """See `entries`."""
        return await arun(self._entries(digest), self.blobs)

    def _entries(self, digest: Named) -> BlobPlan[dict[str, Entry]]:
        return (yield from reader.walk(self._trees, (yield from self._root(digest))))

    def read(self, digest: Named, path: str) -> bytes:
        """A file's whole content as it was in a manifest.

        Raises:
            FileNotFoundError: There is no file at `path`.
        """
        return run(self._read(digest, path), self.blobs)

    async def aread(self, digest: Named, path: str) -> bytes:
        """See `read`."""
        return await arun(self._read(digest, path), self.blobs)

    def _read(self, digest: Named, path: str) -> BlobPlan[bytes]:
        file = yield from self._file(digest, path)
        return b"".join((yield from reader.content(file, path)))

    def open(self, digest: Named, path: str) -> BinaryIO:
        """A file as it was in a manifest, to read from; of a large one, what is read is fetched.

        Raises:
            FileNotFoundError: There is no file at `path`.
        """
        file, blocks = run(self._opened(digest, path), self.blobs)
        if blocks is None:
            return io.BytesIO(b"".join(run(reader.content(file, path), self.blobs)))
        return io.BufferedReader(_Recorded(self.blobs, blocks, file), file.block)

    async def aopen(self, digest: Named, path: str) -> BinaryIO:
        """See `open`; all of it is fetched at once, so that reading never waits."""
        return io.BytesIO(await self.aread(digest, path))

    def _opened(self, digest: Named, path: str) -> BlobPlan[tuple[File, list[str] | None]]:
        file = yield from self._file(digest, path)
        if not file.in_blocks:
            return file, None
        got: dict[str, bytes] = yield Get((file.digest,))
        return file, decode_blocks(got[file.digest], file, path)

    def _file(self, digest: Named, path: str) -> BlobPlan[File]:
        root = yield from self._root(digest)
        entry = yield from reader.find(self._trees, root, path)
        if not isinstance(entry, File):
            raise FileNotFoundError(f"No file {path!r} in manifest {root[:16]!r}….")
        return entry


class _Recorded(io.RawIOBase):
    """A file in blocks, which are fetched as they are read."""

    def __init__(self, blobs: BlobStore, blocks: Sequence[str], file: File) -> None:
        super().__init__()
        self._blobs, self._blocks, self._at = blobs, blocks, 0
        self._size, self._block = file.size, file.block

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at >= self._size:
            return 0
        number, start = divmod(self._at, self._block)
        digest = self._blocks[number]
        data = self._blobs.get_many((digest,))[digest]
        if len(data) != min(self._block, self._size - number * self._block):
            raise WorkspaceUnsafe(f"Block {number} of a recorded file has a wrong size.", path="")
        part = data[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _one_step(named: Reference) -> str:
    known = reference.heads(named)
    if len(known) != 1:
        raise WorkspaceUnsafe(
            "The state holds branches that are not merged yet.",
            hint="Name one of its heads, or let the next node merge them.",
            path="",
        )
    return str(known[0]["step"])
