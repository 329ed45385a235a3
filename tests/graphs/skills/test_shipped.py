"""Every shipped skill, found by a request, loaded, read and run through a real graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, message_to_dict
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import tools_condition

from plumbgraph.agents.skills import SkilledState, SkillNode
from plumbgraph.content.folder import FolderBlobs
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.scripts import ScriptRules
from plumbgraph.skills.strict import check_strict
from plumbgraph.testing.script import call
from plumbgraph.testing.scripted import ScriptedChatModel

SKILLS = Path(__file__).parents[3] / "skills"

BAD_TOOLS = """
import requests, subprocess
from langchain_core.tools import tool

@tool
def send_mail(to, text):
    try:
        requests.post("http://mail", json={"to": to})
    except Exception:
        return "failed"
    subprocess.run(f"log {to}", shell=True)
    db.execute("select * from t where id = " + to)
"""
APPEND = "def add(left, right):\n    return (left or []) + (right or [])\n"


class Use(NamedTuple):
    """How a test uses a skill: the request, the reference, the script, and what it must say."""

    skill: str
    request: str
    reference: str
    script: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]


def messages() -> list[Any]:
    made: list[Any] = [HumanMessage("go")]
    for number in range(4):
        usage: Any = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}
        asked = {"name": "look", "args": {"x": 1}, "id": f"c{number}"}
        made.append(AIMessage("", tool_calls=[asked], usage_metadata=usage))
        if number < 3:
            made.append(ToolMessage("y" * 4_000, tool_call_id=f"c{number}", name="look"))
    return made


FACTS = [
    {"subject": "Ana", "attribute": "city", "value": "Graz", "source": "user"},
    {"subject": "ana", "attribute": "City", "value": "Linz", "source": "guess"},
    {"subject": "Ana", "attribute": "speaks", "value": "German"},
    {"subject": "Ana", "attribute": "speaks", "value": "Slovene"},
]

USES = [
    Use(
        "debug-stuck-thread", "my agent hangs and repeats the same tool call",
        "references/repairs.md",
        "scripts/read_history.py", ("messages.jsonl",), ("UNANSWERED look", "LOOP 4 times"),
    ),
    Use(
        "review-trace-cost", "this run is too expensive, where do the tokens go",
        "references/levers.md", "scripts/cost_report.py", ("messages.jsonl", "--input", "3"),
        ("TOTAL input 4000", "usd 0.0120", "tool look"),
    ),
    Use(
        "repair-contested-memory", "two memories about the user contradict each other",
        "references/causes.md", "scripts/contested.py", ("facts.jsonl", "--plural", "speaks"),
        ("CONFLICT Ana / city", "1 conflict; 1 plural"),
    ),
    Use(
        "write-a-skill", "help me write a SKILL.md that triggers", "references/descriptions.md",
        "scripts/check_skill.py", (str(SKILLS / "write-a-skill"),), ("write-a-skill: sound",),
    ),
    Use(
        "plan-retention", "the checkpoint database grows, how long should we keep threads",
        "references/privacy.md", "scripts/estimate.py",
        ("--threads-per-day", "1000", "--steps", "12", "--state-kb", "200"),
        ("whole / delta = ", "saver problem"),
    ),
    Use(
        "harden-tools", "review my tools for security before production",
        "references/findings.md", "scripts/scan_tools.py", ("tools.py",),
        ("no-timeout", "swallow", "shell", "sql", "no-doc", "no-key", "6 findings"),
    ),
    Use(
        "design-state-reducers", "parallel branches write the same state key and updates vanish",
        "references/examples.md", "scripts/check_reducer.py",
        ("reducer.py:add", "--values", "[[1], [2], [3]]"), ("twice is not once", "order matters"),
    ),
]  # fmt: skip


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    lines = [json.dumps(message_to_dict(message)) for message in messages()]
    (tmp_path / "messages.jsonl").write_text("\n".join(lines))
    (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, FACTS)))
    (tmp_path / "tools.py").write_text(BAD_TOOLS)
    (tmp_path / "reducer.py").write_text(APPEND)
    return tmp_path


def test_each_has_its_use_and_is_valid() -> None:
    assert {use.skill for use in USES} == {path.name for path in SKILLS.iterdir() if path.is_dir()}
    assert [fault for use in USES for fault in check_strict(SKILLS / use.skill)] == []


@pytest.mark.parametrize("use", USES, ids=[use.skill for use in USES])
def test_shipped_skill_in_a_graph(use: Use, inputs: Path) -> None:
    library = SkillLibrary([SKILLS], cache=None)
    assert library.search(use.request)[0].name == use.skill
    node = SkillNode(
        library,
        blobs=FolderBlobs(inputs / "blobs", space="skills"),
        scripts=ScriptRules(mode="allow"),
    )
    arguments = [
        str(inputs / word) if (inputs / word.split(":")[0]).is_file() else word
        for word in use.arguments
    ]
    model = ScriptedChatModel(
        [
            call("search_skills", query=use.request),
            call("load_skill", name=use.skill),
            call("read_skill_file", name=use.skill, path=use.reference),
            call("run_skill_script", name=use.skill, script=use.script, arguments=arguments),
            "done",
        ],
        replay="turn",
    )
    graph = StateGraph(SkilledState)
    graph.add_node("skills", node)
    graph.add_node("model", node.model_node(model))
    graph.add_node("tools", node.tool_node())
    graph.add_edge(START, "skills")
    graph.add_edge("skills", "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "skills")
    app = graph.compile(checkpointer=InMemorySaver())
    result = app.invoke(
        {"messages": [HumanMessage(use.request)]}, {"configurable": {"thread_id": use.skill}}
    )
    found, loaded, read, ran = (
        str(message.text) for message in result["messages"] if isinstance(message, ToolMessage)
    )
    assert f"'{use.skill}' fits best" in found
    assert "is loaded" in loaded
    assert read == (SKILLS / use.skill / use.reference).read_text()
    assert [text for text in use.says if text not in ran] == [], ran
    body = library.open(use.skill).body
    assert body[:200] in str(model.calls[-1].messages[0].text)
