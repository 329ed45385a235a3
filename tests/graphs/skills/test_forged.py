"""Random loads, unloads and forged calls: a gated tool runs only while its skill is loaded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from plumbgraph.testing.script import call

Build = Callable[..., tuple[Any, Any]]
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 200}
SKILLS = ("keys", "vault")
TOOLS = {"open_lock": "keys", "count_gold": "vault"}
ROUNDS = 12


def scripted(make: random.Random) -> tuple[list[Any], list[int]]:
    """Replies of parallel calls, and the marks of the tool calls that may run."""
    up: set[str] = set()
    replies: list[Any] = []
    allowed: list[int] = []
    for number in range(ROUNDS):
        calls: list[Any] = []
        changes = make.sample(SKILLS, make.randint(0, 2))
        after = set(up)
        for skill in changes:
            verb = "unload_skill" if skill in up else "load_skill"
            after ^= {skill}
            calls.append(call(verb, name=skill))
        for place, (tool, skill) in enumerate(TOOLS.items()):
            mark = number * 10 + place
            calls.append(call(tool, mark=mark))
            allowed += [mark] if skill in up else []
        make.shuffle(calls)
        replies.append(calls)
        up = after
    return [*replies, "done"], allowed


@pytest.mark.parametrize("seed", range(6))
def test_forged_calls_never_run(seed: int, make_skill: Any, build: Build) -> None:
    ran: list[int] = []

    def open_lock(mark: int) -> str:
        """Open the lock."""
        ran.append(mark)
        return "opened"

    def count_gold(mark: int) -> str:
        """Count the gold."""
        ran.append(mark)
        return "counted"

    for tool, skill in TOOLS.items():
        make_skill(skill, metadata={"requires_tools": tool})
    script, allowed = scripted(random.Random(seed))
    saver = InMemorySaver()
    given: Any = {"messages": [HumanMessage("go")]}
    graph, _ = build(script, brought=[open_lock, count_gold], saver=saver)
    if seed % 2:
        result = asyncio.run(graph.ainvoke(given, CONFIG))
    else:
        stopping = graph.stream(given, CONFIG, interrupt_after=["model"])
        assert list(stopping)
        while graph.get_state(CONFIG).next:  # each time as another process would go on
            graph, _ = build(script, brought=[open_lock, count_gold], saver=saver)
            list(graph.stream(None, CONFIG, interrupt_after=["model"]))
        result = graph.get_state(CONFIG).values
    assert sorted(ran) == sorted(allowed)
    answers = [m for m in result["messages"] if getattr(m, "name", None) in TOOLS]
    refused = [m for m in answers if m.status == "error"]
    assert len(answers) == ROUNDS * len(TOOLS)
    assert len(refused) == len(answers) - len(allowed)
