from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    root = Path(__file__).parent.parent.parent.parent
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_is_complete(wheel: Path, root: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = root / "plumbgraph"
    wanted = [*package.rglob("*.py"), *package.rglob("*.sql"), *package.rglob("*.lua")]
    wanted.append(package / "py.typed")
    missing = [str(p) for p in wanted if p.relative_to(root).as_posix() not in names]
    assert not missing
    for folder in ("graphs", "skills"):
        files = [
            p for p in (root / folder).rglob("*") if p.is_file() and "__pycache__" not in str(p)
        ]
        assert files
        for file in files:
            assert f"plumbgraph/_data/{file.relative_to(root).as_posix()}" in names


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert not [n for n in names if "__pycache__" in n or n.startswith(("tests/", "benchmarks/"))]
    tops = {name.split("/")[0] for name in names}
    assert tops == {"plumbgraph", next(top for top in tops if top.endswith(".dist-info"))}


def test_the_wheel_names_its_licence_and_entry_point(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "plumbgraph = plumbgraph.cli.app:main" in archive.read(entry).decode()
