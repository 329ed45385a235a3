"""What a thread's own manifests know: steps, ancestors, and whether a file is on record."""

from __future__ import annotations

from collections.abc import Iterable

from plumbgraph.errors import BlobMissing
from plumbgraph.workspace.ops import BlobPlan, Missing, Refs
from plumbgraph.workspace.reader import Trees, find
from plumbgraph.workspace.values import Entry, File, Link, Step

_LOOK_BACK = 64
_FAR = 10_000


def unrecorded(
    trees: Trees, doomed: dict[str, Entry], latest: str | None, owners: Iterable[str]
) -> BlobPlan[set[str]]:
    """Those of `doomed` that no manifest of `owners` holds at their path.

    Args:
        trees: Where manifests are read.
        doomed: Entries that are about to go, by path.
        latest: A manifest known to be recorded, asked first.
        owners: Whose references are asked next, the newest 64 of each.
    """
    open_paths = dict(doomed)
    digests = {entry.digest for entry in doomed.values() if isinstance(entry, File)}
    absent: set[str] = (yield Missing(tuple(sorted(digests)))) if digests else set()
    unknown = {p for p, e in doomed.items() if isinstance(e, File) and e.digest in absent}
    for path in unknown:
        del open_paths[path]
    if latest is not None:
        yield from _strike(trees, open_paths, latest)
    for owner in owners:
        for ref in (yield Refs(owner, _LOOK_BACK)) if open_paths else ():
            if not open_paths:
                break
            root = yield from _root(trees, ref.digest)
            if root is not None:
                yield from _strike(trees, open_paths, root)
    return unknown | set(open_paths)


def _strike(trees: Trees, open_paths: dict[str, Entry], root: str) -> BlobPlan[None]:
    for path, entry in list(open_paths.items()):
        try:
            known = yield from find(trees, root, path)
        except BlobMissing:
            return
        if _same(known, entry):
            del open_paths[path]


def _same(known: Entry | None, entry: Entry) -> bool:
    if isinstance(known, File) and isinstance(entry, File):
        return (known.digest, known.size) == (entry.digest, entry.size)
    return isinstance(known, Link) and known == entry


def _root(trees: Trees, digest: str) -> BlobPlan[str | None]:
    try:
        return (yield from trees.step(digest)).root
    except BlobMissing:
        return None


def ancestors(trees: Trees, heads: Iterable[str]) -> BlobPlan[dict[str, Step]]:
    """The steps of `heads` and all they came from, as far as they are stored."""
    queue = list(dict.fromkeys(heads))
    reached: dict[str, Step] = {}
    while queue and len(reached) < _FAR:
        absent: set[str] = yield Missing(tuple(queue))
        found = yield from trees.steps(digest for digest in queue if digest not in absent)
        reached.update(found)
        following = [parent for step in found.values() for parent in step.parents]
        queue = [digest for digest in dict.fromkeys(following) if digest not in reached]
    return reached


def tips(heads: Iterable[str], known: dict[str, Step]) -> list[str]:
    """Those of `heads` that no other of them came from, in their order."""
    unique = list(dict.fromkeys(heads))
    older: set[str] = set()
    for head in unique:
        older |= _before(head, known) - {head}
    return [head for head in unique if head not in older]


def common(heads: list[str], known: dict[str, Step]) -> str | None:
    """The nearest step that all of `heads` came from, or nothing."""
    shared = set.intersection(*(_before(head, known) for head in heads))
    nearest = [step for step in shared if not any(step in known[s].parents for s in shared)]
    return min(nearest) if nearest else None


def _before(head: str, known: dict[str, Step]) -> set[str]:
    found: set[str] = set()
    queue = [head]
    while queue:
        step = queue.pop()
        if step in known and step not in found:
            found.add(step)
            queue += known[step].parents
    return found
