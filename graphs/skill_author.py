"""A writer of skills: it loads what it needs to know, drafts into a folder, checks and measures.

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
from langchain_core.tools import StructuredTool, ToolException
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import tools_condition
from langgraph.runtime import Runtime

from plumbgraph.agents import file_tools, resolve_model
from plumbgraph.agents.skills import SkilledState, SkillNode
from plumbgraph.errors import SettingsError
from plumbgraph.skills.bodies import Blobs
from plumbgraph.skills.evaluate import Evaluation, evaluate, read_cases
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.scripts import ScriptRules
from plumbgraph.skills.sources.directory import DirectorySource
from plumbgraph.testing import ScriptedChatModel, call

SHIPPED = Path(__file__).parent.parent / "skills"
SYSTEM = """\
You write skills: folders with a SKILL.md that tell another agent what it could not know.
Load the skill write-a-skill first and follow it. Work on files; say which you wrote. Check a draft
with the script of that skill, then measure it with evaluate_skills, and improve it until both are
content."""

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

REQUESTS = """\
direct\trelease-notes\twrite the release notes for version 2.4
indirect\trelease-notes\twhat changed since the last release
none\t-\tbook me a table for two tonight
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
    """A model that loads the skill about skills, drafts one, asks to check it and measures it."""
    check = "scripts/check_skill.py"
    draft = str(workspace() / "release-notes")
    return ScriptedChatModel(
        [
            call("load_skill", name="write-a-skill"),
            call("write_file", path="release-notes/SKILL.md", content=DRAFT),
            call("write_file", path="requests.tsv", content=REQUESTS),
            call("run_skill_script", name="write-a-skill", script=check, arguments=[draft]),
            call("evaluate_skills", requests="requests.tsv"),
            "Wrote release-notes/SKILL.md, checked it and measured it.",
        ],
        replay="turn",
    )


def evaluate_skills(requests: str) -> str:
    """Measure whether the drafted skills are found by what people ask, beside the known skills.

    Args:
        requests: File of the workspace with tab-separated lines: a class, the right skill's name,
            and a request; or `none`, `-` and a request for which nothing should be found.
    """
    desk = workspace().resolve()
    try:
        file = (desk / requests).resolve()
        if not file.is_relative_to(desk) or not file.is_file():
            raise ToolException(f"There is no file {requests!r} in the workspace.")
        drafts = SkillLibrary([DirectorySource(desk, cache=None), *library().sources], cache=None)
        known = [record.name for record in drafts.report().loaded]
        found = evaluate(drafts.search, read_cases(file), known)
    except (OSError, ValueError, SettingsError) as fault:
        raise ToolException(f"{requests!r} cannot be measured with: {fault}") from fault
    return told(found)


def told(found: Evaluation) -> str:
    """An evaluation in words a model can act on."""
    lines = [f"First for {found.recall[1]:.0%} of {found.cases} requests."]
    if found.skipped:
        lines.append(f"{found.skipped} name a skill that does not load.")
    if found.negatives:
        lines.append(f"Wrongly found for {found.false_fits:.0%} of {found.negatives} others.")
    for miss in found.misses:
        place = f"at place {miss.rank}" if miss.rank else "nowhere"
        lines.append(
            f"{'|'.join(miss.accepted)} came {place} for {miss.query!r}; first came "
            f"{', '.join(miss.got) or 'nothing'}."
        )
    return "\n".join(lines)


def build(model: Model = chosen, *, blobs: Blobs | None = None) -> StateGraph[Any, Any, Any, Any]:
    """The graph, not yet compiled.

    Args:
        model: A chat model, or a function that gives one for each call.
        blobs: Where loaded skills are kept; the user's data folder by default.
    """
    measure = StructuredTool.from_function(
        evaluate_skills, parse_docstring=True, handle_tool_error=True
    )
    files = [*file_tools(workspace), measure]
    skills = SkillNode(library(), scripts=ScriptRules(mode="ask"), blobs=blobs)
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(SkilledState)
    nodes = {
        "skills": (skills, "Keeps the loaded skills in the prompt."),
        "model": (skills.model_node(model, files, system=[SYSTEM]), "Drafts the skill."),
        "tools": (skills.tool_node(files), "Reads, writes, checks and measures."),
    }
    for name, (node, about) in nodes.items():
        graph.add_node(name, node, metadata={"description": about})
    graph.add_edge(START, "skills")
    graph.add_edge("skills", "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "skills")
    return graph


graph = build()
