"""The graph that writes skills: drafts a folder, asks before it checks it, and measures it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import ToolException
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


def test_the_rehearsal_writes_checks_and_evaluates(author: Any, tmp_path: Path) -> None:
    model = author.rehearsed()
    app = author.build(model, blobs=FolderBlobs(tmp_path / "blobs", space="skills"))
    agent = app.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    given = {"messages": [HumanMessage("a skill for release notes")]}
    asked = agent.invoke(given, config)["__interrupt__"][0].value
    done = agent.invoke(Command(resume=asked["answer"]), config)["messages"]
    said = [str(m.text) for m in done if isinstance(m, ToolMessage)]
    assert "release-notes: sound" in said[-2]
    assert said[-1] == "First for 100% of 2 requests.\nWrongly found for 0% of 1 others."
    assert done[-1].text.startswith("Wrote release-notes/SKILL.md")


def test_an_evaluation_says_what_to_do_better(author: Any, tmp_path: Path) -> None:
    desk = author.workspace()
    (desk / "release-notes").mkdir()
    (desk / "release-notes" / "SKILL.md").write_text(DRAFT)
    (desk / "requests.tsv").write_text(
        "direct\trelease-notes\twrite release notes\n"
        "near\trelease-notes\tthe thread is stuck and waits for ever\n"
        "gone\tno-such-skill\twhatever\n"
    )
    told = author.evaluate_skills("requests.tsv")
    assert told.startswith("First for 50% of 2 requests.\n1 name a skill that does not load.\n")
    assert "'the thread is stuck and waits for ever'; first came debug-stuck-thread" in told
    (tmp_path / "elsewhere.tsv").write_text("direct\trelease-notes\tx\n")
    (desk / "broken.tsv").write_text("one column\n")
    (desk / "odd.tsv").write_text("direct\trelease-notes\t\0" + "x" * 200_000)
    for path in ("../elsewhere.tsv", "none.tsv", "broken.tsv", "odd.tsv", "\0", "release-notes"):
        with pytest.raises(ToolException):
            author.evaluate_skills(path)
