"""Subagents of other frameworks: the same workspace on both sides, by middleware or by our tool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent as langchain_agent
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver

from plumbgraph import Workspace, create_agent
from plumbgraph.agents import subagent
from plumbgraph.content import FolderBlobs
from plumbgraph.memory import MemoryStore
from plumbgraph.middleware import MemoryMiddleware, WorkspaceMiddleware
from plumbgraph.testing import ScriptedChatModel, call

CONFIG: Any = {"configurable": {"thread_id": "boss"}}
GIVEN: Any = {"messages": [("user", "Write both chapters.")]}
colours = pytest.mark.parametrize("colour", ["sync", "async"])


@pytest.fixture
def desk(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "desk", blobs=FolderBlobs(tmp_path / "blobs"))


@pytest.fixture
def store(redis_url: str) -> Iterator[MemoryStore]:
    with MemoryStore(redis_url) as made:
        yield made


def write(name: str, text: str) -> str:
    """Write a file of the workspace; a chapter quotes the plan that its writer finds."""
    folder = Workspace.current().folder
    plan = folder / "plan.md"
    (folder / name).write_text(text + (plan.read_text() if plan.exists() else ""))
    return "written"


def chapter() -> ScriptedChatModel:
    """Writes and remembers the chapter it is asked for."""

    def respond(messages: Any) -> Any:
        task = next(str(m.text) for m in messages if m.type == "human")
        if any(m.type == "tool" for m in messages):
            return f"{task} is written"
        fact = call("remember", subject=task, attribute="is", value="written")
        return [call("write", name=f"{task}.md", text="after "), fact]

    return ScriptedChatModel.from_messages(respond)


def leading(tasks: list[Any]) -> ScriptedChatModel:
    plan: list[Any] = [call("write", name="plan.md", text="a plan"), tasks]
    return ScriptedChatModel([*plan, call("write", name="end.md", text="after "), "done"])


def run(agent: Any, colour: str) -> Any:
    if colour == "async":
        return asyncio.run(agent.ainvoke(GIVEN, CONFIG))
    return agent.invoke(GIVEN, CONFIG)


def all_is_there(desk: Workspace, store: MemoryStore, values: Any) -> None:
    assert values["messages"][-1].text == "done"
    assert len([m for m in values["messages"] if isinstance(m, AIMessage)]) == 4
    assert {f.name: f.read_text() for f in desk.folder.iterdir()} == {
        "plan.md": "a plan",
        "one.md": "after a plan",
        "two.md": "after a plan",
        "end.md": "after a plan",
    }
    assert desk.status().digest == desk.digest(values["workspace"])
    assert {item.value["subject"] for item in store.facts(("book",))} == {"one", "two"}


@colours
def test_deepagents_subagents_share_by_middleware(
    desk: Workspace, store: MemoryStore, colour: str
) -> None:
    watched = [MemoryMiddleware(("book",), keep_messages=False), WorkspaceMiddleware(desk)]
    writer: Any = {
        "name": "writer",
        "description": "Writes a chapter.",
        "system_prompt": "Write.",
        "model": chapter(),
        "tools": [write],
        "middleware": watched,
    }
    tasks = [call("task", description=name, subagent_type="writer") for name in ("one", "two")]
    agent = create_deep_agent(
        leading(tasks),
        tools=[write],
        subagents=[writer],
        middleware=[WorkspaceMiddleware(desk)],
        checkpointer=InMemorySaver(),
        store=store,
    )
    all_is_there(desk, store, run(agent, colour))


@colours
def test_our_subagent_is_a_tool_of_langchains_agent(
    desk: Workspace, store: MemoryStore, colour: str
) -> None:
    from plumbgraph.agents import Memory

    writer = create_agent(
        chapter(),
        [write],
        workspace=desk,
        memory=Memory(namespace=("book",), keep_messages=False),
        checkpointer=InMemorySaver(),
        store=store,
    )
    tool = subagent(writer, name="writer", description="Writes a chapter.")
    agent = langchain_agent(
        leading([call("writer", task="one"), call("writer", task="two")]),
        [write, tool],
        middleware=[WorkspaceMiddleware(desk)],
        checkpointer=InMemorySaver(),
        store=store,
    )
    all_is_there(desk, store, run(agent, colour))
