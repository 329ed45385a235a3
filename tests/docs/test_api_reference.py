"""The API reference says what the docstrings say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_the_reference_is_not_stale(root: Path) -> None:
    script = root / "scripts" / "api"
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=root,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_link_of_the_docs_leads_somewhere(root: Path) -> None:
    pages = [root / "README.md", root / "ARCHITECTURE.md", root / "CONTRIBUTING.md"]
    pages += sorted((root / "docs").rglob("*.md"))
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", page.read_text()):
            if target and "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_stands_in_the_index(root: Path) -> None:
    index = (root / "docs" / "README.md").read_text()
    pages = {page.name for page in (root / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()
