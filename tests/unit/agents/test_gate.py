"""A policy in front of an agent's tools and models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from plumbgraph.agents import create_agent, parts
from plumbgraph.errors import PolicyDenied, SettingsError
from plumbgraph.policy import Policy
from plumbgraph.routing import CostRouter
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.testing import ScriptedChatModel, call

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
GIVEN: Any = {"messages": [("user", "go")]}
MakeRouter = Callable[..., CostRouter]
colours = pytest.mark.parametrize("colour", ["sync", "async"])


async def run(agent: Any, value: Any, colour: str, config: Any = THREAD) -> Any:
    if colour == "async":
        return await agent.ainvoke(value, config)
    return await asyncio.to_thread(agent.invoke, value, config)


async def made(*args: Any, **plugged: Any) -> Any:
    """An agent, made beside the loop, as its sources and rules are read where it is made."""
    return await asyncio.to_thread(create_agent, *args, **plugged)


def answers(done: Any) -> list[str]:
    return [message.text for message in done["messages"] if isinstance(message, ToolMessage)]


def look(where: str) -> str:
    """Look somewhere."""
    return f"saw {where}"


@colours
async def test_a_denied_tool_is_neither_shown_nor_run(colour: str) -> None:
    ran: list[str] = []

    def shell(command: str) -> str:
        """Run a command."""
        ran.append(command)
        return "ran"

    both = [call("shell", command="ls"), call("look", where="north")]
    model = ScriptedChatModel([both, "done"])
    agent = await made(model, [shell, look], policy={"version": 1, "tools": {"deny": ["shell"]}})
    done = await run(agent, GIVEN, colour)
    assert model.calls[0].tool_names == ["look"]
    assert ran == []
    denied, seen = sorted(answers(done), key=lambda text: "saw" in text)
    assert "'shell' is denied" in denied
    assert seen == "saw north"
    assert len({m.tool_call_id for m in done["messages"] if isinstance(m, ToolMessage)}) == 2


@colours
async def test_a_tool_that_needs_a_yes_asks_before_anything_of_the_step_runs(colour: str) -> None:
    ran: list[str] = []

    def mark(what: str) -> str:
        """Mark something."""
        ran.append(what)
        return f"marked {what}"

    calls = [call("mark", what="a"), call("look", where="north"), call("mark", what="b")]
    agent = await made(
        ScriptedChatModel([calls, "done"]),
        [mark, look],
        policy={"version": 1, "tools": {"approve": ["mark"]}},
        checkpointer=InMemorySaver(),
    )
    stopped = await run(agent, GIVEN, colour)
    (asked,) = stopped["__interrupt__"]
    assert [each["args"] for each in asked.value["calls"]] == [{"what": "a"}, {"what": "b"}]
    assert ran == []
    first = asked.value["answer"]["approve"][:1]
    done = await run(agent, Command(resume={"approve": first}), colour)
    assert ran == ["a"]
    assert sum("not approved" in text for text in answers(done)) == 1
    assert len(answers(done)) == 3


def test_an_address_is_judged_by_the_calls_arguments() -> None:
    def fetch(url: str) -> str:
        """Fetch a page."""
        return f"page of {url}"

    rules = {
        "version": 1,
        "tools": {"url_arguments": {"fetch": ["url"]}},
        "web": {"URLBlocklist": ["evil.example"]},
    }
    script = [call("fetch", url="https://evil.example/x"), call("fetch", url="https://ok.example")]
    agent = create_agent(ScriptedChatModel([*script, "done"]), [fetch], policy=rules)
    bad, good = answers(agent.invoke(GIVEN))
    assert "blocked" in bad
    assert good == "page of https://ok.example"


def test_a_refused_model_is_refused_when_the_agent_is_made_or_the_model_chosen() -> None:
    model = ScriptedChatModel(["hi"], model_name="big")
    rules = {"version": 1, "models": {"deny": ["scripted:big"]}}
    with pytest.raises(PolicyDenied, match="scripted:big"):
        create_agent(model, policy=rules)
    agent = create_agent(lambda state, runtime: model, policy=rules)
    with pytest.raises(PolicyDenied, match="scripted:big"):
        agent.invoke(GIVEN)
    small = ScriptedChatModel(["hi"], model_name="small")
    assert create_agent(small, policy=rules).invoke(GIVEN)["messages"][-1].text == "hi"


def test_a_router_must_know_the_agents_rules_about_models(router: MakeRouter) -> None:
    rules = {"version": 1, "models": {"deny": ["scripted:big"]}}
    model = ScriptedChatModel(["hi"])
    with pytest.raises(SettingsError, match="router does not know"):
        create_agent(router(model), policy=rules)
    policy = Policy(rules)
    agent = create_agent(router(model, policy=policy), policy=policy)
    assert agent.invoke(GIVEN)["messages"][-1].text == "hi"


def test_managed_rules_hold_where_no_policy_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed = tmp_path / "managed.json"
    managed.write_text(json.dumps({"version": 1, "tools": {"deny": ["look"]}}))
    monkeypatch.setenv("PLUMBGRAPH_POLICY", str(managed))
    monkeypatch.setattr(parts, "_read", [])  # what was read here is no other test's
    model = ScriptedChatModel([call("look", where="north"), "done"])
    done = create_agent(model, [look]).invoke(GIVEN)
    assert "'look' is denied" in answers(done)[0]


def test_skill_tools_stay_where_a_policy_names_the_tools_that_are_allowed(
    skills: Path, tmp_path: Path
) -> None:
    from plumbgraph.agents.skills import SkillNode
    from plumbgraph.content import FolderBlobs

    policy = Policy({"version": 1, "tools": {"allow": ["look"]}})
    node = SkillNode(
        SkillLibrary([skills], cache=None),
        policy=policy,
        blobs=FolderBlobs(tmp_path / "blobs", space="skills"),
    )
    model = ScriptedChatModel([call("load_skill", name="pdf"), "done"])
    done = create_agent(model, [look], skills=node, policy=policy).invoke(GIVEN)
    assert "is loaded" in answers(done)[0]
