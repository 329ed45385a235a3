"""A writer of skills: it loads what it needs to know, drafts into a folder, and checks its work.

It works with the skills shipped in `skills/` and those named by `PLUMBGRAPH_SKILLS`, a list of
folders separated like PATH. Drafts go into `PLUMBGRAPH_WORKSPACE`. Scripts of skills run only
after a person approved the exact call.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import tools_condition
from langgraph.runtime import Runtime

from plumbgraph.agents import file_tools, resolve_model
from plumbgraph.agents.skills import SkilledState, SkillNode
from plumbgraph.skills.bodies import Blobs
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.scripts import ScriptRules
from plumbgraph.testing import ScriptedChatModel, call

SHIPPED = Path(__file__).parent.parent / "skills"
SYSTEM = """\
You write skills: folders with a SKILL.md that tell another agent what it could not know.
Load the skill write-a-skill first and follow it. Work on files; say which you wrote."""

DRAFT = """\
---
name: release-notes
description: Write release notes from merged changes. Use when a version is tagged or
  someone asks what changed since the last release.
license: MIT
---
1. List the merged changes.
2. Group them by what a user notices.
"""

Model = BaseChatModel | Callable[[Any, Runtime[Any]], BaseChatModel]


def library() -> SkillLibrary:
    """The shipped skills, then the user's own folders."""
    own = [part for part in os.environ.get("PLUMBGRAPH_SKILLS", "").split(os.pathsep) if part]
    return SkillLibrary([SHIPPED, *own])


def workspace() -> Path:
    """Where drafts are written, made when missing."""
    folder = Path(os.environ.get("PLUMBGRAPH_WORKSPACE") or "workspace").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def chosen(_: Any, runtime: Runtime[Any]) -> BaseChatModel:  # noqa: ARG001 - a model's signature
    """The model named by the environment; `scripted` rehearses without a network."""
    spec = os.environ.get("PLUMBGRAPH_MODEL") or "openai:gpt-5.5"
    return rehearsed() if spec == "scripted" else resolve_model(spec)


def rehearsed() -> ScriptedChatModel:
    """A model that loads the skill about skills, drafts one and asks to check it."""
    check = "scripts/check_skill.py"
    draft = str(workspace() / "release-notes")
    return ScriptedChatModel(
        [
            call("load_skill", name="write-a-skill"),
            call("write_file", path="release-notes/SKILL.md", content=DRAFT),
            call("run_skill_script", name="write-a-skill", script=check, arguments=[draft]),
            "Wrote release-notes/SKILL.md and checked it.",
        ],
        replay="turn",
    )


def build(model: Model = chosen, *, blobs: Blobs | None = None) -> StateGraph[Any, Any, Any, Any]:
    """The graph, not yet compiled.

    Args:
        model: A chat model, or a function that gives one for each call.
        blobs: Where loaded skills are kept; the user's data folder by default.
    """
    files = file_tools(workspace)
    skills = SkillNode(library(), scripts=ScriptRules(mode="ask"), blobs=blobs)
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(SkilledState)
    nodes = {
        "skills": (skills, "Keeps the loaded skills in the prompt."),
        "model": (skills.model_node(model, files, system=[SYSTEM]), "Drafts the skill."),
        "tools": (skills.tool_node(files), "Reads, writes and checks files."),
    }
    for name, (node, about) in nodes.items():
        graph.add_node(name, node, metadata={"description": about})
    graph.add_edge(START, "skills")
    graph.add_edge("skills", "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "skills")
    return graph


graph = build()
