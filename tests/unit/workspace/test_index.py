"""What is kept of a folder beside it: believed by a new process, but not after a power cut."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.content import FolderBlobs
from plumbgraph.workspace import Manifest, Workspace, files
from plumbgraph.workspace import index as indexing

SETTLE_S = 0.05


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, in order."""
    found: list[str] = []
    really = files.read_steady

    def noted(parent: int, name: str, path: str, block: int) -> Any:
        found.append(path)
        return really(parent, name, path, block)

    monkeypatch.setattr(files, "read_steady", noted)
    return found


@pytest.fixture
def settled(workspace: Workspace, folder: Path) -> Manifest:
    """A folder that is recorded, and old enough to be trusted."""
    for name in ("a", "b", "sub/c", "sub/deep/d", "sub/n\udcff"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("content")
    (folder / "large").write_bytes(os.urandom(200_000))
    (folder / "link").symlink_to("a")
    (folder / ".env").write_text("secret")
    time.sleep(SETTLE_S)
    return workspace.snapshot()


def index_of(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.plumbgraph" / "index"


def another(folder: Path, blobs: FolderBlobs, **options: Any) -> Workspace:
    """The workspace as a new process has it."""
    return Workspace(folder, blobs=blobs, **options)


def test_a_new_process_reads_what_changed(
    folder: Path, blobs: FolderBlobs, settled: Manifest, read: list[str]
) -> None:
    (folder / "sub/c").write_text("other")
    (folder / "large").write_bytes(b"short")
    read.clear()
    done = another(folder, blobs).restore(settled)
    assert done.written == 2
    assert sorted(read) == ["large", "sub/c"]
    assert (folder / "sub/c").read_text() == "content"
    assert done.manifest == settled


def test_what_it_knows_is_what_there_is(
    folder: Path, blobs: FolderBlobs, settled: Manifest
) -> None:
    status = another(folder, blobs).status()
    assert status == settled == another(folder, blobs, index=False).status()
    assert [str(left) for left in status.left] == [".env (secret)"]


def forge(folder: Path, name: str) -> None:
    """Tear a file, and make its index say what it would say had the file its old times."""
    (folder / name).write_bytes(bytes(7))
    index = indexing.Index(index_of(folder), Workspace(folder, blobs=None)._rules.name())  # type: ignore[arg-type]
    seen = index.load()
    assert seen is not None
    seen.keys[name] = files.key_of((folder / name).lstat())
    index._replace(seen)


def test_a_file_that_a_power_cut_tore_is_read_again(
    folder: Path, blobs: FolderBlobs, settled: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge(folder, "a")
    assert another(folder, blobs).status() == settled, "within one boot times are believed"
    monkeypatch.setattr(indexing, "boot", lambda: "another")
    assert another(folder, blobs).restore(settled).written == 1
    assert (folder / "a").read_text() == "content"


@pytest.mark.parametrize("boot", ["", "another"])
def test_without_the_same_boot_everything_is_read(
    folder: Path, blobs: FolderBlobs, settled: Manifest, read: list[str],
    monkeypatch: pytest.MonkeyPatch, boot: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(indexing, "boot", lambda: boot)
    assert another(folder, blobs).status() == settled
    assert len(read) == 6


def test_the_boot_has_a_name() -> None:
    assert indexing.boot() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_other_rules_do_not_believe_it(
    folder: Path, blobs: FolderBlobs, settled: Manifest, read: list[str]
) -> None:
    assert another(folder, blobs, exclude=["sub/"]).status().files == settled.files - 3
    assert len(read) == 3


def damaged(data: bytes) -> dict[str, bytes]:
    half = len(data) // 2
    return {
        "empty": b"",
        "cut short": data[:half],
        "without its end": data[:-2],
        "a flipped bit": data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
        "a half line after it": data + data[:half],
        "another's lines": b"hello\nworld\n",
        "not text": os.urandom(1000),
    }


@pytest.mark.parametrize("kind", damaged(b"xyz"))
def test_a_damaged_one_is_none(
    folder: Path, blobs: FolderBlobs, settled: Manifest, read: list[str], kind: str
) -> None:
    path = index_of(folder)
    path.write_bytes(damaged(path.read_bytes())[kind])
    assert another(folder, blobs).restore(settled).written == 0
    assert len(read) == 6
    read.clear()
    assert another(folder, blobs).restore(settled).written == 0
    assert read == [], "and it was written anew"


def told(folder: Path, change: Any) -> None:
    """An index whose sum is right, and whose content is not."""
    index = indexing.Index(index_of(folder), Workspace(folder, blobs=None)._rules.name())  # type: ignore[arg-type]
    folders = index._folders(index_of(folder).read_bytes())
    change(folders)
    index_of(folder).write_bytes(index._line(folders))


@pytest.mark.parametrize(
    "change",
    [
        lambda folders: folders.pop(""),
        lambda folders: folders.pop("sub/deep"),
        lambda folders: folders.update({"": 7}),
        lambda folders: folders[""].pop(),
        lambda folders: folders["sub"][2][0][0].__setitem__(0, "../../etc/passwd"),
        lambda folders: folders["sub"][2][0].__setitem__(1, [1, 2]),
        lambda folders: folders["sub"][2][0].__setitem__(1, [1, 2, 3, "4"]),
        lambda folders: folders["sub"][2][0][0].__setitem__(4, "no digest"),
        lambda folders: folders["sub/deep"].__setitem__(5, "0" * 64),
        lambda folders: folders[""].__setitem__(3, {"..": "0" * 64}),
    ],
)
def test_a_nonsensical_one_is_none(
    folder: Path, blobs: FolderBlobs, settled: Manifest, read: list[str], change: Any
) -> None:
    told(folder, change)
    assert another(folder, blobs).restore(settled).written == 0
    assert len(read) == 6


def test_it_grows_with_what_changes_and_is_made_anew(
    workspace: Workspace, folder: Path, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "_LEAST", 1000)
    for number in range(60):
        (folder / f"d{number % 7}").mkdir(exist_ok=True)
        (folder / f"d{number % 7}/f{number}").write_text(str(number))
        if number % 10 == 9:
            (folder / f"d{number % 7}/f{number}").rename(folder / f"moved{number}")
        manifest = workspace.snapshot()
        index = indexing.Index(index_of(folder), workspace._rules.name())
        seen = index.load()
        assert seen is not None
        assert seen.digest == manifest.digest
        assert (seen.files, seen.size) == (manifest.files, manifest.size)
    assert index_of(folder).stat().st_size < 3 * index._whole + 1000
    assert another(folder, blobs).status() == manifest


def test_processes_that_take_turns(folder: Path, blobs: FolderBlobs, settled: Manifest) -> None:
    one, other = another(folder, blobs), another(folder, blobs)
    for number in range(6):
        (folder / f"sub/f{number}").write_text(str(number))
        by = one if number % 2 else other
        assert by.snapshot() == another(folder, blobs).status()
    one.restore(settled)
    assert other.status() == another(folder, blobs).status() == settled


def test_it_can_be_left_out(folder: Path, blobs: FolderBlobs) -> None:
    (folder / "a").write_text("a")
    another(folder, blobs, index=False).snapshot()
    assert not index_of(folder).exists()


def test_without_room_for_it_nothing_is_lost(
    workspace: Workspace, folder: Path, settled: Manifest
) -> None:
    index_of(folder).unlink()
    index_of(folder).mkdir()
    (folder / "a").write_text("changed")
    assert workspace.snapshot().digest != settled.digest
    assert workspace.restore(settled).written == 1
