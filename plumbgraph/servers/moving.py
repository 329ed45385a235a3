"""Bring data and programs to where user id 65534 can reach them, without opening any folder."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from plumbgraph.servers.home import Layout

_log = logging.getLogger("plumbgraph.servers")


def move(layout: Layout, outside: Path, *, owner: int) -> Path:
    """A new folder for the data outside the home, which the home remembers."""
    digest = hashlib.sha256(os.fsencode(layout.home)).hexdigest()[:8]
    place = outside / f"{digest}-{secrets.token_hex(4)}"
    outside.mkdir(parents=True, exist_ok=True)
    if outside.stat().st_uid == 0:
        outside.chmod(0o711)  # ours; it must be entered, and need not be listed
    place.mkdir(mode=0o700)
    os.chown(place, owner, owner)
    layout.moved.write_text(f"{place}\n")
    _log.warning("user namespaces are refused: the data of %s lies in %s", layout.home, place)
    return place


def copied(place: Path, program: Path, *, tree: Path, package: Path | None) -> Path:
    """The program's copy beside the data, made once for each version of the program."""
    info = program.stat()
    mark = f"{program}:{info.st_size}:{info.st_mtime_ns}".encode()
    target = place / "bin" / hashlib.sha256(mark).hexdigest()[:12]
    top = package.parent if package else tree if tree.is_dir() else tree.parent
    if not target.exists():
        _copy(target, top=top, tree=tree, package=package)
    return target / program.relative_to(top)


def _copy(target: Path, *, top: Path, tree: Path, package: Path | None) -> None:
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for folder in (target.parent, fresh):
        folder.chmod(0o755)
    if tree.is_dir():
        shutil.copytree(tree, fresh / tree.relative_to(top), symlinks=True)
    else:
        kept = fresh / tree.relative_to(top)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(tree, kept)
    libraries = package.with_name(f"{package.name}.libs") if package else None
    if libraries is not None and libraries.exists():
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
    for one in fresh.rglob("*"):
        if not one.is_symlink():
            one.chmod(one.stat().st_mode | (0o055 if one.is_dir() else 0o044))
    fresh.rename(target)
