"""One working folder: taking its snapshot and bringing it to a manifest, as plans."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from plumbgraph.clock import Clock
from plumbgraph.content.digest import digest_of
from plumbgraph.content.store import Ref
from plumbgraph.errors import WorkspaceChanging, WorkspaceUnsafe
from plumbgraph.tracing.emit import emit
from plumbgraph.workspace import files
from plumbgraph.workspace.apply import Aside, Hints, Site, apply
from plumbgraph.workspace.compare import Changes, compare
from plumbgraph.workspace.events import (
    WorkspaceAside,
    WorkspaceRestored,
    WorkspaceRestoring,
    WorkspaceStored,
)
from plumbgraph.workspace.exclude import Excludes
from plumbgraph.workspace.history import unrecorded
from plumbgraph.workspace.index import Index
from plumbgraph.workspace.ops import BlobPlan, Missing, Put
from plumbgraph.workspace.reader import Trees
from plumbgraph.workspace.scan import Buffer, Scan, Seen
from plumbgraph.workspace.tree import encode_step
from plumbgraph.workspace.values import Manifest, Quota, Step

_HELD_S = 600.0
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Rules:
    """What all folders of a workspace have in common."""

    excludes: Excludes
    quota: Quota
    clock: Clock
    flush: bool = False
    portable: bool = False
    index: bool = True

    def name(self) -> str:
        """Names what decides about the shape of a snapshot."""
        return digest_of(repr((self.excludes, self.quota.depth, self.portable)).encode())


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did to the folder.

    Attributes:
        manifest: What the folder holds now.
        written: Files and links that were written.
        removed: Files and links that were removed.
        aside: Paths moved aside because no manifest of the thread knew them.
        aside_folder: Where they are now, if any.
    """

    manifest: Manifest
    written: int = 0
    removed: int = 0
    aside: tuple[str, ...] = ()
    aside_folder: str | None = None


@dataclass(slots=True)
class Checkout:
    """A folder, what lies beside it, and what is known about both.

    Attributes:
        folder: The working folder.
        side: Beside it, out of the agent's way: locks, spare files, files moved aside.
    """

    folder: Path
    side: Path
    rules: Rules
    trees: Trees
    _seen: Seen | None = None
    _index: Index | None = None
    _times: bool | None = None
    _held: dict[tuple[str, str], float] = field(default_factory=dict)
    _labels: Iterator[int] = field(default_factory=count)

    def snapshot(
        self, owner: str, parents: tuple[str, ...] | None = None, unless: str | None = None
    ) -> BlobPlan[tuple[Manifest, str]]:
        """Record the folder: its content is stored, and `owner` refers to it.

        Args:
            owner: Who keeps it alive.
            parents: Steps it came from; the reference is to a new step then, else to the root.
            unless: A manifest on record already; the same again is not recorded anew.

        Returns:
            The manifest, and what was referred to: step or root.
        """
        buffer = Buffer(keep=True)
        with self._opened() as handle:
            known = self._seen if self._seen and self._kept(self._seen.digest) else None
            seen = yield from self._scan(buffer).root(handle, known)
        manifest = _manifest(seen)
        held = manifest.digest
        if parents is not None and held != unless:
            step = Step(manifest.digest, parents)
            encoded = encode_step(step)
            held = digest_of(encoded)
            buffer.add(held, encoded)
            self.trees.remember(held, step)
        if not self._holds(owner, held):
            yield from self._store(buffer, owner, held)
            self._hold(owner, held)
            emit(
                WorkspaceStored(
                    folder=str(self.folder),
                    root=manifest.digest,
                    files=manifest.files,
                    bytes=manifest.size,
                    left=len(manifest.left),
                )
            )
        self._know(seen)
        self._hold(owner, seen.digest)
        return manifest, held

    def _store(self, buffer: Buffer, owner: str, held: str) -> BlobPlan[None]:
        blobs = buffer.blobs
        if len(blobs) > 64:  # noqa: PLR2004 - then asking first is cheaper than sending
            absent: set[str] = yield Missing(tuple(blobs))
            blobs = {digest: blobs[digest] for digest in blobs if digest in absent}
        yield Put(blobs, (Ref(owner, held),))

    def status(self) -> BlobPlan[Manifest]:
        """The folder as it is, recorded nowhere."""
        with self._opened() as handle:
            return _manifest((yield from self._scan(Buffer(keep=False)).root(handle, self._seen)))

    def restore(
        self, root: str, owner: str, held: str | None = None, *, by: str | None = None
    ) -> BlobPlan[Restored]:
        """Bring the folder to a manifest, touching only what differs.

        Args:
            root: The manifest.
            owner: Whose manifests tell which files may be replaced.
            held: The step or root to refer to; `root` by default.
            by: Who refers to it afterwards, its manifests count as well; `owner` by default.
        """
        owners = (owner,) if by is None else (owner, by)
        with self._opened() as handle:
            latest = self._seen.digest if self._seen else None
            seen = yield from self._scan(Buffer(keep=False)).root(handle, self._seen)
            changes = yield from compare(self.trees, seen, root, self.rules.quota)
            if not changes:
                self._know(seen)
                yield from self._keep(owners, held or root)
                return Restored(_manifest(seen))
            self._seen = None
            yield from self._keep(owners, held or root)
            unknown = yield from unrecorded(self.trees, changes.doomed, latest, owners)
            done, hints = yield from self._apply(handle, root, changes, unknown)
            seen = yield from self._scan(Buffer(keep=False), hints).root(handle, seen)
            if (yield from compare(self.trees, seen, root, self.rules.quota)):
                raise WorkspaceChanging(
                    f"Somebody else writes in {str(self.folder)!r} while it is restored.",
                    path=str(self.folder),
                )
        self._know(seen)
        return Restored(_manifest(seen), *done)

    def _apply(
        self, handle: int, root: str, changes: Changes, unknown: set[str]
    ) -> BlobPlan[tuple[tuple[int, int, tuple[str, ...], str | None], Hints]]:
        written = len(changes.files) + len(changes.links)
        removed = len([p for p in changes.doomed if p not in changes.files])
        emit(
            WorkspaceRestoring(folder=str(self.folder), root=root, writes=written, removals=removed)
        )
        self._refuse_twins(changes)
        aside = Aside(str(self.side / "aside"), self._label())
        spare = self.side / "spare"
        spare.mkdir(exist_ok=True, mode=0o700)
        _clear(spare)
        with _handle(str(spare)) as spare_handle:
            handles = files.Handles(handle)
            site = Site(handles, spare_handle, aside, flush=self.rules.flush)
            try:
                yield from apply(site, changes, unknown)
            finally:
                handles.close()
        if aside.paths:
            emit(WorkspaceAside(folder=str(self.folder), paths=tuple(aside.paths[:_SHOWN])))
        emit(
            WorkspaceRestored(
                folder=str(self.folder),
                root=root,
                written=written,
                removed=removed,
                aside=len(aside.paths),
            )
        )
        where = aside.folder if aside.paths else None
        return (written, removed, tuple(aside.paths), where), site.hints

    def _refuse_twins(self, changes: Changes) -> None:
        if changes.twins and ignores_case(self.side):
            one, other = changes.twins[0]
            raise WorkspaceUnsafe(
                f"{one!r} and {other!r} are one name on this file system.", path=one
            )

    def _scan(self, buffer: Buffer, hints: Hints | None = None) -> Scan:
        rules = self.rules
        return Scan(
            rules.excludes,
            rules.quota,
            rules.clock,
            buffer,
            hints or {},
            portable=rules.portable,
            listed=self._listed(),
        )

    def _listed(self) -> bool:
        if self._times is None:
            with files.guarded(str(self.side)):
                self._times = files.listings_show_in_times(str(self.side))
        return self._times

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with files.guarded(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.side.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._index is None:
            self._index = Index(self.side / "index", self.rules.name())
            self._seen = self._index.load() if self.rules.index else None
        with _handle(str(self.folder)) as handle:
            yield handle

    def _know(self, seen: Seen) -> None:
        self._seen = seen
        if self._index is not None and self.rules.index:
            self._index.save(seen)

    def _label(self) -> str:
        return f"{int(self.rules.clock.now() * 1000)}-{os.getpid()}-{next(self._labels)}"

    def _keep(self, owners: tuple[str, ...], digest: str) -> BlobPlan[None]:
        owner = owners[-1]
        if not any(self._holds(each, digest) for each in owners):
            yield Put({}, (Ref(owner, digest),))
            self._hold(owner, digest)
        if self._seen is not None:
            self._hold(owner, self._seen.digest)

    def _kept(self, digest: str) -> bool:
        """Whether anybody here said so lately."""
        return any(self._holds(owner, digest) for owner, held in self._held if held == digest)

    def _holds(self, owner: str, digest: str) -> bool:
        """Whether `owner` said lately that it relies on a manifest, so that nobody collects it."""
        at = self._held.get((owner, digest))
        return at is not None and self.rules.clock.monotonic() - at < _HELD_S

    def _hold(self, owner: str, digest: str) -> None:
        if len(self._held) > 1000:  # noqa: PLR2004 - forgetting costs one more round trip
            self._held.clear()
        self._held[owner, digest] = self.rules.clock.monotonic()


def _manifest(seen: Seen) -> Manifest:
    return Manifest(seen.digest, seen.files, seen.size, seen.left_below())


@contextmanager
def _handle(path: str) -> Iterator[int]:
    with files.guarded(path):
        handle = files.open_folder(path)
    try:
        yield handle
    finally:
        os.close(handle)


def _clear(spare: Path) -> None:
    for name in os.listdir(spare):  # noqa: PTH208 - names may not be UTF-8
        (spare / name).unlink(missing_ok=True)


def ignores_case(folder: Path) -> bool:
    """Whether the file system takes `a` and `A` for one name."""
    probe = folder / f"case-{os.getpid()}"
    probe.touch()
    try:
        return (folder / f"CASE-{os.getpid()}").exists()
    finally:
        probe.unlink(missing_ok=True)
