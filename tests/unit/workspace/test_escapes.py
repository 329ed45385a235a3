"""Everything that must not enter or leave a workspace: refused, or handled with a typed error."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.content import FolderBlobs, digest_of
from plumbgraph.errors import (
    BlobCorrupt,
    BlobMissing,
    PlumbError,
    WorkspaceChanging,
    WorkspaceQuota,
    WorkspaceUnsafe,
    WorkspaceUnwritable,
)
from plumbgraph.workspace import Quota, Workspace
from plumbgraph.workspace.tree import decode_blocks, decode_step, decode_tree
from plumbgraph.workspace.values import BLOCK, LARGE, File

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


def test_links_to_the_outside_are_left_out_and_named(
    workspace: Workspace, folder: Path, outside: Path
) -> None:
    (folder / "abs").symlink_to(outside / "secret")
    (folder / "up").symlink_to("../outside")
    (folder / "self").symlink_to("self")
    (folder / "loop").mkdir()
    (folder / "loop/back").symlink_to("..")
    (folder / "loop/out").symlink_to("../../outside")
    manifest = workspace.snapshot()
    assert [left.path for left in manifest.left] == ["abs", "up", "loop/out"]
    assert set(workspace.entries(manifest)) == {"loop", "loop/back", "self"}


def test_special_files_are_left_out_and_named(workspace: Workspace, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(folder)
        server.bind("socket")
        (folder / "file").write_text("kept")
        manifest = workspace.snapshot()
    assert {str(left) for left in manifest.left} == {"pipe (named pipe)", "socket (socket)"}
    workspace.restore(manifest)
    assert stat.S_ISFIFO((folder / "pipe").lstat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make device files")
def test_devices_are_left_out(workspace: Workspace, folder: Path) -> None:
    try:
        os.mknod(folder / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this container may not make device files")
    assert [str(left) for left in workspace.snapshot().left] == ["null (device)"]


def test_setuid_bits_do_not_survive(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    (folder / "tool").write_text("x")
    (folder / "tool").chmod(0o6755)
    (folder / "dir").mkdir()
    (folder / "dir").chmod(0o3755)
    manifest = workspace.snapshot()
    other = Workspace(tmp_path / "o", blobs=workspace.blobs)
    other.restore(manifest)
    assert stat.S_IMODE((tmp_path / "o/tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "o/dir").stat().st_mode) == 0o755


def test_a_repository_is_never_touched(workspace: Workspace, folder: Path) -> None:
    first = workspace.snapshot()
    for place in (folder / ".git", folder / "sub/.git"):
        place.mkdir(parents=True)
        (place / "HEAD").write_text("ref: refs/heads/main")
    (folder / "worktree").mkdir()
    (folder / "worktree/.git").write_text("gitdir: elsewhere")
    (folder / "a").write_text("a")
    manifest = workspace.snapshot()
    assert set(workspace.entries(manifest)) == {"a"}
    workspace.restore(first)
    assert (folder / ".git/HEAD").exists()
    assert (folder / "sub/.git/HEAD").exists()
    assert (folder / "worktree/.git").exists()
    insists = Workspace(folder, blobs=workspace.blobs, exclude=["!.git", "!.git/"])
    assert not [path for path in insists.entries(insists.snapshot()) if ".git" in path]


def test_a_manifest_cannot_write_into_a_repository(
    workspace: Workspace, blobs: FolderBlobs, folder: Path
) -> None:
    hook = json.dumps([file_row("pre-commit", 0o755)], separators=(",", ":")).encode()
    blobs.put_many({digest_of(hook): hook})
    root = crafted(blobs, [[".git", "d", 0o755, digest_of(hook), 1, 4]])
    with pytest.raises(WorkspaceUnsafe, match=r"\.git"):
        workspace.restore(root)
    assert list(folder.iterdir()) == []


def test_names_that_are_not_utf8_survive(
    workspace: Workspace, folder: Path, tmp_path: Path, look: Callable[[Path], Any]
) -> None:
    (folder / os.fsdecode(b"caf\xe9\xff\n")).write_bytes(b"latin")
    manifest = workspace.snapshot()
    other = Workspace(tmp_path / "o", blobs=workspace.blobs)
    other.restore(manifest)
    assert [os.fsencode(p.name) for p in (tmp_path / "o").iterdir()] == [b"caf\xe9\xff\n"]
    (folder / os.fsdecode(b"caf\xe9\xff\n")).write_bytes(b"unknown")
    assert len(workspace.restore(manifest).aside) == 1


def test_names_that_collide_elsewhere(
    folder: Path, blobs: FolderBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "Readme").write_text("1")
    (folder / "README").write_text("2")
    with pytest.raises(WorkspaceUnsafe, match="one name elsewhere"):
        Workspace(folder, blobs=blobs, portable=True).snapshot()
    manifest = Workspace(folder, blobs=blobs).snapshot()
    assert manifest.files == 2
    monkeypatch.setattr("plumbgraph.workspace.checkout.ignores_case", lambda _: True)
    with pytest.raises(WorkspaceUnsafe, match="one name on this file system"):
        Workspace(tmp_path / "o", blobs=blobs).restore(manifest)


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


def test_a_bottomless_folder_is_refused(workspace: Workspace, folder: Path) -> None:
    (folder / "/".join("d" * 70)).mkdir(parents=True)
    with pytest.raises(WorkspaceUnsafe, match="too deep"):
        workspace.snapshot()


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


def test_a_file_that_keeps_changing_is_named(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "log"
    path.write_text("x")
    real = os.read

    def read(handle: int, size: int) -> bytes:
        with path.open("a") as file:
            file.write("more")
        return real(handle, size)

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(WorkspaceChanging, match="log"):
        workspace.snapshot()


def test_a_busy_writer_does_not_corrupt_a_snapshot(workspace: Workspace, folder: Path) -> None:
    path, stop = folder / "data", threading.Event()
    path.write_bytes(b"a" * 100_000)

    def write() -> None:
        for letter in b"bcdefgh" * 1000:
            if stop.is_set():
                return
            scratch = folder / "scratch.tmp"
            scratch.write_bytes(bytes([letter]) * 100_000)
            scratch.rename(path)
            time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            content = workspace.read(workspace.snapshot(), "data")
            assert len(set(content)) == 1
            assert len(content) == 100_000
    finally:
        stop.set()
        writer.join()


def full(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_named_and_the_next_restore_goes_on(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (folder / f"{number}").write_text(f"content {number}")
    manifest = workspace.snapshot()
    for number in range(5):
        (folder / f"{number}").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(WorkspaceQuota, match="No room"):
            workspace.restore(manifest)
    assert list((folder.parent / ".work.plumbgraph/spare").iterdir()) == []
    workspace.restore(manifest)
    assert len(list(folder.iterdir())) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="uses a process without rights")
def test_a_folder_without_rights_is_named() -> None:
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o777)
        without_rights(Path(base) / "work", FolderBlobs(Path(base) / "blobs"))


def without_rights(folder: Path, blobs: FolderBlobs) -> None:
    folder.mkdir()
    (folder / "a").write_text("a")
    manifest = Workspace(folder, blobs=blobs).snapshot()
    (folder / "a").write_text("b")
    (folder / "a").chmod(0)
    for path in blobs.root.rglob("*"):
        path.chmod(0o777 if path.is_dir() else 0o666)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            side = folder.parent / "side"
            side.mkdir()
            refusing = Workspace(folder, blobs=blobs, side=side)
            for act in (refusing.snapshot, lambda: refusing.restore(manifest)):
                try:
                    act()
                except WorkspaceUnwritable:
                    code = 0
                else:
                    code = 2
                    break
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_quota_counts_before_it_reads(folder: Path, blobs: FolderBlobs) -> None:
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    begun = time.monotonic()
    with pytest.raises(WorkspaceQuota):
        Workspace(folder, blobs=blobs, quota=Quota()).snapshot()
    assert time.monotonic() - begun < 30
