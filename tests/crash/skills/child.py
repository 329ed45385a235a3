"""A scripted run of twenty model calls that kills its own process at a given super-step.

Started as `python child.py FACTS KILL_AT`; FACTS is a JSON file with the URLs and folders.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import tools_condition

from plumbgraph.agents.skills import SkilledState, SkillNode
from plumbgraph.content.folder import FolderBlobs
from plumbgraph.skills.desk import Rules
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.state import PlumbSaver
from plumbgraph.testing.script import call
from plumbgraph.testing.scripted import ScriptedChatModel

NAMES = ("alpha", "beta", "gamma", "delta")


def script() -> list[Any]:
    """Twenty replies that load, read, overflow the budget, unload and search."""
    replies: list[Any] = []
    for number in range(19):
        name = NAMES[number % 4]
        replies.append(
            [
                call("load_skill", name=name),
                call("read_skill_file", name=NAMES[(number - 1) % 4], path="SKILL.md"),
            ]
            if number % 5 == 0
            else [call("load_skill", name=name), call("load_skill", name=NAMES[(number + 1) % 4])]
            if number % 5 == 1
            else call("unload_skill", name=name)
            if number % 5 == 3
            else call("load_skill", name=name)
        )
    return [*replies, "done"]


def build(facts: dict[str, str], saver: PlumbSaver) -> tuple[Any, ScriptedChatModel]:
    library = SkillLibrary([facts["skills"]], cache=None)
    blobs = FolderBlobs(facts["blobs"], space="skills")
    node = SkillNode(library, blobs=blobs, rules=Rules(body_tokens=900))
    model = ScriptedChatModel(script(), replay="turn")
    graph = StateGraph(SkilledState)
    graph.add_node("skills", node)
    graph.add_node("model", node.model_node(model, system=["You are a tester."]))
    graph.add_node("tools", node.tool_node())
    graph.add_edge(START, "skills")
    graph.add_edge("skills", "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "skills")
    return graph.compile(checkpointer=saver), model


def main(facts_file: str, kill_at: int) -> None:
    facts = json.loads(Path(facts_file).read_text())
    config: Any = {"configurable": {"thread_id": facts["thread"]}, "recursion_limit": 200}
    with PlumbSaver(facts["postgres"], schema=facts["schema"]) as saver:
        graph, model = build(facts, saver)
        begun = saver.get_tuple(config) is not None
        given = None if begun else {"messages": [HumanMessage("go", id="turn-1")]}
        stream = graph.stream(given, config, stream_mode="updates", durability="sync")
        for steps, _ in enumerate(stream, 1):
            with Path(facts["prompts"]).open("a") as file:
                for made in model.calls:
                    said = sum(message.type == "ai" for message in made.messages)
                    file.write(json.dumps([said, str(made.messages[0].text)]) + "\n")
            model._stage.calls.clear()
            if steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        final = graph.get_state(config).values
        Path(facts["result"]).write_text(json.dumps(final["skills"], sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
