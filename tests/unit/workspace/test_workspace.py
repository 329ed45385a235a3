"""Snapshot, restore and diff of one folder."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbgraph.content import FolderBlobs, PostgresBlobs
from plumbgraph.errors import SettingsError, ThreadBusy, WorkspaceUnsafe
from plumbgraph.workspace import Quota, Workspace

Look = Callable[[Path], object]


def fill(folder: Path) -> None:
    (folder / "a.txt").write_text("alpha")
    (folder / "sub/deep").mkdir(parents=True)
    (folder / "sub/deep/b.bin").write_bytes(os.urandom(5000))
    (folder / "sub/run.sh").write_text("#!/bin/sh\n")
    (folder / "sub/run.sh").chmod(0o750)
    (folder / "empty").mkdir()
    (folder / "nothing").touch()
    (folder / "sub/link").symlink_to("../a.txt")
    (folder / "dangling").symlink_to("not-there")


def test_a_new_folder_gets_everything(
    workspace: Workspace, folder: Path, tmp_path: Path, look: Look
) -> None:
    fill(folder)
    manifest = workspace.snapshot()
    other = Workspace(tmp_path / "other", blobs=workspace.blobs)
    done = other.restore(manifest.digest)
    assert look(tmp_path / "other") == look(folder)
    assert (done.written, done.removed, done.aside) == (6, 0, ())
    assert done.manifest.digest == manifest.digest
    assert (manifest.files, manifest.left) == (6, ())


async def test_the_async_twins_do_the_same(
    workspace: Workspace, folder: Path, tmp_path: Path, look: Look
) -> None:
    await asyncio.to_thread(fill, folder)
    manifest = await workspace.asnapshot()
    other = Workspace(tmp_path / "other", blobs=workspace.blobs)
    await other.arestore(manifest)
    facts = [await asyncio.to_thread(look, path) for path in (tmp_path / "other", folder)]
    assert facts[0] == facts[1]
    assert (await other.astatus()).digest == manifest.digest
    assert await other.aread(manifest, "a.txt") == b"alpha"
    assert "sub/deep/b.bin" in await other.aentries(manifest)
    assert await other.adiff(manifest, manifest) == []


def test_equal_folders_have_equal_digests(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    fill(folder)
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    copy = Workspace(tmp_path / "copy", blobs=workspace.blobs)
    assert copy.snapshot().digest == workspace.snapshot().digest


def test_only_what_differs_is_written(workspace: Workspace, folder: Path, look: Look) -> None:
    fill(folder)
    first = workspace.snapshot()
    before, kept = look(folder), (folder / "sub/run.sh").stat().st_ino
    (folder / "a.txt").write_text("other")
    (folder / "sub/deep/new").write_text("new")
    (folder / "nothing").unlink()
    second = workspace.snapshot()
    after = look(folder)
    done = workspace.restore(first)
    assert look(folder) == before
    assert (done.written, done.removed, done.aside) == (2, 1, ())
    assert (folder / "sub/run.sh").stat().st_ino == kept
    workspace.restore(second)
    assert look(folder) == after


def test_restoring_what_is_there_does_nothing(workspace: Workspace, folder: Path) -> None:
    fill(folder)
    done = workspace.restore(workspace.snapshot())
    assert (done.written, done.removed) == (0, 0)


@pytest.mark.parametrize("change", ["file>dir", "dir>file", "file>link", "link>file", "dir>link"])
def test_kinds_change_into_each_other(
    workspace: Workspace, folder: Path, look: Look, change: str
) -> None:
    def make(kind: str) -> None:
        path = folder / "x"
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if kind == "file":
            path.write_text("file")
        elif kind == "dir":
            path.mkdir()
            (path / "inner").write_text("inner")
        else:
            path.symlink_to("target")

    first, _, second = change.partition(">")
    make(first)
    one, before = workspace.snapshot(), look(folder)
    make(second)
    two, after = workspace.snapshot(), look(folder)
    for manifest, facts in ((one, before), (two, after), (one, before)):
        assert workspace.restore(manifest).aside == ()
        assert look(folder) == facts


def test_modes_come_back(workspace: Workspace, folder: Path, look: Look) -> None:
    fill(folder)
    (folder / "sub").chmod(0o555)
    (folder / "a.txt").chmod(0o400)
    manifest, before = workspace.snapshot(), look(folder)
    (folder / "sub").chmod(0o755)
    (folder / "sub/deep/b.bin").write_text("changed")
    (folder / "a.txt").chmod(0o666)
    workspace.snapshot()
    workspace.restore(manifest)
    assert look(folder) == before
    (folder / "sub").chmod(0o755)


def test_a_change_that_keeps_size_and_times_is_seen(workspace: Workspace, folder: Path) -> None:
    path = folder / "a.txt"
    path.write_text("one")
    status = path.stat()
    first = workspace.snapshot()
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert workspace.snapshot().digest != first.digest


def test_many_quick_rewrites_are_all_seen(workspace: Workspace, folder: Path) -> None:
    path = folder / "counter"
    digests = set()
    for number in range(40):
        path.write_text(f"{number:03}")
        digests.add(workspace.snapshot().digest)
    assert len(digests) == 40


def test_diff_names_what_changed(workspace: Workspace, folder: Path) -> None:
    fill(folder)
    first = workspace.snapshot()
    (folder / "a.txt").write_text("other")
    (folder / "sub/run.sh").chmod(0o700)
    (folder / "new").mkdir()
    (folder / "new/file").touch()
    shutil.rmtree(folder / "sub/deep")
    (folder / "dangling").unlink()
    (folder / "dangling").write_text("now a file")
    changes = {change.path: change.kind for change in workspace.diff(first, workspace.snapshot())}
    assert changes == {
        "a.txt": "modified",
        "dangling": "type",
        "new": "added",
        "new/file": "added",
        "sub/deep": "removed",
        "sub/deep/b.bin": "removed",
        "sub/run.sh": "mode",
    }


def test_files_can_be_read_at_any_digest(workspace: Workspace, folder: Path) -> None:
    fill(folder)
    first = workspace.snapshot()
    (folder / "a.txt").write_text("other")
    second = workspace.snapshot()
    assert workspace.read(first, "a.txt") == b"alpha"
    assert workspace.read(second.digest, "a.txt") == b"other"
    with workspace.open(first, "a.txt") as file:
        assert file.read(2) + file.read() == b"alpha"
    for path in ("gone", "sub", "a.txt/below", "dangling"):
        with pytest.raises(FileNotFoundError):
            workspace.open(first, path)
        with pytest.raises(FileNotFoundError):
            workspace.read(first, path)
    for path in ("/etc/passwd", "../x", ""):
        with pytest.raises(WorkspaceUnsafe):
            workspace.read(first, path)


def test_what_is_excluded_is_named_and_left_alone(workspace: Workspace, folder: Path) -> None:
    fill(folder)
    (folder / ".env").write_text("SECRET=1")
    (folder / "sub/__pycache__").mkdir()
    (folder / "sub/__pycache__/x.pyc").touch()
    (folder / "key.pem").touch()
    manifest = workspace.snapshot()
    assert [str(left) for left in manifest.left] == [
        ".env (secret)",
        "key.pem (secret)",
        "sub/__pycache__ (cache)",
    ]
    assert not set(workspace.entries(manifest)) & {".env", "key.pem", "sub/__pycache__"}
    (folder / "a.txt").write_text("x")
    workspace.restore(manifest)
    assert (folder / ".env").read_text() == "SECRET=1"
    assert workspace.snapshot() == manifest


def test_rules_can_be_added_and_taken_back(folder: Path, blobs: FolderBlobs) -> None:
    for name in (".env", "big.iso", "notes.txt"):
        (folder / name).touch()
    workspace = Workspace(folder, blobs=blobs, exclude=["!.env", "*.iso"])
    assert set(workspace.entries(workspace.snapshot())) == {".env", "notes.txt"}
    plain = Workspace(folder, blobs=blobs, default_excludes=False)
    assert set(plain.entries(plain.snapshot())) == {".env", "big.iso", "notes.txt"}


def test_a_folder_of_which_nothing_is_kept_survives(workspace: Workspace, folder: Path) -> None:
    first = workspace.snapshot()
    (folder / "pkg/__pycache__").mkdir(parents=True)
    (folder / "pkg/__pycache__/a.pyc").touch()
    (folder / "pkg/a.py").touch()
    second = workspace.snapshot()
    workspace.restore(first)
    assert not (folder / "pkg/a.py").exists()
    assert (folder / "pkg/__pycache__/a.pyc").exists()
    assert workspace.snapshot().digest == first.digest
    workspace.restore(second)
    assert (folder / "pkg/a.py").exists()


def test_a_file_nobody_recorded_is_moved_aside(workspace: Workspace, folder: Path) -> None:
    fill(folder)
    first = workspace.snapshot()
    (folder / "a.txt").write_text("half written")
    (folder / "sub/mine.txt").write_text("mine")
    (folder / "sub/mylink").symlink_to("mine.txt")
    done = workspace.restore(first)
    assert sorted(done.aside) == ["a.txt", "sub/mine.txt", "sub/mylink"]
    assert done.aside_folder is not None
    aside = Path(done.aside_folder)
    assert (aside / "a.txt").read_text() == "half written"
    assert (aside / "sub/mine.txt").read_text() == "mine"
    assert (folder / "a.txt").read_text() == "alpha"


def test_a_file_another_manifest_knows_is_not_kept_aside(
    workspace: Workspace, folder: Path, blobs: FolderBlobs
) -> None:
    (folder / "a.txt").write_text("one")
    first = workspace.snapshot()
    (folder / "a.txt").write_text("two")
    (folder / "b.txt").write_text("b")
    workspace.snapshot()
    fresh = Workspace(folder, blobs=blobs)
    assert fresh.restore(first).aside == ()
    (folder / "b.txt").write_text("one")
    done = Workspace(folder, blobs=blobs).restore(first)
    assert done.aside == ("b.txt",), "known content, but at another path"


def test_quotas(folder: Path, blobs: FolderBlobs) -> None:
    from plumbgraph.errors import WorkspaceQuota

    for number in range(5):
        (folder / str(number)).write_bytes(bytes(100))
    for quota in (Quota(files=4), Quota(size=499)):
        with pytest.raises(WorkspaceQuota, match="exceeds"):
            Workspace(folder, blobs=blobs, quota=quota).snapshot()
    workspace = Workspace(folder, blobs=blobs, quota=Quota(files=5, size=500))
    manifest = workspace.snapshot()
    assert workspace.snapshot() == manifest
    (folder / "more").touch()
    with pytest.raises(WorkspaceQuota):
        workspace.snapshot()
    with pytest.raises(WorkspaceQuota, match="beyond the quota"):
        Workspace(folder.parent / "o", blobs=blobs, quota=Quota(files=3)).restore(manifest)


def test_each_thread_can_have_a_folder(tmp_path: Path, blobs: FolderBlobs) -> None:
    workspace = Workspace(tmp_path / "{thread_id}/files", blobs=blobs)
    one, two = workspace.of_thread("one"), workspace.of_thread("../../two")
    assert one.folder == tmp_path / "one/files"
    assert one is workspace.of_thread("one")
    assert tmp_path in two.folder.parents
    assert ".." not in two.folder.parts
    with pytest.raises(SettingsError):
        workspace.of_thread(None)
    plain = Workspace(tmp_path / "w", blobs=blobs)
    assert plain.of_thread(None) is plain


def test_one_user_at_a_time(folder: Path, blobs: FolderBlobs) -> None:
    workspace = Workspace(folder, blobs=blobs, wait_s=0.1)
    with workspace.lock.held(1), pytest.raises(ThreadBusy):
        workspace.snapshot()
    workspace.snapshot()


def test_paths_inside(workspace: Workspace, folder: Path) -> None:
    (folder / "out").symlink_to("/etc")
    assert workspace.path("a/b.txt") == folder / "a/b.txt"
    assert workspace.path() == folder
    for name in ("../x", "/etc/passwd", "out/passwd", "a/../../x"):
        with pytest.raises(WorkspaceUnsafe):
            workspace.path(name)


def test_the_file_systems_root_is_refused(blobs: FolderBlobs) -> None:
    with pytest.raises(SettingsError):
        Workspace("/", blobs=blobs)


def test_outside_a_node_there_is_no_current_workspace(workspace: Workspace) -> None:
    with pytest.raises(SettingsError, match="No workspace"):
        Workspace.current()
    with workspace.as_current():
        assert Workspace.current() is workspace


def test_a_snapshot_is_committed_in_postgres(
    folder: Path, postgres_url: str, schema: str, tmp_path: Path, look: Look
) -> None:
    from plumbgraph.postgres.pool import Database

    fill(folder)
    with Database(postgres_url, schema=schema) as database:
        manifest = Workspace(folder, blobs=PostgresBlobs(database)).snapshot()
    with Database(postgres_url, schema=schema) as database:
        Workspace(tmp_path / "o", blobs=PostgresBlobs(database)).restore(manifest.digest)
    assert look(tmp_path / "o") == look(folder)


def test_an_unchanged_folder_asks_the_store_nothing(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    fill(folder)
    time.sleep(0.05)
    manifest = workspace.snapshot()
    time.sleep(0.05)
    workspace.snapshot()
    monkeypatch.setattr(workspace, "blobs", None)
    assert workspace.snapshot() == manifest
    assert workspace.restore(manifest).written == 0
