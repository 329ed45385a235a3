"""A folder whose state is a digest: snapshot, restore, diff, and a copy for each branch."""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import quote

from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.content.collect import Collected
from plumbgraph.content.store import BlobStore, Ref
from plumbgraph.errors import SettingsError, WorkspaceUnsafe
from plumbgraph.tracing.emit import emit
from plumbgraph.workspace import reference
from plumbgraph.workspace.checkout import Checkout, Restored, Rules
from plumbgraph.workspace.events import WorkspaceCollected
from plumbgraph.workspace.exclude import Excludes
from plumbgraph.workspace.family import Family
from plumbgraph.workspace.lock import Lock
from plumbgraph.workspace.ops import BlobPlan, arun, run
from plumbgraph.workspace.reference import Reference
from plumbgraph.workspace.retention import (
    BY_HAND,
    VISIT,
    Shape,
    Threads,
    rests_on_all,
    threads_in,
    unneeded,
)
from plumbgraph.workspace.values import Manifest, Quota
from plumbgraph.workspace.view import View, forbid_writing
from plumbgraph.workspace.views import Named, Views

Result = TypeVar("Result")
_THREAD = "{thread_id}"
_EVERY = 1_000_000
_current: ContextVar[Workspace | None] = ContextVar("plumbgraph_workspace", default=None)


class Workspace(Views):
    """A working folder whose whole state is named by a digest.

    Snapshots read only what changed since the last one; restores write only what differs. A file
    that is in the way and that no manifest of its owner knows is moved aside, beside the folder,
    never deleted. Links are kept as links and never followed. `.git` is never touched.

    Beside the folder lies `.NAME.plumbgraph`, out of its users' way: locks, branches, files moved
    aside. It must be on the same file system.

    Args:
        folder: The folder; made on first use. `{thread_id}` in it gives each thread its own.
        blobs: Where content goes, for example `PostgresBlobs` in the checkpoints' database.
        exclude: Gitignore rules after the defaults (secrets and caches); `!name` takes one back.
        default_excludes: Begin with the defaults.
        quota: The most it may hold.
        side: Another place for what lies beside the folder.
        flush: Flush each restored file to disk. Off by default, because a new process reads
            everything again before it trusts it; turn it on where other programs do not.
        portable: Refuse names that file systems which ignore case would merge.
        index: Keep beside the folder what is known of it, so that a new process reads only what
            changed. It is believed within one boot of the machine; after a power cut all is read.
        wait_s: Seconds to wait for another user of the folder.
        clock: Tells which files are too fresh to trust their times.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        blobs: BlobStore,
        exclude: Iterable[str] = (),
        default_excludes: bool = True,
        quota: Quota | None = None,
        side: str | Path | None = None,
        flush: bool = False,
        portable: bool = False,
        index: bool = True,
        wait_s: float = 30.0,
        clock: Clock = SYSTEM,
    ) -> None:
        self.folder = _absolute(folder)
        if not self.folder.name:
            raise SettingsError("The root of the file system cannot be a workspace.")
        super().__init__(blobs)
        self._wait_s = wait_s
        excludes = Excludes(exclude, defaults=default_excludes)
        self._rules = Rules(
            excludes, quota or Quota(), clock, flush=flush, portable=portable, index=index
        )
        self._side = Path(side) if side else self.folder.parent / f".{self.folder.name}.plumbgraph"
        self._bound = False
        self._family: Family[Workspace] = Family()
        self._settle()

    def _settle(self) -> None:
        self.checkout = Checkout(self.folder, self._side, self._rules, self._trees)
        self.lock = Lock(self._side)

    def __repr__(self) -> str:
        return f"Workspace({str(self.folder)!r})"

    @staticmethod
    def current() -> Workspace:
        """The workspace of the node that is running: a branch's own, where branches are parallel.

        Raises:
            SettingsError: No node with a workspace is running here.
        """
        found = _current.get()
        if found is None:
            raise SettingsError(
                "No workspace is open here.",
                hint="Wrap the node in WorkspaceNode, or use WorkspaceMiddleware.",
            )
        return found

    @contextmanager
    def as_current(self) -> Iterator[Self]:
        """Make this what `current` returns within the block."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def path(self, name: str | Path = "") -> Path:
        """An absolute path inside, for a tool that opens files by a name the model gave.

        Raises:
            WorkspaceUnsafe: It leads outside, by `..`, from the root, or through a link.
        """
        base = self.folder.resolve()
        found = (base / name).resolve()
        if found != base and base not in found.parents:
            raise WorkspaceUnsafe(f"{str(name)!r} leads out of the workspace.", path=str(name))
        return found

    def of_thread(self, thread_id: str | None) -> Workspace:
        """The workspace of a thread: itself, unless the folder has `{thread_id}` in it.

        Raises:
            SettingsError: It has, and there is no thread.
        """
        if _THREAD not in str(self.folder):
            return self
        if thread_id is None:
            raise SettingsError(
                f"{str(self.folder)!r} needs a thread_id.", hint="Run the graph with a thread_id."
            )
        name = quote(thread_id, safe="").replace(".", "%2E")
        return self._relative(name, Path(str(self.folder).replace(_THREAD, name)), None)

    def branch(self, number: int) -> Workspace:
        """The workspace of a parallel branch, beside the folder."""
        base = self._side / "branches" / str(number)
        return self._relative(str(number), base / "work", base / "side")

    def _relative(self, name: str, folder: Path, side: Path | None) -> Workspace:
        found = self._family.get(name)
        if found is None:
            found = copy.copy(self)
            found.folder = folder
            found._side = side or folder.parent / f".{folder.name}.plumbgraph"  # noqa: SLF001
            found._family = Family()  # noqa: SLF001 - a copy of this class
            found._settle()  # noqa: SLF001 - as above
            found = self._family.setdefault(name, found)
        return found

    def bound(self, checkout: Checkout) -> Workspace:
        """The same workspace for whoever holds its lock."""
        inner = copy.copy(self)
        inner.checkout, inner._bound = checkout, True  # noqa: SLF001 - a copy of this class
        return inner

    @property
    def own_name(self) -> str:
        """Who keeps snapshots alive that were taken by hand."""
        return f"{BY_HAND}{self.folder}"

    @property
    def visit_name(self) -> str:
        """Who keeps alive, for a while, what a restore brought here without a thread."""
        return f"{VISIT}{self.folder}"

    def snapshot(self, *, keeper: str | None = None) -> Manifest:
        """The folder's manifest, its content stored and committed.

        Args:
            keeper: Who keeps it alive, and drops that reference again; the folder by default,
                until `forget`.

        Raises:
            WorkspaceQuota: It holds more than its quota.
            WorkspaceChanging: A file kept changing.
            WorkspaceUnwritable: A file or folder cannot be read.
        """
        return self._run(self.checkout.snapshot(keeper or self.own_name))[0]

    async def asnapshot(self, *, keeper: str | None = None) -> Manifest:
        """See `snapshot`."""
        return (await self._arun(self.checkout.snapshot(keeper or self.own_name)))[0]

    def status(self) -> Manifest:
        """The folder's manifest as it is, stored nowhere."""
        return self._run(self.checkout.status())

    async def astatus(self) -> Manifest:
        """See `status`."""
        return await self._arun(self.checkout.status())

    def restore(self, digest: Named) -> Restored:
        """Bring the folder to a manifest, touching only what differs.

        Raises:
            BlobMissing: Content is not in the store.
            BlobCorrupt: Content does not match its digest.
            WorkspaceUnsafe: The manifest was tampered with, or cannot be written here.
            WorkspaceQuota: It exceeds the quota, or the disk is full.
        """
        return self._run(self._restore(digest))

    async def arestore(self, digest: Named) -> Restored:
        """See `restore`."""
        return await self._arun(self._restore(digest))

    def _restore(self, digest: Named) -> BlobPlan[Restored]:
        root = yield from self._root(digest)
        return (yield from self.checkout.restore(root, self.own_name, by=self.visit_name))

    def forget(self, named: Named) -> bool:
        """Let a snapshot that was taken by hand go with the next `gc`; whether there was one."""
        return bool(self.blobs.drop_refs([Ref(self.own_name, self.digest(named))]))

    async def aforget(self, named: Named) -> bool:
        """See `forget`."""
        return bool(await self.blobs.adrop_refs([Ref(self.own_name, await self.adigest(named))]))

    def export(self, digest: Named, folder: str | Path, *, read_only: bool = False) -> Manifest:
        """A copy of a manifest in another folder, for example to look at it beside the agent.

        Args:
            digest: What to export.
            folder: Where to; it must be empty or absent.
            read_only: Take the write permissions away.

        Raises:
            SettingsError: The folder holds something.
        """
        return self._copy_at(folder, run(self._exported(digest, folder), self.blobs), read_only)

    async def aexport(
        self, digest: Named, folder: str | Path, *, read_only: bool = False
    ) -> Manifest:
        """See `export`."""
        manifest = await arun(self._exported(digest, folder), self.blobs)
        return await asyncio.to_thread(self._copy_at, folder, manifest, read_only)

    def _exported(self, digest: Named, folder: str | Path) -> BlobPlan[Manifest]:
        target = Path(folder)
        if target.exists() and any(target.iterdir()):
            raise SettingsError(f"The folder {str(folder)!r} is not empty.")
        copy_of = self._relative(str(folder), _absolute(folder), None)
        root = yield from self._root(digest)
        done = yield from copy_of.checkout.restore(root, self.own_name, by=self.visit_name)
        return done.manifest

    def _copy_at(self, folder: str | Path, manifest: Manifest, read_only: bool) -> Manifest:  # noqa: FBT001 - private
        copy_of = self._family.pop(str(folder))
        shutil.rmtree(copy_of._side, ignore_errors=True)  # noqa: SLF001 - a copy of this class
        if read_only:
            forbid_writing(Path(folder))
        return manifest

    @contextmanager
    def at(self, digest: Named) -> Iterator[Workspace]:
        """A read-only copy of a manifest to work beside others, current within the block.

        It needs no claim and no lock, and is gone afterwards.
        """
        view = View(self._side)
        try:
            self.export(digest, view.folder, read_only=True)
            with self._view(view).as_current() as found:
                yield found
        finally:
            view.close()

    @asynccontextmanager
    async def aat(self, digest: Named) -> AsyncIterator[Workspace]:
        """See `at`."""
        view = await asyncio.to_thread(View, self._side)
        try:
            await self.aexport(digest, view.folder, read_only=True)
            with self._view(view).as_current() as found:
                yield found
        finally:
            await asyncio.to_thread(view.close)

    def _view(self, view: View) -> Workspace:
        found = copy.copy(self)
        found.folder, found._side = view.folder, view.side  # noqa: SLF001 - a copy of this class
        found._family = Family()  # noqa: SLF001 - as above
        found._settle()  # noqa: SLF001 - as above
        return found

    def gc(
        self, threads: Threads, *, grace_s: float = 86_400.0, idle_s: float | None = None
    ) -> Collected:
        """Delete content that nobody needs any more; safe beside running agents.

        Needed is what a checkpoint names, the head of a shared workspace, and a snapshot taken
        by hand until `forget`. What a restore by hand referred to stays for two weeks, the
        newest of each folder for good.

        Args:
            threads: What checkpoints name (`plumbgraph.agents.workspace.SaverThreads(saver)`).
            grace_s: Seconds for which whatever was used stays.
            idle_s: Also delete the files of threads that were idle for so long, and snapshots
                taken by hand that nobody used for as long.
        """
        refs = self.blobs.refs(limit=_EVERY)
        ages = (self._rules.clock.now(), grace_s, idle_s)
        ids = threads.ids() if rests_on_all(refs, *ages) else ()
        gone = unneeded(refs, threads.steps(sorted({*threads_in(refs), *ids})), *ages)
        self.blobs.drop_refs(gone)
        return _told(self.blobs.collect(Shape(), grace_s=grace_s))

    async def agc(
        self, threads: Threads, *, grace_s: float = 86_400.0, idle_s: float | None = None
    ) -> Collected:
        """See `gc`."""
        refs = await self.blobs.arefs(limit=_EVERY)
        ages = (self._rules.clock.now(), grace_s, idle_s)
        ids = await threads.aids() if rests_on_all(refs, *ages) else ()
        steps = await threads.asteps(sorted({*threads_in(refs), *ids}))
        gone = unneeded(refs, steps, *ages)
        await self.blobs.adrop_refs(gone)
        return _told(await self.blobs.acollect(Shape(), grace_s=grace_s))

    @staticmethod
    def reference(manifest: Manifest) -> Reference:
        """What a state's workspace channel holds for a manifest, to set it by hand.

        `graph.update_state(config, {"workspace": workspace.reference(workspace.snapshot())})`
        makes what a person changed in the folder part of the thread.
        """
        return reference.reference(manifest, manifest.digest)

    def run(self, plan: BlobPlan[Result]) -> Result:
        """Drive a plan against this workspace's store, blocking."""
        return run(plan, self.blobs)

    async def arun(self, plan: BlobPlan[Result]) -> Result:
        """Drive a plan against this workspace's store, awaiting."""
        return await arun(plan, self.blobs)

    def _run(self, plan: BlobPlan[Result]) -> Result:
        if self._bound:
            return run(plan, self.blobs)
        with self.lock.held(self._wait_s):
            return run(plan, self.blobs)

    async def _arun(self, plan: BlobPlan[Result]) -> Result:
        return await arun(self._locked(plan), self.blobs)

    def _locked(self, plan: BlobPlan[Result]) -> BlobPlan[Result]:
        if self._bound:
            return (yield from plan)
        with self.lock.held(self._wait_s):
            return (yield from plan)


def _told(done: Collected) -> Collected:
    emit(WorkspaceCollected(kept=done.kept, deleted=done.deleted, freed_bytes=done.freed_bytes))
    return done


def _absolute(folder: str | Path) -> Path:
    # Not `resolve`, which follows links; an absolute path needs no look at the disk at all.
    if os.path.isabs(folder):  # noqa: PTH117 - pathlib keeps `..`
        return Path(os.path.normpath(folder))
    return Path(os.path.abspath(folder))  # noqa: PTH100 - as above
