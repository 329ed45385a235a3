#!/usr/bin/env python3
"""Check one skill folder: name, description, sizes, links, unused files and scripts.

Usage: check_skill.py FOLDER
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LINK = re.compile(r"(?:references|scripts|assets)/[\w./-]*\w")
_MOST_LINES, _MOST_CHARS, _LEAST_DESCRIPTION, _MOST_DESCRIPTION = 500, 20_000, 80, 1024


def field(frontmatter: str, name: str) -> str:
    """A top-level field of the frontmatter, continued lines joined."""
    found = re.search(rf"^{name}:[ \t]*(.*(?:\n[ \t]+.*)*)", frontmatter, re.MULTILINE)
    return " ".join(found[1].split()).strip("'\"") if found else ""


def frontmatter_faults(folder: Path, frontmatter: str) -> list[str]:
    """What is wrong with name and description."""
    faults = []
    name, description = field(frontmatter, "name"), field(frontmatter, "description")
    if not _NAME.fullmatch(name):
        faults.append(f"name {name!r} is not lowercase words joined by single hyphens")
    if name != folder.name:
        faults.append(f"name {name!r} is not the folder's name {folder.name!r}")
    if len(description) > _MOST_DESCRIPTION:
        faults.append(
            f"description has {len(description)} characters, more than {_MOST_DESCRIPTION}"
        )
    if len(description) < _LEAST_DESCRIPTION:
        faults.append("description is too short to be found by")
    if "use when" not in description.lower():
        faults.append("description does not say when to use it ('Use when …')")
    return faults


def file_faults(folder: Path, body: str) -> list[str]:
    """Links without files, files without links, scripts that do not parse."""
    linked = set(_LINK.findall(body))
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "SKILL.md" and "__pycache__" not in path.parts
    }
    text = body + "".join((folder / name).read_text("utf-8", "replace") for name in sorted(there))
    faults = [f"links to {name}, which is not there" for name in sorted(linked - there)]
    faults += [
        f"nothing mentions {name}" for name in sorted(there) if name.split("/")[-1] not in text
    ]
    for name in sorted(there):
        if name.endswith(".py"):
            try:
                ast.parse((folder / name).read_bytes())
            except SyntaxError as error:
                faults.append(f"{name} line {error.lineno}: {error.msg}")
            except (ValueError, RecursionError, MemoryError, SystemError) as error:
                faults.append(f"{name} does not parse: {error}")
    return faults


def main(where: str) -> int:
    """Print faults; exit code 1 when there are any."""
    folder = Path(where).resolve()
    path = folder / "SKILL.md"
    if not path.is_file():
        print(f"there is no {path}")
        return 1
    text = path.read_text(encoding="utf-8", errors="replace")
    parts = re.split(r"^---[ \t]*$", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) != 3 or parts[0].strip():  # noqa: PLR2004 - before, frontmatter, body
        print("the file does not begin with frontmatter between two --- lines")
        return 1
    faults = frontmatter_faults(folder, parts[1]) + file_faults(folder, parts[2])
    if parts[2].count("\n") > _MOST_LINES or len(parts[2]) > _MOST_CHARS:
        faults.append("the body is too long: move parts to references/")
    print("\n".join(faults) or f"{folder.name}: sound")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else print(__doc__))  # noqa: PLR2004 - one argument
