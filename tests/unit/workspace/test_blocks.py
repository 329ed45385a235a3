"""Files in blocks: an edit costs a block, and older manifests are read as they were written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbgraph.content import FolderBlobs, digest_of
from plumbgraph.workspace import File, Workspace
from plumbgraph.workspace.tree import encode_tree
from plumbgraph.workspace.values import BLOCK, LARGE, WHOLE

Look = Callable[[Path], object]


def test_a_large_file_costs_only_its_changed_blocks(
    workspace: Workspace, folder: Path, look: Look
) -> None:
    with sqlite3.connect(folder / "data.db") as connection:
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, body BLOB)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?)", ((n, os.urandom(1000)) for n in range(4000))
        )
    connection.close()
    first, before = workspace.snapshot(), look(folder)
    assert first.size > 3 * LARGE
    size = stored(workspace)
    with sqlite3.connect(folder / "data.db") as connection:
        connection.execute("UPDATE t SET body = ? WHERE n = 2000", (os.urandom(1000),))
    connection.close()
    second, after = workspace.snapshot(), look(folder)
    assert stored(workspace) - size < 300_000
    workspace.restore(first)
    assert look(folder) == before
    workspace.restore(second)
    assert look(folder) == after
    assert len(workspace.read(first, "data.db")) == first.size


@pytest.mark.parametrize("size", [WHOLE, WHOLE + 1, 300_000, LARGE, LARGE + 1, 3_000_001])
def test_an_edit_costs_a_block_not_the_file(
    workspace: Workspace, folder: Path, tmp_path: Path, size: int
) -> None:
    data = bytearray(os.urandom(size))
    (folder / "a").write_bytes(data)
    first, before = workspace.snapshot(), stored(workspace)
    data[size // 2] ^= 1
    (folder / "a").write_bytes(data)
    second = workspace.snapshot()
    assert stored(workspace) - before < BLOCK + 10_000
    for manifest in (second, first):
        other = Workspace(tmp_path / manifest.digest, blobs=workspace.blobs)
        other.restore(manifest)
        found = (other.folder / "a").read_bytes()
        assert (found == data) is (manifest is second)
        assert found == workspace.read(manifest, "a")
        with workspace.open(manifest, "a") as file:
            file.seek(size // 2)
            assert file.read(1) == found[size // 2 : size // 2 + 1]


def test_a_file_that_an_older_manifest_holds_whole(
    workspace: Workspace, blobs: FolderBlobs, folder: Path
) -> None:
    """The first manifests knew blocks of large files alone."""
    content = os.urandom(300_000)
    tree = encode_tree({"a": File(0o644, len(content), digest_of(content))})
    blobs.put_many({digest_of(content): content, digest_of(tree): tree})
    workspace.restore(digest_of(tree))
    assert (folder / "a").read_bytes() == content
    with workspace.open(digest_of(tree), "a") as file:
        assert file.read() == content
    manifest = workspace.snapshot()
    assert workspace.read(manifest, "a") == content


def stored(workspace: Workspace) -> int:
    assert isinstance(workspace.blobs, FolderBlobs)
    return sum(p.stat().st_size for p in workspace.blobs.root.rglob("*") if p.is_file())
