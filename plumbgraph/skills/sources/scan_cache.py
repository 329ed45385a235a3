"""What a scan saw of each folder and file, so that the next one need only `stat` them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plumbgraph.skills.values import SKILL_FILE, SKIPPED_FOLDERS, Diagnostic, SkillRecord

_VERSION = 2
_NONE: Sequence[Any] = ()
_LISTS = ("allowed_tools", "requires_tools", "restrict_tools")
_RARE = ("license", "compatibility", "metadata", *_LISTS, "version")


@dataclass(slots=True)
class Folder:
    """A folder's listing as far as it matters: valid while its mtime stands.

    Attributes:
        skill_file: `SKILL.md`, `skill.md` or empty.
        odd: Links and special files: name, code, and whether a skill stands behind it.
    """

    mtime_ns: int
    subfolders: Sequence[str]
    skill_file: str
    odd: Sequence[tuple[str, str, bool]]


@dataclass(slots=True)
class Found:
    """What a `SKILL.md` said: valid while mtime, size and inode stand."""

    stamp: tuple[int, ...]
    record: SkillRecord | None
    diagnostics: tuple[Diagnostic, ...]


@dataclass(slots=True)
class Seen:
    """Everything one scan saw, by path relative to the root."""

    folders: dict[str, Folder] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)

    def changed_since(self, before: Seen) -> bool:
        """Whether anything was listed or read anew."""
        return (
            self.folders.keys() != before.folders.keys()
            or self.found.keys() != before.found.keys()
            or any(folder is not before.folders[rel] for rel, folder in self.folders.items())
            or any(found is not before.found[rel] for rel, found in self.found.items())
        )

    def fingerprint(self) -> str:
        """Equal for equal folders, links and `SKILL.md` contents."""
        says = {
            rel: found.record.fingerprint if found.record else "True"
            for rel, found in self.found.items()
        }
        lines = "".join([f"{rel}\0{says.get(rel, 'False')}\n" for rel in sorted(self.folders)])
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def list_folder(path: str, mtime_ns: int) -> Folder:
    """List one folder; raises OSError when it cannot be read."""
    subfolders: list[str] = []
    names: set[str] = set()
    odd: list[tuple[str, str, bool]] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_symlink():
                odd.append((entry.name, *_link(entry)))
            elif entry.name in {SKILL_FILE, SKILL_FILE.lower()}:
                names.add(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED_FOLDERS:
                    subfolders.append(entry.name)
            elif not entry.is_file(follow_symlinks=False):
                odd.append((entry.name, "skills.special_file", False))
    if len(names) > 1:
        odd.append((SKILL_FILE.lower(), "skills.case_collision", False))
    skill_file = max(names, key=str.isupper, default="") if len(names) == 1 else SKILL_FILE
    return Folder(mtime_ns, sorted(subfolders), skill_file if names else "", sorted(odd))


def _link(entry: os.DirEntry[str]) -> tuple[str, bool]:
    """Code of a symlink, and whether a skill stands behind it."""
    try:
        target = entry.stat()
    except OSError as error:
        loop = error.errno == errno.ELOOP
        return ("skills.symlink_loop" if loop else "skills.symlink_dangling"), False
    if entry.name == SKILL_FILE:
        return "skills.symlink", True
    holds = os.path.isdir(entry.path) and os.path.exists(f"{entry.path}/{SKILL_FILE}")  # noqa: PTH110, PTH112 - DirEntry gives strings
    return "skills.symlink", bool(target) and holds


def load_seen(path: Path | None, key: str) -> Seen | None:
    """What an earlier process saw, or None when there is nothing usable."""
    if path is None:
        return None
    try:
        data = json.loads(path.read_bytes())
        if data["version"] != _VERSION or data["key"] != key:
            return None
        folders = {
            rel: Folder(row, _NONE, SKILL_FILE, _NONE) if isinstance(row, int) else Folder(*row)
            for rel, row in data["folders"].items()
        }
        source = data["source"]
        found = {rel: _found(source, rel, row) for rel, row in data["found"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Seen(folders, found)


def save_seen(path: Path | None, key: str, seen: Seen) -> list[Diagnostic]:
    """Remember for other processes; a failure is a notice, never an error."""
    if path is None:
        return []
    data = {
        "version": _VERSION,
        "key": key,
        "source": next((f.record.source for f in seen.found.values() if f.record), ""),
        "folders": {
            rel: (f.mtime_ns, f.subfolders, f.skill_file, f.odd)
            if f.subfolders or f.odd or f.skill_file != SKILL_FILE
            else f.mtime_ns
            for rel, f in seen.folders.items()
        },
        "found": {rel: _row(f) for rel, f in seen.found.items()},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(fd, "w") as file:
            file.write(json.dumps(data))
        Path(temporary).replace(path)
    except OSError as error:
        message = f"the scan is not remembered ({error.strerror})"
        return [Diagnostic("skills.cache_unwritable", message, str(path), level="note")]
    return []


def _row(found: Found) -> list[Any]:
    """A finding as a short row: what most skills lack takes no room."""
    record = found.record
    notes = [[d.code, d.message, d.path, d.line, d.level] for d in found.diagnostics] or 0
    if record is None:
        return [*found.stamp, notes]
    rare = {name: _plain(value) for name in _RARE if (value := getattr(record, name))} or 0
    facts = record.name, record.description, record.fingerprint, record.body_chars
    return [*found.stamp, notes, rare, *facts]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _found(source: str, rel: str, row: list[Any]) -> Found:
    mtime_ns, size, inode, notes, *rest = row
    diagnostics = tuple([Diagnostic(*note) for note in notes]) if notes else ()
    record = None
    if rest:
        rare, name, description, fingerprint, body_chars = rest
        record = SkillRecord(
            name,
            source,
            rel or ".",
            description,
            fingerprint=fingerprint,
            body_chars=body_chars,
            diagnostics=diagnostics,
            **({key: _lasting(key, value) for key, value in rare.items()} if rare else {}),
        )
    return Found((mtime_ns, size, inode), record, diagnostics)


def _lasting(key: str, value: Any) -> Any:
    return tuple(value) if key in _LISTS else value
