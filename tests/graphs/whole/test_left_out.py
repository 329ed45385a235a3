"""Each part is left out by one argument, or by one middleware, and the others go on as before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent as langchain_agent
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig

from plumbgraph import CostRouter, Guard, ModelCard, create_agent, effect
from plumbgraph.agents import Memory, journal_for
from plumbgraph.content import FolderBlobs, PostgresBlobs
from plumbgraph.memory import MemoryStore
from plumbgraph.middleware import (
    EffectMiddleware,
    GuardMiddleware,
    MemoryMiddleware,
    PolicyMiddleware,
    RouterMiddleware,
    SkillMiddleware,
    WorkspaceMiddleware,
)
from plumbgraph.routing import Price
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.workspace import Workspace

THREAD: RunnableConfig = {"configurable": {"thread_id": "t", "user_id": "u"}}
GIVEN: Any = {"messages": [("user", "write about Portland")]}
RULES: Any = {"version": 1, "tools": {"deny": ["shell"]}}
PARTS = ("memory", "skills", "router", "effects", "workspace", "policy", "guard")
PLACE = ("users", "{user_id}")


class World:
    """What the agents of a test share, and a look at which parts were at work in it."""

    def __init__(self, url: str, redis: str, schema: str, folder: Path) -> None:
        self.url, self.schema, self.folder = url, schema, folder
        self.saver = PlumbSaver(url, schema=schema)
        self.store = MemoryStore(redis)
        self.journal = journal_for(self.saver)
        blobs = PostgresBlobs(self.saver._core.db)
        self.workspace = Workspace(folder / "desk", blobs=blobs)
        skill = folder / "skills" / "pdf"
        skill.mkdir(parents=True)
        (skill / "SKILL.md").write_text(
            "---\nname: pdf\ndescription: Read PDF files.\n---\n\nUse the BLUE tool.\n"
        )
        self.bodies = FolderBlobs(folder / "bodies", space="skills")

    def script(self, out: str) -> Any:
        first = [] if out == "skills" else [call("load_skill", name="pdf")]
        tools = [call("shell", command="ls"), call("send", text="hello")]
        return [*first, tools, "all is written"]

    def model(self, out: str) -> ScriptedChatModel:
        return ScriptedChatModel(self.script(out), model_name="m")

    def router(self, model: Any) -> CostRouter:
        return CostRouter([ModelCard(model=model, price=Price.per_mtok(1, 4))])

    def tools(self, out: str) -> list[Any]:
        def shell(command: str) -> str:
            """Run a command."""
            return f"ran {command}"

        def send(text: str) -> str:
            """Send a message."""
            return f"sent {text}"

        return [shell, send if out == "effects" else effect(idempotent=True)(send)]

    def at_work(self, model: ScriptedChatModel, done: Any) -> set[str]:
        """The parts that left a trace of their own."""
        said = [m.text for m in done["messages"] if isinstance(m, ToolMessage)]
        with psycopg.connect(self.url) as connection:
            query = f"SELECT count(*) FROM {self.schema}.effects"
            row: Any = connection.execute(query).fetchone()
        found = {
            "memory": bool(self.store.recall(("users", "u"), "Portland")),
            "skills": "BLUE" in model.calls[-1].messages[0].text,
            "router": bool(done.get("ledger")),
            "effects": row[0] > 0,
            "workspace": bool(done.get("workspace")),
            "policy": not any(text == "ran ls" for text in said),
            "guard": "stop_reason" in done,
        }
        return {part for part, traced in found.items() if traced}

    def close(self) -> None:
        self.journal.close()
        self.saver.close()
        self.store.close()


@pytest.fixture
def world(postgres_url: str, redis_url: str, schema: str, tmp_path: Path) -> Iterator[World]:
    made = World(postgres_url, redis_url, schema, tmp_path)
    yield made
    made.close()


def ours(world: World, out: str, model: ScriptedChatModel) -> Any:
    """The agent of plain nodes: a part that is `None` is left out."""
    parts: dict[str, Any] = {
        "memory": Memory(namespace=PLACE),
        "skills": str(world.folder / "skills"),
        "effects": world.journal,
        "workspace": world.workspace,
        "policy": RULES,
        "guard": Guard(),
    }
    if out in parts:
        parts[out] = None
    asked: Any = model if out == "router" else world.router(model)
    tools = world.tools(out)
    return create_agent(asked, tools, checkpointer=world.saver, store=world.store, **parts)


def theirs(maker: Any, world: World, out: str, model: ScriptedChatModel) -> Any:
    """Another framework's agent: a part whose middleware is missing is left out."""
    tools = world.tools(out)
    middleware: dict[str, Any] = {
        "memory": MemoryMiddleware(PLACE),
        "skills": SkillMiddleware(str(world.folder / "skills"), blobs=world.bodies),
        "policy": PolicyMiddleware(RULES),
        "guard": GuardMiddleware(),
        "router": RouterMiddleware(world.router(model), journal=world.journal),
        "workspace": WorkspaceMiddleware(world.workspace),
    }
    if out != "effects":
        middleware["effects"] = EffectMiddleware(world.journal, [tools.pop()])
    middleware.pop(out, None)
    plain = model if out == "router" else ScriptedChatModel([], model_name="never")
    given = {"checkpointer": world.saver, "store": world.store}
    return maker(plain, tools, middleware=list(middleware.values()), **given)


def made(maker: str, world: World, out: str, model: ScriptedChatModel) -> Any:
    if maker == "plumbgraph":
        return ours(world, out, model)
    return theirs(langchain_agent if maker == "langchain" else create_deep_agent, world, out, model)


@pytest.mark.parametrize("maker", ["plumbgraph", "langchain", "deepagents"])
@pytest.mark.parametrize("out", ["nothing", *PARTS])
def test_a_part_that_is_left_out_takes_no_other_with_it(world: World, maker: str, out: str) -> None:
    model = world.model(out)
    done = made(maker, world, out, model).invoke(GIVEN, THREAD)
    assert done["messages"][-1].text == "all is written"
    assert world.at_work(model, done) == set(PARTS) - {out}
