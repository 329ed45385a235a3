"""The graph that writes skills: drafts a folder, asks before it runs the check, and passes it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from plumbgraph.content.folder import FolderBlobs
from plumbgraph.skills.strict import check_strict
from plumbgraph.testing.script import call
from plumbgraph.testing.scripted import ScriptedChatModel

ROOT = Path(__file__).parents[3]
DRAFT = """---
name: release-notes
description: Write release notes from merged changes. Use when a version is tagged or
  someone asks what changed since the last release.
license: MIT
---
1. List the merged changes.
2. Group them by what a user notices.
"""


@pytest.fixture
def author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PLUMBGRAPH_WORKSPACE", str(tmp_path / "drafts"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    spec = importlib.util.spec_from_file_location("skill_author", ROOT / "graphs/skill_author.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_drafts_and_checks_a_skill(author: Any, tmp_path: Path) -> None:
    drafts = tmp_path / "drafts"
    model = ScriptedChatModel(
        [
            call("load_skill", name="write-a-skill"),
            call("write_file", path="release-notes/SKILL.md", content=DRAFT),
            call(
                "run_skill_script",
                name="write-a-skill",
                script="scripts/check_skill.py",
                arguments=[str(drafts / "release-notes")],
            ),
            "Wrote release-notes/SKILL.md.",
        ],
        replay="turn",
    )
    blobs = FolderBlobs(tmp_path / "blobs", space="skills")
    app = author.build(model, blobs=blobs).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    result = app.invoke({"messages": [HumanMessage("a skill for release notes")]}, config)
    asked = result["__interrupt__"][0].value
    assert asked["skill"] == "write-a-skill"
    result = app.invoke(Command(resume=asked["answer"]), config)
    said = [str(m.text) for m in result["messages"] if isinstance(m, ToolMessage)]
    assert "release-notes: sound" in said[-1]
    assert check_strict(drafts / "release-notes") == []
    assert "Begin with the requests" in str(model.calls[1].messages[0].text)
