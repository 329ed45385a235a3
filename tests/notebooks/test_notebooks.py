from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Any:
    return nbformat.reads(path.read_text(), as_version=4)  # type: ignore[no-untyped-call]


def test_there_is_one_for_each_need() -> None:
    assert {path.stem[:2] for path in NOTEBOOKS} >= {"01", "05"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored_with_a_picture(path: Path) -> None:
    book = read(path)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert all(cell.execution_count for cell in code)
    assert not [output for output in outputs if output.output_type == "error"]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} & kinds
    assert "image/png" in kinds


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_offline(
    path: Path,
    tmp_path: Path,
    postgres_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PLUMBGRAPH_REDIS_URL", redis_url)
    monkeypatch.delenv("LANGSMITH_TRACING", raising=False)
    book = read(path)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=100, kernel_name="python3", resources=place).execute()
    last = [cell for cell in book.cells if cell.cell_type == "code"][-1]
    assert "assert" in last.source
