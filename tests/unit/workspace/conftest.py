from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbgraph.content import FolderBlobs
from plumbgraph.workspace import Workspace

Facts = dict[str, tuple[str, int, str]]


def facts(folder: Path) -> Facts:
    """What is in a folder, found by means of this test's own."""
    found: Facts = {}
    for base, folders, names in os.walk(folder, followlinks=False):
        for name in [*folders, *names]:
            path = Path(base) / name
            key = str(path.relative_to(folder))
            mode = path.lstat().st_mode & 0o7777
            if path.is_symlink():
                found[key] = ("link", 0, str(path.readlink()))
            elif path.is_dir():
                found[key] = ("dir", mode, "")
            else:
                found[key] = ("file", mode, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def workspace(folder: Path, blobs: FolderBlobs) -> Workspace:
    return Workspace(folder, blobs=blobs)


@pytest.fixture
def look() -> Callable[[Path], Facts]:
    return facts
