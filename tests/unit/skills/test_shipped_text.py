"""What the shipped skills tell people to type exists: commands, options, scripts, Python."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plumbgraph.cli.app import app
from plumbgraph.skills.library import SkillLibrary

SKILLS = Path(__file__).parents[3] / "skills"
TEXTS = sorted(SKILLS.rglob("*.md"))
COMMAND = re.compile(r"^plumbgraph .*$|`(plumbgraph [^`]+)`", re.MULTILINE)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
SCRIPT = re.compile(r"^(scripts/[\w./-]+)", re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    found = [
        (str(path.relative_to(SKILLS)), hit.group(1) or hit.group(0))
        for path in TEXTS
        for hit in COMMAND.finditer(path.read_text())
    ]
    return [(path, " ".join(said.split())) for path, said in found]


@pytest.mark.parametrize(("path", "said"), commands(), ids=str)
def test_commands_exist_with_their_options(path: str, said: str) -> None:
    words = shlex.split(said)[1:]
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0, f"{path}: {said!r}"
    assert "Usage" in shown.output
    refused = CliRunner().invoke(app, [*words, "--no-such-option", "--help"])
    assert refused.exit_code != 0, f"{path}: {said!r} would pass whatever it says"


def test_there_is_something_to_check() -> None:
    assert len(commands()) >= 8
    assert len(TEXTS) >= 14


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(SKILLS)))
def test_python_parses_and_scripts_are_there(path: Path) -> None:
    text = path.read_text()
    for block in BLOCK.findall(text):
        compile(block, str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    owner = next(parent for parent in path.parents if (parent / "SKILL.md").exists())
    for script in SCRIPT.findall(text):
        assert (owner / script).is_file(), script


def test_each_is_found_by_what_its_description_promises() -> None:
    library = SkillLibrary(SKILLS, cache=None)
    for record in library.report().loaded:
        occasion = record.description.split("Use when", 1)[1]
        assert library.search(occasion, 1)[0].name == record.name
