from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plumbgraph import servers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_given_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_URL", "REDIS_URL", "HOME"):
        monkeypatch.delenv(f"PLUMBGRAPH_{name}", raising=False)


@pytest.fixture
def home() -> Iterator[Path]:
    """A short home that others may not enter; its servers are stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pgr-"))
    yield folder / "h"
    servers.down(folder / "h")
    shutil.rmtree(folder)
