"""Which manifests are still needed, and the shape of what they keep alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from plumbgraph.content.digest import SIZE
from plumbgraph.content.store import Ref
from plumbgraph.workspace.tree import decode_step, decode_tree
from plumbgraph.workspace.values import Dir, File

THREAD = "thread:"
INITIAL = "initial:"
BY_HAND = "folder:"
VISIT = "visit:"
SHARED = "shared:"
IDLE_S = 14 * 86_400.0
"""Two weeks: a usual time after which an idle thread's files may go."""


class Threads(Protocol):
    """What a checkpointer knows about threads and the steps their checkpoints name."""

    def steps(self, thread_ids: Sequence[str]) -> Mapping[str, set[str] | None]:
        """The digests of steps that a thread's checkpoints name; `None` for one that is gone."""

    def ids(self) -> Sequence[str]:
        """Every thread, also those that never ran with a workspace."""

    async def aids(self) -> Sequence[str]:
        """See `ids`."""

    async def asteps(self, thread_ids: Sequence[str]) -> Mapping[str, set[str] | None]:
        """See `steps`."""


class Shape:
    """A tracer of manifests: steps name a tree, trees name folders and files, block lists blocks.

    A step's parents are not kept by it: each has a reference of its own for as long as a
    checkpoint names it.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}

    def starts(self, root: str) -> Iterable[str]:
        """The step or tree that a reference names."""
        self._kinds.setdefault(root, "root")
        return (root,)

    def holds(self, digest: str) -> bool:
        """Whether it is a step, a tree or a block list."""
        return digest in self._kinds

    def children(self, digest: str, data: bytes) -> Iterable[str]:
        """The digests it names."""
        if self._kinds[digest] == "blocks":
            return [data[at : at + SIZE].hex() for at in range(0, len(data), SIZE)]
        if data[:1] == b"{":
            root = decode_step(data).root
            self._kinds.setdefault(root, "tree")
            return [root]
        found: list[str] = []
        for entry in decode_tree(data).values():
            if isinstance(entry, Dir | File):
                found.append(entry.digest)
            if isinstance(entry, Dir) or (isinstance(entry, File) and entry.in_blocks):
                self._kinds.setdefault(entry.digest, "tree" if isinstance(entry, Dir) else "blocks")
        return found


def threads_in(refs: Iterable[Ref]) -> list[str]:
    """The threads that hold references."""
    names = (_thread(ref.owner) for ref in refs)
    return sorted({name for name in names if name is not None})


def _thread(owner: str) -> str | None:
    for prefix in (THREAD, INITIAL):
        if owner.startswith(prefix):
            return owner.removeprefix(prefix)
    return None


def unneeded(
    refs: Sequence[Ref],
    steps: Mapping[str, set[str] | None],
    now: float,
    grace_s: float,
    idle_s: float | None = None,
) -> list[Ref]:
    """References to drop: of threads that are gone or idle, and of steps no checkpoint names.

    Whatever was put or entered within `grace_s` stays: its checkpoint may be on its way.

    Args:
        refs: All references.
        steps: What checkpoints name, by thread; of every thread where `rests_on_all` says so.
        now: Seconds since the epoch.
        grace_s: Seconds for which nothing is dropped.
        idle_s: Seconds without use after which the files of a thread or a folder go even if it
            stays.
    """
    newest: dict[str, float] = {}
    for ref in refs:
        holder = _holder(ref)
        newest[holder] = max(newest.get(holder, 0.0), ref.touched_at)
    named = set[str]().union(*(found for found in steps.values() if found))
    dropped: list[Ref] = []
    for ref in refs:
        rest_s, latest = now - ref.touched_at, newest[_holder(ref)]
        if rest_s < grace_s:
            continue
        idle = idle_s is not None and now - latest >= idle_s
        thread = _thread(ref.owner)
        if thread is not None:
            own = steps.get(thread)
            stale = ref.owner.startswith(THREAD) and own is not None and ref.digest not in own
            gone = own is None or idle or stale
        elif ref.owner.startswith(BY_HAND):
            gone = ref.digest not in named and idle_s is not None and rest_s >= idle_s
        else:
            old = rest_s >= IDLE_S and ref.touched_at < latest
            gone = ref.owner.startswith(VISIT) and ref.digest not in named and (old or idle)
        if gone:
            dropped.append(ref)
    return dropped


def _holder(ref: Ref) -> str:
    thread = _thread(ref.owner)
    return ref.owner if thread is None else f"{THREAD}{thread}"


def rests_on_all(
    refs: Sequence[Ref], now: float, grace_s: float, idle_s: float | None = None
) -> bool:
    """Whether references of folders could go: then any thread's state may name what they name."""
    gone = unneeded(refs, {}, now, grace_s, idle_s)
    return any(_thread(ref.owner) is None for ref in gone)
