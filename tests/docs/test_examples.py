"""Every code block of the README and the docs runs, and prints what the page says it prints.

A page's Python blocks run in order, as one script. A `text` block that follows a `python` or
`sh` block is its output. An HTML comment `<!-- not run: why -->` before a block leaves it out;
the README may not use it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"(?P<skip><!-- not run: [^>]+-->\s*)?^```(?P<kind>\w+)[^\n]*\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SET_UP = ("pip install", "uv add", "make ", "git clone", "cd ", "sudo ", "#", "export ")
MARK = "\x1e"


@dataclass(frozen=True)
class Block:
    kind: str
    body: str
    line: int
    skipped: bool
    output: str | None


def blocks(text: str) -> list[Block]:
    matches = list(FENCE.finditer(text))
    found = []
    for match, after in zip(matches, [*matches[1:], None], strict=False):
        output = None
        if after and after["kind"] == "text" and not text[match.end() : after.start()].strip():
            output = after["body"]
        line = text[: match.start("kind")].count("\n") + 1
        found.append(Block(match["kind"], match["body"], line, bool(match["skip"]), output))
    return found


def normal(text: str) -> str:
    """Lines without trailing space; digests, times and paths are the page's own business."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def matches(expected: str, found: str) -> bool:
    """Equal, where `…` in the page stands for anything."""
    pattern = re.escape(normal(expected)).replace("…", ".*?")
    return re.fullmatch(pattern, normal(found), re.DOTALL) is not None


@pytest.fixture
def place(postgres_url: str, redis_url: str, tmp_path: Path, old_tables: None) -> dict[str, str]:
    return {
        **os.environ,
        "PLUMBGRAPH_POSTGRES_URL": postgres_url,
        "PLUMBGRAPH_REDIS_URL": redis_url,
        "PLUMBGRAPH_HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def script_of(page: list[Block]) -> str:
    ran = [block for block in page if block.kind == "python" and not block.skipped]
    return "".join(f"{block.body}\nprint({MARK!r}, flush=True)\n" for block in ran)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_blocks_of_a_page_run(path: Path, place: dict[str, str], tmp_path: Path) -> None:
    run_python_blocks(path, place, tmp_path)
    run_shell_blocks(path, place)


def run_python_blocks(path: Path, place: dict[str, str], tmp_path: Path) -> None:
    page = blocks(path.read_text())
    script = script_of(page)
    if not script:
        return
    file = tmp_path / "page.py"
    file.write_text(script)
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=place,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{path.name}\n{done.stdout}\n{done.stderr}"
    outputs = done.stdout.split(MARK)
    ran = [block for block in page if block.kind == "python" and not block.skipped]
    for block, output in zip(ran, outputs, strict=False):
        if block.output is not None:
            assert matches(block.output, output), f"{path.name}:{block.line} printed\n{output}"


def commands(block: Block) -> list[str]:
    lines = block.body.replace("\\\n", " ").splitlines()
    lines = [line.removeprefix("$ ").strip() for line in lines]
    return [line for line in lines if line and not line.startswith(SET_UP)]


def run_shell_blocks(path: Path, place: dict[str, str]) -> None:
    for block in blocks(path.read_text()):
        if block.kind not in {"sh", "bash", "console"} or block.skipped or not commands(block):
            continue
        done = subprocess.run(
            ["sh", "-e", "-c", "\n".join(commands(block))],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=place,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{path.name}:{block.line}\n{done.stdout}\n{done.stderr}"
        if block.output is not None:
            assert matches(block.output, done.stdout), f"{path.name}:{block.line}\n{done.stdout}"


def test_the_readme_leaves_no_block_out() -> None:
    assert not [b for b in blocks((ROOT / "README.md").read_text()) if b.skipped]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_set_up_lines_name_real_things(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    shell = "".join(b.body for b in blocks(path.read_text()) if b.kind in {"sh", "bash", "console"})
    for target in re.findall(r"(?m)^(?:\$ )?make ([a-z-]+)", shell):
        assert re.search(rf"(?m)^{target}:", makefile), f"make {target}"
    for extras in re.findall(r"plumbgraph\[([a-z,]+)\]", shell):
        for extra in extras.split(","):
            assert re.search(rf"(?m)^{extra} = ", project), f"extra {extra}"
