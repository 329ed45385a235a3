"""Recorded files as files to read from."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.workspace import Workspace
from plumbgraph.workspace.values import LARGE


def test_a_large_file_is_opened_without_fetching_it(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(3 * LARGE + 17)
    (folder / "big").write_bytes(content)
    manifest = workspace.snapshot()
    fetched: list[int] = []
    get_many = workspace.blobs.get_many

    def counted(digests: Any) -> dict[str, bytes]:
        found = get_many(digests)
        fetched.append(sum(map(len, found.values())))
        return found

    monkeypatch.setattr(workspace.blobs, "get_many", counted)
    with workspace.open(manifest, "big") as file:
        file.seek(-20, os.SEEK_END)
        assert file.read() == content[-20:]
        file.seek(LARGE - 5)
        assert file.read(10) == content[LARGE - 5 : LARGE + 5]
        assert sum(fetched) < LARGE
        file.seek(0)
        assert file.read() == content


async def test_a_file_is_opened_in_both_colours(workspace: Workspace, folder: Path) -> None:
    await asyncio.to_thread((folder / "a").write_text, "alpha")
    manifest = await workspace.asnapshot()
    assert (await workspace.aopen(manifest, "a")).read() == b"alpha"
    assert await workspace.adigest(manifest) == await workspace.adigest(manifest.digest)
