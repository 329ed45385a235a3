from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plumbgraph import servers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_given_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_URL", "REDIS_URL", "HOME"):
        monkeypatch.delenv(f"PLUMBGRAPH_{name}", raising=False)


@pytest.fixture
def home() -> Iterator[Path]:
    """A short home that others may not enter; its servers are stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pgr-"))
    yield folder / "h"
    servers.down(folder / "h")
    pointer = folder / "h" / "servers" / "place"
    if pointer.exists():
        shutil.rmtree(pointer.read_text().strip())
    shutil.rmtree(folder)


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A home in a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="pgr-"))
    folder.chmod(0o755)
    yield folder / "h"
    servers.down(folder / "h")
    shutil.rmtree(folder)


@pytest.fixture
def no_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which `unshare` is refused."""
    if os.geteuid() != 0:
        pytest.skip("only root needs another user for PostgreSQL")
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "unshare").write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
    (shim / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim}{os.pathsep}{os.environ['PATH']}")
