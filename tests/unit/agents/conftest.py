"""What agents with many parts are made of, on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.policy import Policy
from plumbgraph.routing import CostRouter, ModelCard, Price
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel

MakeRouter = Callable[..., CostRouter]


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema) as made:
        yield made


@pytest.fixture
def skills(tmp_path: Path) -> Path:
    """A folder with one skill."""
    folder = tmp_path / "skills" / "pdf"
    folder.mkdir(parents=True)
    text = "---\nname: pdf\ndescription: Read PDF files.\n---\n\n# PDF\n\nUse the BLUE tool.\n"
    (folder / "SKILL.md").write_text(text)
    return folder.parent


@pytest.fixture
def router() -> MakeRouter:
    """A router over one cheap scripted model."""

    def made(model: ScriptedChatModel, **settings: Any) -> CostRouter:
        card = ModelCard(model=model, price=Price.per_mtok(1, 4), prior=0.9)
        return CostRouter([card], **{"policy": Policy(), **settings})

    return made
