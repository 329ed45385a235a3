"""A node's stay in the workspace: enter at the state's manifest, leave with a new one."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plumbgraph.content.digest import digest_of
from plumbgraph.content.store import Ref
from plumbgraph.errors import ThreadBusy
from plumbgraph.tracing.emit import emit
from plumbgraph.workspace.checkout import Checkout, Restored
from plumbgraph.workspace.events import WorkspaceMerged
from plumbgraph.workspace.history import ancestors, common, tips
from plumbgraph.workspace.merge import Merge, OnConflict
from plumbgraph.workspace.ops import BlobPlan, Put, Refs
from plumbgraph.workspace.reader import Trees
from plumbgraph.workspace.reference import Reference, heads, reference
from plumbgraph.workspace.tree import encode_step
from plumbgraph.workspace.values import Manifest, Step

if TYPE_CHECKING:
    from plumbgraph.workspace.workspace import Workspace

_PAUSE_S = 0.05
_WAIT_S = 60.0
_MOST_BRANCHES = 256
_SHOWN = 3


@dataclass(slots=True)
class Session:
    """One node's stay: a folder of its own until `leave`.

    Attributes:
        workspace: The folder to work in: the workspace's own, or a branch's.
        owner: Whose references keep the manifests.
        step: The step entered at; `None` where there is no thread to record it for.
        root: The manifest entered at.
        seen: The steps that the state named on entry.
        notes: What the model should know about this entry.
    """

    workspace: Workspace
    owner: str
    step: str | None = None
    root: str = ""
    seen: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    _lock: int | None = None

    def close(self) -> None:
        """Let others use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def leave(self) -> BlobPlan[Reference | None]:
        """Record what the node did; the update for the state, or nothing if all is as it was."""
        checkout = self.workspace.checkout
        parents = (self.step,) if self.step else ()
        manifest, held = yield from checkout.snapshot(self.owner, parents, unless=self.root)
        if manifest.digest == self.root and self.step is not None:
            if self.seen == (self.step,):
                return None
            held = self.step
        notes = [*self.notes, *_left_notes(manifest)]
        return reference(manifest, held, seen=self.seen, notes=notes)


def enter(
    workspace: Workspace, value: Mapping[str, Any] | None, thread: str | None, mode: OnConflict
) -> BlobPlan[Session]:
    """Take a folder and bring it to what the state says.

    Args:
        workspace: Where to work.
        value: The state's workspace channel.
        thread: The thread, for the owner of what is recorded; without one nothing is restored
            on the first entry.
        mode: What a conflict between parallel branches does.

    Raises:
        WorkspaceConflict: Branches changed the same file, and `mode` is `error`.
        ThreadBusy: No folder became free.
    """
    owner = f"thread:{thread}" if thread is not None else workspace.visit_name
    known = heads(value)
    session = yield from _settle(workspace, owner, thread, known)
    try:
        checkout = session.workspace.checkout
        if known:
            session.seen = tuple(each["step"] for each in known)
            session.step = yield from _joined(checkout, owner, session.seen, mode)
            session.root = (yield from checkout.trees.step(session.step)).root
            done = yield from checkout.restore(session.root, owner, session.step)
            session.notes += _restore_notes(done)
    except BaseException:
        session.close()
        raise
    return session


def _settle(
    workspace: Workspace, owner: str, thread: str | None, known: list[Reference]
) -> BlobPlan[Session]:
    """Lock a folder; before a thread's first step, record or restore what it began with."""
    first = f"initial:{thread}"
    deadline = time.monotonic() + _WAIT_S
    while True:
        lock = workspace.lock.acquire()
        begun = [] if known or thread is None else (yield Refs(first, 1))
        if lock is not None:
            session = Session(workspace.bound(workspace.checkout), owner, _lock=lock)
            try:
                if not known:
                    yield from _begin(session, first if thread is not None else None, begun)
            except BaseException:
                session.close()
                raise
            return session
        if known or begun or thread is None:
            session = _branch(workspace, owner)
            try:
                if begun:
                    yield from _begin(session, first, begun)
            except BaseException:
                session.close()
                raise
            return session
        # Another branch is recording what the thread begins with.
        if time.monotonic() > deadline:
            raise ThreadBusy(f"The folder {str(workspace.folder)!r} did not become free.")
        time.sleep(_PAUSE_S)


def _begin(session: Session, first: str | None, begun: list[Any]) -> BlobPlan[None]:
    checkout = session.workspace.checkout
    if first is None:
        manifest, _ = yield from checkout.snapshot(session.owner)
        session.root = manifest.digest
        return
    if begun:
        step = begun[0].digest
        root = (yield from checkout.trees.step(step)).root
        done = yield from checkout.restore(root, session.owner, step)
        session.notes += _restore_notes(done)
    else:
        manifest, step = yield from checkout.snapshot(first, ())
        root = manifest.digest
    session.step, session.root = step, root


def _branch(workspace: Workspace, owner: str) -> Session:
    for number in range(1, _MOST_BRANCHES):
        branch = workspace.branch(number)
        lock = branch.lock.acquire()
        if lock is not None:
            return Session(branch.bound(branch.checkout), owner, _lock=lock)
    raise ThreadBusy(f"All {_MOST_BRANCHES} branches of {str(workspace.folder)!r} are in use.")


def _joined(
    checkout: Checkout, owner: str, known: tuple[str, ...], mode: OnConflict
) -> BlobPlan[str]:
    """One step of several: ancestors fall away, the rest is merged in the state's order."""
    if len(known) == 1:
        return known[0]
    steps = yield from ancestors(checkout.trees, known)
    left = tips(known, steps)
    if len(left) == 1:
        return left[0]
    step, conflicts = yield from merge_steps(checkout.trees, left, steps, mode)
    if step.root not in {steps[head].root for head in left}:
        emit(WorkspaceMerged(root=step.root, heads=len(left), conflicts=tuple(conflicts)))
    encoded = encode_step(step)
    digest = digest_of(encoded)
    yield Put({digest: encoded}, (Ref(owner, digest),))
    checkout.trees.remember(digest, step)
    return digest


def merge_steps(
    trees: Trees, heads: list[str], steps: dict[str, Step], mode: OnConflict
) -> BlobPlan[tuple[Step, list[str]]]:
    """Merge manifests of several steps over their nearest common one, in the given order."""
    base = common(heads, steps)
    base_root = steps[base].root if base else None
    root = steps[heads[0]].root
    conflicts: list[str] = []
    for number, head in enumerate(heads[1:], start=2):
        merge = Merge(trees, mode, label=f"branch-{number}")
        root = yield from merge.roots(base_root, root, steps[head].root)
        conflicts += merge.conflicts
    return Step(root, tuple(heads)), conflicts


def _restore_notes(done: Restored) -> list[str]:
    if not done.aside:
        return []
    shown = ", ".join(done.aside[:_SHOWN]) + (", …" if len(done.aside) > _SHOWN else "")
    return [
        f"{len(done.aside)} unfinished or foreign file(s) were moved out of the workspace: {shown}"
    ]


def _left_notes(manifest: Manifest) -> list[str]:
    if not manifest.left:
        return []
    shown = ", ".join(map(str, manifest.left[:_SHOWN]))
    more = ", …" if len(manifest.left) > _SHOWN else ""
    return [f"{len(manifest.left)} path(s) are not kept between steps: {shown}{more}"]
