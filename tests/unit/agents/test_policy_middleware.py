"""The policy as middleware, in LangChain's agent and in deepagents, in both colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from plumbgraph.errors import PolicyDenied
from plumbgraph.middleware import PolicyMiddleware
from plumbgraph.testing import ScriptedChatModel, call

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
GIVEN: Any = {"messages": [("user", "go")]}
RULES: Any = {"version": 1, "tools": {"deny": ["shell"], "approve": ["pay"]}}
MAKERS: dict[str, Callable[..., Any]] = {"langchain": create_agent, "deepagents": create_deep_agent}
makers = pytest.mark.parametrize("maker", MAKERS)
colours = pytest.mark.parametrize("colour", ["sync", "async"])


def run(agent: Any, value: Any, colour: str) -> Any:
    if colour == "async":
        return asyncio.run(agent.ainvoke(value, THREAD))
    return agent.invoke(value, THREAD)


def answers(done: Any) -> list[str]:
    return [m.text for m in done["messages"] if isinstance(m, ToolMessage)]


def tools(ran: list[str]) -> list[Any]:
    def shell(command: str) -> str:
        """Run a command."""
        ran.append(f"shell {command}")
        return "ran"

    def pay(usd: int) -> str:
        """Pay somebody."""
        ran.append(f"pay {usd}")
        return f"paid {usd}"

    def look(where: str) -> str:
        """Look somewhere."""
        ran.append(f"look {where}")
        return f"saw {where}"

    return [shell, pay, look]


@makers
@colours
def test_denied_tools_are_neither_shown_nor_run(maker: str, colour: str) -> None:
    ran: list[str] = []
    model = ScriptedChatModel([[call("shell", command="ls"), call("look", where="n")], "done"])
    agent = MAKERS[maker](model, tools=tools(ran), middleware=[PolicyMiddleware(RULES)])
    done = run(agent, GIVEN, colour)
    assert ran == ["look n"]
    assert any("'shell' is denied" in text for text in answers(done))
    assert {"pay", "look"} <= set(model.calls[0].tool_names)
    assert "shell" not in model.calls[0].tool_names


@makers
@colours
@pytest.mark.parametrize(("said", "paid"), [(True, ["pay 5"]), (False, [])])
def test_a_person_is_asked_first(maker: str, colour: str, said: bool, paid: list[str]) -> None:  # noqa: FBT001 - what they say
    ran: list[str] = []
    model = ScriptedChatModel([call("pay", usd=5), "done"])
    agent = MAKERS[maker](
        model,
        tools=tools(ran),
        middleware=[PolicyMiddleware(RULES)],
        checkpointer=InMemorySaver(),
    )
    waits = run(agent, GIVEN, colour)
    (asked,) = waits["__interrupt__"]
    assert asked.value["calls"][0]["args"] == {"usd": 5}
    assert ran == []
    done = run(agent, Command(resume={"approve": said} if said else False), colour)
    assert ran == paid
    assert done["messages"][-1].text == "done"
    assert answers(done) == (["paid 5"] if said else answers(done))


@colours
def test_a_denied_model_is_not_asked(colour: str) -> None:
    model = ScriptedChatModel(["never"])
    rules = PolicyMiddleware({"version": 1, "models": {"deny": ["scripted:*"]}})
    with pytest.raises(PolicyDenied, match="scripted"):
        run(create_agent(model, tools=[], middleware=[rules]), GIVEN, colour)
    assert model.calls == []


def test_what_is_exempt_is_let_through() -> None:
    ran: list[str] = []
    model = ScriptedChatModel([call("shell", command="ls"), "done"])
    rules = PolicyMiddleware(RULES, exempt=("shell",))
    create_agent(model, tools=tools(ran), middleware=[rules]).invoke(GIVEN)
    assert ran == ["shell ls"]
