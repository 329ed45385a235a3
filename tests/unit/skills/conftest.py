"""Skill folders for the tests of skills."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

WriteSkill = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder of skills."""
    folder = tmp_path / "skills"
    folder.mkdir()
    return folder


@pytest.fixture
def write_skill(root: Path) -> WriteSkill:
    """Writes `root/NAME/SKILL.md` with this frontmatter and body; gives the folder."""

    def write(
        folder: str,
        frontmatter: str | None = None,
        body: str = "Do it.",
        *,
        raw: bytes | None = None,
    ) -> Path:
        place = root / folder
        place.mkdir(parents=True, exist_ok=True)
        leaf = place.name
        if frontmatter is None:
            frontmatter = f"name: {leaf}\ndescription: Does {leaf} things."
        data = raw if raw is not None else f"---\n{frontmatter}\n---\n\n{body}\n".encode()
        (place / "SKILL.md").write_bytes(data)
        return place

    return write
