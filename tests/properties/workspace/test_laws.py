"""Laws of the workspace: any history of changes can be gone back and forth; merges commute."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from plumbgraph.content import FolderBlobs, digest_of
from plumbgraph.workspace import Dir, Entry, File, Link, Workspace
from plumbgraph.workspace.merge import Merge
from plumbgraph.workspace.names import escapes
from plumbgraph.workspace.ops import run
from plumbgraph.workspace.reader import Trees
from plumbgraph.workspace.tree import decode_tree, encode_tree
from plumbgraph.workspace.values import LARGE, WHOLE

NAMES = st.sampled_from(["a", "b", "c", "sub", "sub/a", "sub/b", "sub/deep/a", "other/x"])
CONTENTS = st.sampled_from(
    [b"", b"one", b"two", b"three" * 1000, b"four" * 30_000, bytes(1_200_000)]
)

names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20
).filter(lambda n: n not in {".", ".."} and n.casefold() != ".git")
digests = st.binary(max_size=4).map(digest_of)
modes = st.integers(0, 0o777)
entries = st.one_of(
    st.builds(File, modes, st.integers(0, 1 << 40), digests),
    st.builds(File, modes, st.integers(WHOLE + 1, LARGE), digests, split=st.just(value=True)),
    st.builds(Dir, modes, digests, st.integers(0, 100), st.integers(0, 1 << 40)),
    st.builds(Link, names),
)


@given(st.dictionaries(names, entries, max_size=8))
def test_a_tree_survives_and_has_one_form(tree: dict[str, Entry]) -> None:
    data = encode_tree(tree)
    assert decode_tree(data) == tree
    assert encode_tree(dict(reversed(tree.items()))) == data


@given(
    st.lists(st.sampled_from(["..", ".", "a", "b", ""]), min_size=1, max_size=8),
    st.integers(0, 3),
)
def test_a_link_escapes_where_the_system_says_so(parts: list[str], depth: int) -> None:
    """Compared with real folders: `a` and `b` exist at every depth below the root."""
    base = Path("/nowhere/root")
    place = base.joinpath(*["a"] * depth)
    target = "/".join(parts)
    inside = True
    here = place
    for part in parts:
        here = Path(os.path.normpath(here / part)) if part else here
        inside &= here == base or base in here.parents
    path = str((place / "link").relative_to(base))
    assert escapes(path, target) == (not inside or not target or target.startswith("/"))


def facts(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): (
            path.readlink() if path.is_symlink()
            else "dir" if path.is_dir()
            else (path.stat().st_mode, path.read_bytes())
        )
        for path in folder.rglob("*")
    }  # fmt: skip


class History(RuleBasedStateMachine):
    """Changes, snapshots, restores and new processes in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.folder = self.home / "work"
        self.folder.mkdir()
        self.blobs = FolderBlobs(self.home / "blobs")
        self.workspace = Workspace(self.folder, blobs=self.blobs)
        self.known: list[tuple[str, dict[str, object]]] = []

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    def _clear(self, path: Path) -> None:
        for part in [*reversed(path.relative_to(self.folder).parents), path]:
            full = self.folder / part
            if full.is_symlink() or (full.is_file() and full != path):
                full.unlink()
        if path.is_dir():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)

    @rule(name=NAMES, content=CONTENTS, mode=st.sampled_from([0o644, 0o600, 0o755]))
    def write(self, name: str, content: bytes, mode: int) -> None:
        self._clear(self.folder / name)
        (self.folder / name).write_bytes(content)
        (self.folder / name).chmod(mode)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self._clear(self.folder / name)
        (self.folder / name).unlink(missing_ok=True)

    @rule(name=NAMES)
    def link(self, name: str) -> None:
        self._clear(self.folder / name)
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / name).symlink_to("a")

    @rule()
    def snapshot(self) -> None:
        self.known.append((self.workspace.snapshot().digest, facts(self.folder)))

    @rule()
    def new_process(self) -> None:
        self.workspace = Workspace(self.folder, blobs=self.blobs)

    @rule()
    def rest(self) -> None:
        """Long enough for times to be trusted."""
        time.sleep(0.03)

    @rule(name=NAMES, other=NAMES)
    def rename(self, name: str, other: str) -> None:
        source, target = self.folder / name, self.folder / other
        if source.exists() and source not in [target, *target.parents]:
            self._clear(target)
            target.unlink(missing_ok=True)
            if source.exists():
                source.rename(target)

    @rule(choice=st.integers(0, 100))
    def restore(self, choice: int) -> None:
        if self.known:
            digest, expected = self.known[choice % len(self.known)]
            before = {p: f for p, f in facts(self.folder).items() if isinstance(f, tuple)}
            done = self.workspace.restore(digest)
            assert facts(self.folder) == expected
            for path in done.aside:
                assert done.aside_folder is not None
                kept = Path(done.aside_folder) / path
                if path in before:
                    assert kept.read_bytes() == before[path][1]

    @invariant()
    def what_is_remembered_is_what_is_there(self) -> None:
        fresh = Workspace(self.folder, blobs=self.blobs, side=self.home / "fresh")
        assert self.workspace.status() == fresh.status()

    @invariant()
    def equal_folders_have_equal_digests(self) -> None:
        found = facts(self.folder)
        same = {digest for digest, facts_then in self.known if facts_then == found}
        if same:
            assert {self.workspace.status().digest} == same


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=15, stateful_step_count=18, deadline=None)

CHANGES = st.dictionaries(NAMES, st.sampled_from([b"1", b"2", None]), max_size=4)


def built(home: Path, blobs: FolderBlobs, contents: dict[str, bytes | None]) -> str:
    folder = home / "w"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in contents.items():
        if content is not None and not any(f"{n}/" in f"{name}/" for n in contents if n != name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name).exists():
                (folder / name).write_bytes(content)
    return Workspace(folder, blobs=blobs).snapshot().digest


@settings(max_examples=25, deadline=None)
@given(CHANGES, CHANGES, CHANGES)
def test_merges_keep_every_change_and_commute(
    base: dict[str, bytes | None], one: dict[str, bytes | None], two: dict[str, bytes | None]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        blobs = FolderBlobs(home / "blobs")
        roots = [built(home, blobs, {**base, **changed}) for changed in ({}, one, two)]
        trees = Trees()
        merge: Callable[[str, str], tuple[str, list[str]]] = lambda a, b: merged(  # noqa: E731 - short
            trees, blobs, roots[0], a, b
        )
        there, conflicts = merge(roots[1], roots[2])
        back, conflicts_back = merge(roots[2], roots[1])
        assert sorted(conflicts) == sorted(conflicts_back)
        assert merge(roots[1], roots[1]) == (roots[1], [])
        assert merge(roots[1], roots[0]) == (roots[1], [])
        if not conflicts:
            assert there == back


def merged(
    trees: Trees, blobs: FolderBlobs, base: str, one: str, two: str
) -> tuple[str, list[str]]:
    merge = Merge(trees, "keep_both")
    return run(merge.roots(base, one, two), blobs), merge.conflicts
