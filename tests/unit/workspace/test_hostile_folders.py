"""Folders as agents leave them: refused, or handled with a typed error."""

from __future__ import annotations

import os
import resource
import signal
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

from plumbgraph.content import FolderBlobs
from plumbgraph.errors import (
    WorkspaceChanging,
    WorkspaceQuota,
    WorkspaceUnsafe,
    WorkspaceUnwritable,
)
from plumbgraph.workspace import Quota, Workspace


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


def test_a_bottomless_folder_is_refused(workspace: Workspace, folder: Path) -> None:
    (folder / "/".join("d" * 70)).mkdir(parents=True)
    with pytest.raises(WorkspaceUnsafe, match="too deep"):
        workspace.snapshot()


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


def test_hard_links_become_files_of_their_own(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    (folder / "one").write_text("shared")
    os.link(folder / "one", folder / "two")
    manifest = workspace.snapshot()
    other = Workspace(tmp_path / "o", blobs=workspace.blobs)
    other.restore(manifest)
    assert (tmp_path / "o/one").stat().st_ino != (tmp_path / "o/two").stat().st_ino
    time.sleep(0.05)
    assert workspace.snapshot() == manifest
    with (folder / "one").open("a") as file:
        file.write(", changed through one name")
    changed = workspace.snapshot()
    assert workspace.read(changed, "two") == b"shared, changed through one name"
    workspace.restore(manifest)
    assert [(folder / name).read_text() for name in ("one", "two")] == ["shared", "shared"]


def in_a_child(act: Callable[[], None]) -> int:
    """The exit code of a process that runs `act`: 0 when it returns."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_disk_without_room_in_the_midst_of_a_file(workspace: Workspace, folder: Path) -> None:
    """A real limit of the kernel: the write of a large file is cut short half-way."""
    (folder / "small").write_text("small")
    (folder / "large").write_bytes(os.urandom(400_000))
    manifest = workspace.snapshot()
    (folder / "large").write_text("old")
    workspace.snapshot()

    def restore() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(WorkspaceQuota, match="No room"):
            workspace.restore(manifest)

    assert in_a_child(restore) == 0
    assert (folder / "large").read_text() == "old", "never half of a file"
    workspace.restore(manifest)
    assert (folder / "large").stat().st_size == 400_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody without rights")
def test_a_read_only_folder_can_be_recorded_but_not_restored() -> None:
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o777)
        folder, blobs = Path(base) / "work", FolderBlobs(Path(base) / "blobs")
        folder.mkdir()
        (folder / "a").write_text("old")
        old = Workspace(folder, blobs=blobs, side=Path(base) / "s").snapshot()
        (folder / "a").write_text("new")
        Workspace(folder, blobs=blobs, side=Path(base) / "s").snapshot()
        for path in [folder, *folder.iterdir()]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        for path in [blobs.root, *blobs.root.rglob("*")]:
            os.chown(path, 65534, 65534)

        def act() -> None:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            visitor = Workspace(folder, blobs=blobs, side=Path(base) / "side")
            assert visitor.read(visitor.snapshot(), "a") == b"new"
            with pytest.raises(WorkspaceUnwritable, match="cannot be read or changed"):
                visitor.restore(old)

        assert in_a_child(act) == 0
        assert (folder / "a").read_text() == "new"


def test_folder_times_that_do_not_move_are_not_trusted(
    folder: Path, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some mounts keep a folder's times when a name is added: then every name is listed."""
    monkeypatch.setattr("plumbgraph.workspace.files._stirs", lambda *_: False)
    workspace = Workspace(folder, blobs=blobs)
    (folder / "a").write_text("a")
    time.sleep(0.05)
    first = workspace.snapshot()
    assert workspace.snapshot() == first
    status = folder.stat()
    (folder / "b").write_text("b")
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert workspace.snapshot().files == 2


def test_folder_times_are_looked_at_where_they_move(folder: Path) -> None:
    from plumbgraph.workspace.files import listings_show_in_times

    assert listings_show_in_times(str(folder))
    assert list(folder.iterdir()) == []
