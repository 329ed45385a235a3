"""`make audit` fails where a package could not be audited: silence is no success."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LOCK = (
    "alpha==1.0 \\\n    --hash=sha256:00\n    # via beta\n"
    "Beta_Two==2.0 ; sys_platform == 'darwin' \\\n    --hash=sha256:11\n"
)
FINE = [
    {"name": "alpha", "version": "1.0", "vulns": []},
    {"name": "beta-two", "version": "2.0", "vulns": []},
]
FLAW = {"id": "PYSEC-1", "fix_versions": ["1.1"]}


def audited(root: Path, folder: Path, says: str) -> Any:
    """The script's end, with a program in pip-audit's place that prints something."""
    program = folder / "pip-audit"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.write({says!r})\n")
    program.chmod(0o755)
    (folder / "lock").write_text(LOCK)
    return subprocess.run(
        [sys.executable, str(root / "scripts" / "audit"), str(program), str(folder / "lock")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        (FINE, 0, "2 packages audited"),
        (FINE[:1], 2, "beta-two==2.0: not in the report"),
        ([FINE[0], {"name": "beta-two", "skip_reason": "not found"}], 2, "beta-two: not found"),
        ([{**FINE[0], "vulns": [FLAW]}, FINE[1]], 1, "alpha==1.0: PYSEC-1"),
        ([{**FINE[0], "vulns": [FLAW]}], 1, "beta-two==2.0: not in the report"),
        ([], 2, "not in the report"),
    ],
)
def test_every_package_must_have_been_audited(
    root: Path, tmp_path: Path, rows: list[Any], code: int, said: str
) -> None:
    done = audited(root, tmp_path, json.dumps({"dependencies": rows, "fixes": []}))
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"pip-audit", "lock"}


@pytest.mark.parametrize("says", ["", "ConnectionError: no network", "{"])
def test_no_network_is_no_success(root: Path, tmp_path: Path, says: str) -> None:
    done = audited(root, tmp_path, says)
    assert done.returncode == 2
    assert "nothing was audited" in done.stderr


def test_no_program_is_no_success(root: Path, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(LOCK)
    command = [sys.executable, str(root / "scripts" / "audit"), "/no/pip-audit"]
    done = subprocess.run(
        [*command, str(tmp_path / "lock")], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "is not installed" in done.stderr
