"""The look at all known files in one go: sees what the long way sees, with statx and without."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbgraph.content import FolderBlobs
from plumbgraph.workspace import Manifest, Workspace, files
from plumbgraph.workspace import sweep as sweeping

SETTLE_S = 0.05


@pytest.fixture(params=["statx", "stat"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "stat":
        monkeypatch.setattr(sweeping, "_statx", lambda: None)
    elif sweeping._statx() is None:
        pytest.skip("this C library has no statx")
    return str(request.param)


@pytest.fixture
def swept(workspace: Workspace, folder: Path) -> Manifest:
    """A folder of which everything is known and old enough to be trusted."""
    for name in ("a/b/c/one", "a/b/two", "a/three", "d/four", "five", "d/n\udcff"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name.encode("utf-8", "replace").decode())
    (folder / "link").symlink_to("a/three")
    time.sleep(SETTLE_S)
    workspace.snapshot()
    return workspace.snapshot()


def set_back(path: Path) -> None:
    status = path.stat()
    path.write_text("other"[: status.st_size].ljust(status.st_size, "."))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def away(path: Path, to: Path) -> Path:
    path.rename(to)
    return path


def swap(one: Path, other: Path) -> None:
    away(one, one.parent / "spare")
    away(other, one)
    away(one.parent / "spare", other)


CHANGES: dict[str, Callable[[Path], object]] = {
    "same size and times": lambda f: set_back(f / "a/b/c/one"),
    "content at the top": lambda f: (f / "five").write_text("other"),
    "a new file": lambda f: (f / "a/b/new").write_text("x"),
    "a file gone": lambda f: (f / "d/four").unlink(),
    "a file renamed": lambda f: (f / "a/three").rename(f / "a/drei"),
    "rights of a file": lambda f: (f / "a/b/two").chmod(0o600),
    "rights of a folder": lambda f: (f / "a/b").chmod(0o700),
    "a folder gone to another place": lambda f: (f / "a/b").rename(f / "d/b"),
    "two folders changed places": lambda f: swap(f / "a", f / "d"),
    "a folder behind a link": lambda f: away(f / "a", f.parent / "a").symlink_to("../a"),
    "a link to elsewhere": lambda f: away(f / "link", f.parent / "x").symlink_to("five"),
    "a file became a folder": lambda f: away(f / "five", f.parent / "x").mkdir(),
    "an empty folder": lambda f: (f / "a/empty").mkdir(),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_every_change_is_seen(
    workspace: Workspace, folder: Path, blobs: FolderBlobs, swept: Manifest, way: str, kind: str
) -> None:
    assert workspace.snapshot() == swept
    CHANGES[kind](folder)
    found = workspace.snapshot()
    assert found.digest != swept.digest, way
    assert found == Workspace(folder, blobs=blobs, side=folder.parent / "fresh").snapshot()


@pytest.mark.usefixtures("swept", "way")
def test_what_did_not_change_is_not_read(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    really = files.open_folder

    def noted(name: str, parent: int | None = None) -> int:
        opened.append(name)
        return really(name, parent)

    monkeypatch.setattr(files, "open_folder", noted)
    workspace.snapshot()
    assert opened == [str(folder)]
    (folder / "a/b/two").write_text("changed")
    workspace.snapshot()
    assert opened == [str(folder), str(folder), "a", "b"]


@pytest.mark.usefixtures("way")
def test_more_files_than_one_look_takes(workspace: Workspace, folder: Path) -> None:
    for number in range(1100):
        (folder / f"f{number}").write_text(str(number))
    time.sleep(SETTLE_S)
    workspace.snapshot()
    before = workspace.snapshot()
    (folder / "f1050").write_text("x")
    after = workspace.snapshot()
    assert [change.path for change in workspace.diff(before, after)] == ["f1050"]
