"""`kill -9` at every super-step: the loaded skills and the rendered prompts stay the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("child.py")
NAMES = ("alpha", "beta", "gamma", "delta")


@pytest.fixture
def facts(tmp_path: Path, postgres_url: str, schema: str) -> dict[str, str]:
    for name in NAMES:
        folder = tmp_path / "skills" / name
        folder.mkdir(parents=True)
        text = (
            f"---\nname: {name}\ndescription: About {name}\n---\nORIGINAL {name} " + "word " * 330
        )
        (folder / "SKILL.md").write_text(text)
    return {
        "postgres": postgres_url,
        "schema": schema,
        "skills": str(tmp_path / "skills"),
        "blobs": str(tmp_path / "blobs"),
    }


def run(
    facts: dict[str, str], tmp_path: Path, thread: str, kills: Iterator[int]
) -> tuple[Any, dict[int, str], int]:
    """One run of the child, killed and started again; its skills, its prompts, its deaths."""
    mine = {
        **facts,
        "thread": thread,
        "prompts": str(tmp_path / f"{thread}.jsonl"),
        "result": str(tmp_path / f"{thread}.json"),
    }
    file = tmp_path / f"{thread}.facts"
    file.write_text(json.dumps(mine))
    deaths = 0
    while not Path(mine["result"]).exists():
        kill_at = next(kills, 0)
        done = subprocess.run(
            [sys.executable, str(CHILD), str(file), str(kill_at)], capture_output=True, check=False
        )
        if done.returncode == -signal.SIGKILL:
            deaths += 1
        else:
            assert done.returncode == 0, done.stderr.decode()
    prompts: dict[int, str] = {}
    for line in Path(mine["prompts"]).read_text().splitlines():
        number, text = json.loads(line)
        assert prompts.setdefault(number, text) == text
    return json.loads(Path(mine["result"]).read_text()), prompts, deaths


def check(facts: dict[str, str], tmp_path: Path, kills: Iterator[int]) -> int:
    skills, prompts, _ = run(facts, tmp_path, "calm", iter(()))
    assert len(prompts) == 20
    assert any("ORIGINAL alpha" in text for text in prompts.values())
    again, seen, deaths = run(facts, tmp_path, "killed", kills)
    assert seen == prompts
    assert again == skills
    return deaths


def test_prompts_survive_kills(facts: dict[str, str], tmp_path: Path) -> None:
    assert check(facts, tmp_path, iter([4, 9])) == 2


@pytest.mark.crash
@pytest.mark.timeout(2700)
def test_prompts_survive_a_kill_at_every_super_step(facts: dict[str, str], tmp_path: Path) -> None:
    assert check(facts, tmp_path, iter([1] * 200)) >= 40
