"""Put a skill from any source into a folder, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from plumbgraph.errors import SettingsError, SkillTampered
from plumbgraph.skills.package import package_digest
from plumbgraph.skills.record import unsafe_name
from plumbgraph.skills.sources.directory import DirectorySource
from plumbgraph.skills.values import Skill, SkillRecord


def install_skill(skill: Skill, folder: Path | str, *, replace: bool = False) -> Path:
    """Write a skill's files to `folder/NAME`; what was there before goes only when all is written.

    Args:
        skill: An opened skill.
        folder: Where skills live.
        replace: Also when a different skill of this name is there.

    Raises:
        SettingsError: A different one is there and `replace` was not asked for.
        SkillTampered: What was written is not what was read.
    """
    if why := unsafe_name(skill.name):
        raise SettingsError(f"The name {skill.name!r} {why}.")
    root = Path(folder)
    target = root / skill.name
    if target.is_symlink() or target.exists():
        if _digest_at(root, skill.name) == skill.digest:
            return target
        if not replace:
            raise SettingsError(
                f"{str(target)!r} holds a different skill.", hint="Pass --replace to change it."
            )
    root.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=root, prefix=".install-"))
    try:
        _write(skill, fresh / skill.name)
        if _digest_at(fresh, skill.name) != skill.digest:
            raise SkillTampered(f"{skill.name!r} was not written as it was read.")
        _swap(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _write(skill: Skill, target: Path) -> None:
    for path, data in skill.contents.items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        if data.startswith(b"#!"):
            place.chmod(0o755)


def _swap(fresh: Path, target: Path) -> None:
    if target.is_symlink() or target.exists():
        target.rename(fresh / ".old")
    os.rename(fresh / target.name, target)  # noqa: PTH104 - the atomic call itself


def _digest_at(root: Path, name: str) -> str:
    source = DirectorySource(root, cache=None)
    record = SkillRecord(name, source.label, name, "")
    try:
        return package_digest(source.files(record))
    except (OSError, ValueError):
        return ""
