"""Skill folders and agents for the tests of skills in graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import tools_condition

from plumbgraph.agents.skills import SkilledState, SkillNode
from plumbgraph.content.folder import FolderBlobs
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.testing.scripted import ScriptedChatModel

MakeSkill = Callable[..., Path]


@pytest.fixture
def make_skill(tmp_path: Path) -> MakeSkill:
    """Writes a skill folder under `skills/`."""

    def make(
        name: str,
        description: str = "",
        body: str = "",
        *,
        metadata: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
    ) -> Path:
        folder = tmp_path / "skills" / name
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"name: {name}", f"description: {description or 'Does ' + name}"]
        if metadata:
            lines += ["metadata:", *(f"  {key}: {value}" for key, value in metadata.items())]
        text = "\n".join(["---", *lines, "---", "", body or f"# {name}\n\nDo {name}.", ""])
        (folder / "SKILL.md").write_text(text)
        for path, content in (files or {}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        return folder

    return make


@pytest.fixture
def library(tmp_path: Path) -> SkillLibrary:
    (tmp_path / "skills").mkdir(exist_ok=True)
    return SkillLibrary([tmp_path / "skills"], cache=None)


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs", space="skills")


@pytest.fixture
def build(library: SkillLibrary, blobs: FolderBlobs) -> Callable[..., tuple[Any, SkillNode]]:
    """An agent of plain LangGraph nodes around a scripted model."""

    def make(
        script: Sequence[Any],
        *,
        tools: Sequence[Any] = (),
        brought: Sequence[Any] = (),
        saver: Any = None,
        **settings: Any,
    ) -> tuple[Any, SkillNode]:
        usable = [each if hasattr(each, "invoke") else tool(each) for each in tools]
        node = SkillNode(library, tools=brought, blobs=blobs, **settings)
        model = ScriptedChatModel(script, replay="turn")
        graph = StateGraph(SkilledState)
        graph.add_node("skills", node)
        graph.add_node("model", node.model_node(model, usable, system=["You are a tester."]))
        graph.add_node("tools", node.tool_node(usable))
        graph.add_edge(START, "skills")
        graph.add_edge("skills", "model")
        graph.add_conditional_edges("model", tools_condition)
        graph.add_edge("tools", "skills")
        node.model = model  # type: ignore[attr-defined]
        return graph.compile(checkpointer=saver or InMemorySaver()), node

    return make
