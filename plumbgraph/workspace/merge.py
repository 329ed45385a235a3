"""Three-way merge of manifests: what parallel branches changed, together, or a named conflict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from plumbgraph.content.digest import digest_of
from plumbgraph.errors import WorkspaceConflict
from plumbgraph.workspace.ops import BlobPlan, Put
from plumbgraph.workspace.reader import EMPTY, Trees
from plumbgraph.workspace.tree import encode_tree, totals
from plumbgraph.workspace.values import Dir, Entry, Tree

OnConflict: TypeAlias = Literal["error", "keep_both"]


@dataclass(slots=True)
class Merge:
    """One merge of two manifests over what they have in common.

    Attributes:
        trees: Where trees are read.
        on_conflict: `error`, or `keep_both` to keep the second under another name.
        label: Goes into that other name.
        conflicts: Paths that both changed in different ways.
        blobs: Trees that are new.
    """

    trees: Trees
    on_conflict: OnConflict = "error"
    label: str = "other"
    conflicts: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def roots(self, base: str | None, ours: str, theirs: str) -> BlobPlan[str]:
        """The merged manifest's digest; new trees are stored.

        Raises:
            WorkspaceConflict: Both changed the same path (facts: paths).
        """
        old = EMPTY if base is None else (yield from self.trees.one(base))
        mine = yield from self.trees.one(ours)
        other = yield from self.trees.one(theirs)
        merged = yield from self._tree("", old, mine, other)
        if self.conflicts and self.on_conflict == "error":
            raise WorkspaceConflict(
                f"Parallel branches changed the same files: {', '.join(self.conflicts[:5])}"
                f"{', …' if len(self.conflicts) > 5 else '.'}",  # noqa: PLR2004 - as shown
                paths=self.conflicts,
            )
        digest = self._store(merged)
        yield Put(self.blobs)
        return digest

    def _tree(self, path: str, old: Tree, mine: Tree, other: Tree) -> BlobPlan[dict[str, Entry]]:
        merged: dict[str, Entry] = {}
        for name in dict.fromkeys((*mine, *other)):
            was, a, b = old.get(name), mine.get(name), other.get(name)
            where = f"{path}/{name}" if path else name
            if b in (a, was):
                kept = a
            elif a == was:
                kept = b
            elif isinstance(a, Dir) and isinstance(b, Dir):
                kept = yield from self._dir(where, was, a, b)
            else:
                kept = self._both(where, name, a, b, (mine, other, merged))
            if kept is not None:
                merged[name] = kept
        return merged

    def _dir(self, where: str, was: Entry | None, a: Dir, b: Dir) -> BlobPlan[Entry]:
        before = was if isinstance(was, Dir) else None
        wanted = {entry.digest: where for entry in (a, b, before) if entry is not None}
        trees = yield from self.trees.many(wanted)
        old = trees[before.digest] if before else EMPTY
        tree = yield from self._tree(where, old, trees[a.digest], trees[b.digest])
        mode = b.mode if before is not None and a.mode == before.mode else a.mode
        return Dir(mode, self._store(tree), *totals(tree))

    def _both(
        self,
        where: str,
        name: str,
        a: Entry | None,
        b: Entry | None,
        taken: tuple[Tree, Tree, dict[str, Entry]],
    ) -> Entry | None:
        self.conflicts.append(where)
        if a is None or b is None:
            return a or b
        stem, dot, suffix = name.rpartition(".") if "." in name[1:] else (name, "", "")
        second = f"{stem}.{self.label}{dot}{suffix}"
        number = 2
        while any(second in tree for tree in taken):
            second, number = f"{stem}.{self.label}-{number}{dot}{suffix}", number + 1
        taken[2][second] = b
        return a

    def _store(self, tree: Tree) -> str:
        data = encode_tree(tree)
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest
