"""Manifests as attackers make them: nothing escapes from the workspace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.content import FolderBlobs, digest_of
from plumbgraph.errors import (
    BlobCorrupt,
    BlobMissing,
    PlumbError,
    WorkspaceQuota,
    WorkspaceUnsafe,
)
from plumbgraph.workspace import Workspace
from plumbgraph.workspace.tree import decode_blocks, decode_step, decode_tree
from plumbgraph.workspace.values import BLOCK, LARGE, WHOLE, File

CONTENT = digest_of(b"evil")
EMPTY_TREE = digest_of(b"[]")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that no attack may change."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret").write_text("untouched")
    before = (path / "secret").stat()
    yield path
    assert (path / "secret").read_text() == "untouched"
    assert (path / "secret").stat().st_mode == before.st_mode
    assert [p.name for p in path.iterdir()] == ["secret"]


def crafted(blobs: FolderBlobs, rows: Any) -> str:
    """The digest of a tree that an attacker put into the store."""
    data = rows if isinstance(rows, bytes) else json.dumps(rows, separators=(",", ":")).encode()
    blobs.put_many({digest_of(data): data, CONTENT: b"evil", EMPTY_TREE: b"[]"})
    return digest_of(data)


def file_row(name: str, mode: int = 0o644, size: Any = 4, digest: Any = CONTENT) -> list[Any]:
    return [name, "f", mode, size, digest]


@pytest.mark.parametrize(
    "row",
    [
        file_row("../outside/secret"),
        file_row(".."),
        file_row("."),
        file_row(""),
        file_row("/etc/passwd"),
        file_row("a/b"),
        file_row("nul\0name"),
        file_row("x" * 256),
        file_row("lone\ud800"),
        file_row("x", mode=0o4755),
        file_row("x", mode=0o2755),
        file_row("x", mode=0o1755),
        file_row("x", mode=-1),
        file_row("x", mode=True),
        file_row("x", size=-1),
        file_row("x", size=True),
        file_row("x", size="4"),
        file_row("x", digest="../../etc/passwd"),
        file_row("x", digest=CONTENT.upper()),
        ["x", "b", 0o644, WHOLE, CONTENT],
        ["x", "b", 0o644, LARGE + 1, CONTENT],
        ["x", "b", 0o4755, LARGE, CONTENT],
        ["x", "b", 0o644, LARGE, "no digest"],
        ["x", "l", "/etc/passwd"],
        ["x", "l", "../outside/secret"],
        ["x", "l", "a/../../outside"],
        ["x", "l", ""],
        ["x", "l", "y\0z"],
        ["x", "l", 7],
        ["x", "l", "y" * 5000],
        ["x", "p"],
        ["x", "c", 1, 3],
        ["x", "s", "socket"],
        ["x", "d", 0o4755, EMPTY_TREE, 0, 0],
        ["x", "d", 0o755, EMPTY_TREE, 5, 0],
        ["x", "d", 0o755, EMPTY_TREE, 0, 99],
        ["x", "d", 0o755, EMPTY_TREE, -1, 0],
        ["x"],
        [],
        "x",
        {"name": "x"},
        None,
    ],
    ids=repr,
)
def test_a_crafted_entry_is_refused(
    workspace: Workspace, blobs: FolderBlobs, folder: Path, outside: Path, row: Any
) -> None:
    (folder / "mine").write_text("mine")
    with pytest.raises(WorkspaceUnsafe):
        workspace.restore(crafted(blobs, [row]))
    assert [p.name for p in folder.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"7",
        b"[[]",
        b'{"root":"x","parents":[]}',
        b"[" * 100_000,
        json.dumps([file_row("b"), file_row("a")], separators=(",", ":")).encode(),
        json.dumps([file_row("a"), file_row("a")], separators=(",", ":")).encode(),
        json.dumps([file_row("a")]).encode(),
        json.dumps([[*file_row("a"), "more"]], separators=(",", ":")).encode(),
    ],
    ids=lambda data: data[:20],
)
def test_a_malformed_manifest_is_refused(
    workspace: Workspace, blobs: FolderBlobs, folder: Path, data: bytes
) -> None:
    with pytest.raises(WorkspaceUnsafe):
        workspace.restore(crafted(blobs, data))
    assert list(folder.iterdir()) == []


def test_a_manifest_may_not_write_through_a_link_it_makes(
    workspace: Workspace, blobs: FolderBlobs, folder: Path, outside: Path
) -> None:
    """The classic: a link out, and a file below the link's name."""
    inner = json.dumps([file_row("secret")], separators=(",", ":")).encode()
    blobs.put_many({digest_of(inner): inner})
    rows = [["d", "d", 0o755, digest_of(inner), 1, 4], ["d", "l", "../outside"]]
    with pytest.raises(WorkspaceUnsafe):
        workspace.restore(crafted(blobs, rows))


@pytest.mark.parametrize("kind", ["folder is a link", "parent is a link", "file is a link"])
def test_links_in_the_way_are_not_followed(
    workspace: Workspace, folder: Path, outside: Path, kind: str
) -> None:
    (folder / "d").mkdir()
    (folder / "d/secret").write_text("inside")
    manifest = workspace.snapshot()
    (folder / "d/secret").unlink()
    if kind == "file is a link":
        (folder / "d/secret").symlink_to(outside / "secret")
    else:
        (folder / "d").rmdir()
        (folder / "d").symlink_to(outside)
    if kind == "folder is a link":
        workspace = Workspace(folder, blobs=workspace.blobs)
    workspace.restore(manifest)
    assert not (folder / "d").is_symlink()
    assert (folder / "d/secret").read_text() == "inside"


def test_the_folder_itself_may_not_be_a_link(
    tmp_path: Path, blobs: FolderBlobs, outside: Path
) -> None:
    (tmp_path / "linked").symlink_to(outside)
    workspace = Workspace(tmp_path / "linked", blobs=blobs)
    for act in (workspace.snapshot, lambda: workspace.restore(crafted(blobs, [file_row("x")]))):
        with pytest.raises(WorkspaceUnsafe):
            act()


def test_a_hard_link_is_not_written_through(
    workspace: Workspace, folder: Path, outside: Path
) -> None:
    (folder / "a").write_text("inside")
    manifest = workspace.snapshot()
    (folder / "a").unlink()
    os.link(outside / "secret", folder / "a")
    workspace.restore(manifest)
    assert (folder / "a").read_text() == "inside"
    assert (outside / "secret").stat().st_nlink in {1, 2}


def test_a_manifest_cannot_write_into_a_repository(
    workspace: Workspace, blobs: FolderBlobs, folder: Path
) -> None:
    hook = json.dumps([file_row("pre-commit", 0o755)], separators=(",", ":")).encode()
    blobs.put_many({digest_of(hook): hook})
    root = crafted(blobs, [[".git", "d", 0o755, digest_of(hook), 1, 4]])
    with pytest.raises(WorkspaceUnsafe, match=r"\.git"):
        workspace.restore(root)
    assert list(folder.iterdir()) == []


def test_a_missing_blob_is_named_and_nothing_is_lost(
    workspace: Workspace, blobs: FolderBlobs, folder: Path
) -> None:
    (folder / "a").write_text("one")
    manifest = workspace.snapshot()
    (folder / "a").write_text("two")
    workspace.snapshot()
    blobs.delete_many([digest_of(b"one")])
    with pytest.raises(BlobMissing):
        workspace.restore(manifest)
    assert (folder / "a").read_text() == "two"


def test_a_changed_blob_is_refused(workspace: Workspace, blobs: FolderBlobs, folder: Path) -> None:
    (folder / "a").write_text("one")
    manifest = workspace.snapshot()
    (folder / "a").write_text("two")
    workspace.snapshot()
    path = blobs._path(digest_of(b"one"))
    path.write_bytes(path.read_bytes()[:-3] + b"eno")
    with pytest.raises(BlobCorrupt):
        workspace.restore(manifest)
    assert (folder / "a").read_text() == "two"


def test_a_size_that_lies_is_refused(
    workspace: Workspace, blobs: FolderBlobs, folder: Path
) -> None:
    with pytest.raises(WorkspaceUnsafe, match="does not fit"):
        workspace.restore(crafted(blobs, [file_row("x", size=3)]))
    assert list(folder.iterdir()) == []
    with pytest.raises(WorkspaceUnsafe, match="block list"):
        workspace.restore(crafted(blobs, [file_row("x", size=LARGE + 1)]))
    with pytest.raises(WorkspaceUnsafe, match="block list"):
        workspace.restore(crafted(blobs, [["x", "b", 0o644, LARGE, CONTENT]]))


def test_a_manifest_beyond_the_quota_is_refused_before_it_is_fetched(
    workspace: Workspace, blobs: FolderBlobs, folder: Path
) -> None:
    with pytest.raises(WorkspaceQuota):
        workspace.restore(crafted(blobs, [file_row("x", size=1 << 50)]))
    assert list(folder.iterdir()) == []


def test_a_bottomless_manifest_is_refused(
    workspace: Workspace, blobs: FolderBlobs, folder: Path
) -> None:
    digest = EMPTY_TREE
    for _ in range(80):
        data = json.dumps([["d", "d", 0o755, digest, 0, 0]], separators=(",", ":")).encode()
        blobs.put_many({digest_of(data): data, EMPTY_TREE: b"[]"})
        digest = digest_of(data)
    with pytest.raises(WorkspaceUnsafe, match="too deep"):
        workspace.restore(digest)


def test_what_is_no_digest_is_refused(workspace: Workspace) -> None:
    for digest in ("", "x", "../../etc/passwd", CONTENT.upper()):
        with pytest.raises(PlumbError):
            workspace.restore(digest)


def test_a_step_that_is_none_is_refused() -> None:
    for data in (b"{}", b'{"root":"x","parents":[]}', b'{"root":7}', b"null"):
        with pytest.raises(WorkspaceUnsafe):
            decode_step(data)
    with pytest.raises(WorkspaceUnsafe):
        decode_blocks(b"x" * 31, File(0o644, BLOCK, CONTENT))
    assert decode_tree(b"[]") == {}
