"""`skills.lock`: which skills, byte for byte; made, verified and compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from plumbgraph.content.digest import is_digest
from plumbgraph.errors import PlumbError, SettingsError, SkillTampered
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.package import safe_path
from plumbgraph.skills.values import Skill

VERSION = 1
ALGORITHM = "blake2b-256"
FILE = "skills.lock"


@dataclass(frozen=True, slots=True)
class Locked:
    """One skill in a lock: its digest, where it came from, and its files."""

    name: str
    digest: str
    source: str
    version: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """How one skill differs from its lock.

    Attributes:
        what: `changed`, `missing` from the sources, or `unlocked`.
        files: For a changed skill, paths with `+`, `-` or `~` in front.
    """

    name: str
    what: Literal["changed", "missing", "unlocked"]
    locked: str
    found: str
    files: tuple[str, ...] = ()


def lock_skills(library: SkillLibrary, names: Iterable[str] | None = None) -> dict[str, Locked]:
    """The lock of the named skills, or of all."""
    chosen = [r.name for r in library.report().loaded] if names is None else list(names)
    skills = [library.open(name) for name in sorted(set(chosen))]
    return {skill.name: locked_of(skill) for skill in skills}


def locked_of(skill: Skill) -> Locked:
    """The lock of one opened skill."""
    files = {file.path: file.digest for file in skill.files}
    return Locked(skill.name, skill.digest, skill.record.source, skill.record.version, files)


def dump_lock(locks: Mapping[str, Locked]) -> str:
    """The text of a lock: sorted, the same for the same skills."""
    skills = {
        name: {
            "digest": lock.digest,
            "files": dict(sorted(lock.files.items())),
            "source": lock.source,
            "version": lock.version,
        }
        for name, lock in sorted(locks.items())
    }
    data = {"version": VERSION, "algorithm": ALGORITHM, "skills": skills}
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def parse_lock(text: str, where: str = FILE) -> dict[str, Locked]:
    """The skills of a lock.

    Raises:
        SettingsError: It is no lock, of another version, or not sound. It is never rewritten.
    """
    try:
        data = json.loads(text)
        version, algorithm = data["version"], data["algorithm"]
        rows: dict[str, Any] = data["skills"]
        if (version, algorithm) != (VERSION, ALGORITHM):
            raise SettingsError(
                f"{where!r} is a lock of version {version!r} by {algorithm!r}.",
                hint="Use the plumbgraph that wrote it, or lock again after a look at it.",
            )
        locks = {name: _locked(name, row) for name, row in rows.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{where!r} is not a skills lock: {error}.") from error
    return locks


def read_lock(path: Path | str) -> dict[str, Locked]:
    """The skills of a lock file.

    Raises:
        SettingsError: There is none, or it is not sound.
    """
    try:
        text = Path(path).read_text("utf-8", errors="replace")  # then it is no sound lock
    except OSError as error:
        raise SettingsError(
            f"No lock at {str(path)!r} ({error.strerror}).", hint="Run `plumbgraph skills lock`."
        ) from error
    return parse_lock(text, str(path))


def compare(library: SkillLibrary, locks: Mapping[str, Locked]) -> list[Difference]:
    """Every difference between the sources and a lock; empty when they agree byte for byte."""
    found: list[Difference] = []
    for name, lock in sorted(locks.items()):
        try:
            skill = library.open(name)
        except PlumbError:
            found.append(Difference(name, "missing", lock.digest, ""))
            continue
        if skill.digest != lock.digest:
            files = _changes(lock.files, {file.path: file.digest for file in skill.files})
            found.append(Difference(name, "changed", lock.digest, skill.digest, files))
    names = (record.name for record in library.report().loaded)
    found += [Difference(name, "unlocked", "", "") for name in names if name not in locks]
    return found


def require(library: SkillLibrary, locks: Mapping[str, Locked]) -> None:
    """Return when every locked skill is there unchanged.

    Raises:
        SkillTampered: One is missing or changed (facts: differences).
    """
    wrong = [d for d in compare(library, locks) if d.what != "unlocked"]
    if wrong:
        named = ", ".join(f"{d.name!r} {d.what}" for d in wrong[:5])
        raise SkillTampered(
            f"{len(wrong)} of {len(locks)} locked skills differ: {named}.",
            differences=[d.name for d in wrong],
        )


def _changes(locked: Mapping[str, str], found: Mapping[str, str]) -> tuple[str, ...]:
    gone = [f"-{path}" for path in locked.keys() - found.keys()]
    new = [f"+{path}" for path in found.keys() - locked.keys()]
    changed = [f"~{path}" for path in locked.keys() & found.keys() if locked[path] != found[path]]
    return tuple(sorted([*gone, *new, *changed], key=lambda line: line[1:]))


def _locked(name: str, row: Mapping[str, Any]) -> Locked:
    files = dict(row["files"])
    if not is_digest(row["digest"]) or not all(
        safe_path(path) and is_digest(digest) for path, digest in files.items()
    ):
        raise ValueError(f"the entry of {name!r} is not sound")
    return Locked(name, row["digest"], str(row["source"]), str(row.get("version", "")), files)
