from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from langchain.agents import create_agent

from plumbgraph.middleware import GuardMiddleware
from plumbgraph.testing import ScriptedChatModel, call


def poke(number: int) -> str:
    """Poke it."""
    return f"nothing happens at {number % 2}"


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_the_guard_stops_a_langchain_agent(colour: str) -> None:
    model = ScriptedChatModel([call("poke", number=1), call("poke", number=2)], on_end="cycle")
    agent: Any = create_agent(model, tools=[poke], middleware=[GuardMiddleware()])
    given = {"messages": [("user", "go")]}
    done = await agent.ainvoke(given) if colour == "async" else agent.invoke(given)
    assert done["stop_reason"]
    assert len(model.calls) < 40
    assert "I was stopped" in done["messages"][-1].text


def test_a_langchain_agent_that_makes_progress_is_left_alone() -> None:
    model = ScriptedChatModel([call("poke", number=1), "done"])
    agent: Any = create_agent(model, tools=[poke], middleware=[GuardMiddleware()])
    done = agent.invoke({"messages": [("user", "go")]})
    assert done["stop_reason"] is None
    assert done["messages"][-1].text == "done"


def test_without_langchain_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['langchain'] = None\n"
        "from plumbgraph.errors import MissingExtra\n"
        "try:\n    import plumbgraph.middleware\n"
        "except MissingExtra as error:\n    print(error)\n"
        "import plumbgraph.nodes\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "plumbgraph[agents]" in done.stdout
