from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plumbgraph.errors import ServerStartFailed, SettingsError
from plumbgraph.servers.home import (
    SOCKET_BYTES,
    Layout,
    filesystem,
    is_network,
    own_folder,
    prepare,
    size,
    socket_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.geteuid() == 0


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    point = tmp_path / "small"
    point.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", point], check=False, capture_output=True
    )
    if made.returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield point
    subprocess.run(["umount", point], check=True)


@pytest.mark.parametrize(
    ("line", "kind", "network"),
    [
        ("server:/x {0} nfs4 rw 0 0", "nfs4", True),
        ("//nas/x {0} cifs rw 0 0", "cifs", True),
        ("me@host: {0} fuse.sshfs rw 0 0", "fuse.sshfs", True),
        ("C: {0} 9p rw 0 0", "9p", True),
        ("/dev/sda {0} ext4 rw 0 0", "ext4", False),
        ("x {0} fuse.fuse-overlayfs rw 0 0", "fuse.fuse-overlayfs", False),
    ],
)
def test_file_systems_are_told_apart(tmp_path: Path, line: str, kind: str, network: bool) -> None:  # noqa: FBT001 - a table
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\n{line.format(tmp_path)}\n")
    assert filesystem(tmp_path / "deep" / "home", mounts=mounts) == kind
    assert is_network(kind) is network


def test_mount_points_with_spaces_and_later_mounts_count(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    escaped = str(tmp_path / "a b").replace(" ", "\\040")
    mounts.write_text(f"d / ext4 rw 0 0\nd {escaped} ext4 rw 0 0\ns {escaped} nfs rw 0 0\n")
    assert filesystem(tmp_path / "a b" / "c", mounts=mounts) == "nfs"
    assert filesystem(tmp_path, mounts=tmp_path / "none") is None


def test_a_home_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"d / ext4 rw 0 0\ns:/x {tmp_path} nfs4 rw 0 0\n")
    with pytest.raises(SettingsError, match="network file system") as caught:
        prepare(Layout(tmp_path / "h"), mounts=mounts)
    assert "PLUMBGRAPH_HOME" in caught.value.hint
    assert not (tmp_path / "h").exists()


def test_prepare_makes_private_folders_and_touches_nothing_above(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    prepare(Layout(tmp_path / "h"))
    assert (tmp_path / "h").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "h" / "servers").stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
def test_another_users_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    os.chown(tmp_path / "h", 12345, 12345)
    with pytest.raises(SettingsError, match="belongs to user id 12345"):
        prepare(Layout(tmp_path / "h"))
    assert list((tmp_path / "h").iterdir()) == []


def test_a_full_disk_is_named_before_anything_starts(mounted: Path) -> None:
    with pytest.raises(ServerStartFailed, match="MB free") as caught:
        prepare(Layout(mounted / "h"))
    assert "another disk" in caught.value.hint


def test_a_read_only_folder_is_named(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    with pytest.raises(ServerStartFailed, match="Read-only file system") as caught:
        prepare(Layout(mounted / "h"))
    assert "writable" in caught.value.hint


def test_a_home_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ServerStartFailed, match="Not a directory"):
        prepare(Layout(tmp_path / "file" / "h"))


def test_short_socket_paths_lie_beside_the_data() -> None:
    assert socket_folder(Path("/srv/h"), euid=7) == Path("/srv/h/sock")


@pytest.mark.parametrize("name", ["x" * 90, "a,b", 'quo"te', "que?ry", "a#b"])
def test_long_and_awkward_socket_paths_are_hashed(name: str) -> None:
    place = Path("/srv") / name
    found = socket_folder(place, euid=7)
    assert found.parent == Path("/tmp")
    assert found.name.startswith("plumbgraph-7-")
    assert len(os.fsencode(found / ".s.PGSQL.5432")) <= SOCKET_BYTES
    assert found == socket_folder(place, euid=7)
    assert found != socket_folder(place.with_name(f"{name}2"), euid=7)


def test_a_socket_folder_laid_by_someone_else_is_refused(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir(mode=0o755)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for trap in (loose, link):
        with pytest.raises(ServerStartFailed, match="not safely ours"):
            own_folder(trap, owners=(os.geteuid(),))
    ours = tmp_path / "ours"
    own_folder(ours, owners=(os.geteuid(),))
    own_folder(ours, owners=(os.geteuid(),))
    with pytest.raises(ServerStartFailed):
        own_folder(ours, owners=(os.geteuid() + 1,))


def test_size_counts_what_lies_on_disk(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10_000)
    assert 10_000 <= size(tmp_path) < 20_000
    assert size(tmp_path / "missing") == 0
