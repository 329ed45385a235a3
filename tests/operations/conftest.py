"""An agent with every part on, at any servers and in any folder, that stops to ask a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.types import Command, interrupt

from plumbgraph import (
    Budget,
    CostRouter,
    Fact,
    MemoryStore,
    ModelCard,
    PlumbSaver,
    Workspace,
    create_agent,
    effect,
)
from plumbgraph.agents import Memory
from plumbgraph.content import PostgresBlobs
from plumbgraph.routing import Limit, Payer, Price
from plumbgraph.skills.registry import RegistrySource, SkillRegistry
from plumbgraph.testing import ScriptedChatModel, call

SKILL = "---\nname: pdf\ndescription: Read PDF files.\n---\nUse the BLUE tool.\n"
CITIES = ("users", "ann")
SCRIPT: Any = [
    call("load_skill", name="pdf"),
    [call("note", name="a.txt", text="one"), call("send", text="hello")],
    call("ask", question="May I go on?"),
    call("send", text="goodbye"),
    "all done",
]


class Office:
    """The agent, its servers, and what it sent to the world outside."""

    def __init__(self, postgres: str, redis: str, folder: Path, *, schema: str) -> None:
        folder.mkdir(exist_ok=True)
        self.outside: list[str] = []
        self.saver = PlumbSaver(postgres, schema=schema)
        self.store = MemoryStore(redis)
        self.budget = Budget([Limit("thread", 1.0), Limit("tenant", 9.0, "month")], redis=redis)
        self.registry = SkillRegistry(redis)
        self.desk = Workspace(folder / "desk", blobs=PostgresBlobs(self.saver._core.db))
        self.agent = self._agent(redis)

    def _agent(self, redis: str) -> Any:
        model = ScriptedChatModel.from_messages(self._respond, model_name="m")
        return create_agent(
            CostRouter([ModelCard(model=model, price=Price.per_mtok(1, 4))], budget=self.budget),
            self._tools(),
            memory=Memory(namespace=("users", "{user_id}")),
            skills=[RegistrySource(redis)],
            workspace=self.desk,
            checkpointer=self.saver,
            store=self.store,
        )

    def _respond(self, messages: Any) -> Any:
        return SCRIPT[sum(isinstance(message, AIMessage) for message in messages)]

    def _tools(self) -> list[Any]:
        @effect
        def send(text: str) -> str:
            """Tell the others."""
            self.outside.append(text)
            return f"sent {text}"

        def note(name: str, text: str) -> str:
            """Write a note."""
            (Workspace.current().folder / name).write_text(text)
            return f"wrote {name}"

        def ask(question: str) -> str:
            """Ask a person."""
            return str(interrupt(question))

        return [note, send, ask]

    def publish(self, folder: Path) -> None:
        """Put the skill that the agent loads into the shared registry."""
        from plumbgraph import SkillLibrary

        place = folder / "source" / "pdf"
        place.mkdir(parents=True)
        (place / "SKILL.md").write_text(SKILL)
        self.registry.publish(SkillLibrary([folder / "source"]).open("pdf"))

    def begin(self, thread: str) -> Any:
        """Run until the agent asks."""
        value = {"messages": [("user", "Write about Portland and tell the others.")]}
        return self.agent.invoke(value, self.config(thread), durability="sync")

    def answer(self, thread: str) -> Any:
        """Answer the question; the run goes on to its end."""
        return self.agent.invoke(Command(resume="yes"), self.config(thread), durability="sync")

    def config(self, thread: str) -> Any:
        return {"configurable": {"thread_id": thread, "user_id": "ann"}}

    def move(self, city: str) -> Any:
        """A fact that supersedes the one before."""
        return self.store.remember(CITIES, Fact("Ann", "home_city", city))

    def spent(self, thread: str) -> int:
        """What the ledger says a thread cost, in nano-dollars."""
        accounts = self.budget.balances(Payer(thread=thread))
        return next(each.spent_nano for each in accounts if "thread" in each.account)

    def close(self) -> None:
        self.saver.close()
        self.store.close()
        self.budget.close()
        self.registry.redis.close()


@pytest.fixture
def office() -> Iterator[Callable[..., Office]]:
    """Makes offices, and closes them."""
    made: list[Office] = []

    def make(postgres: str, redis: str, folder: Path, *, schema: str = "plumbgraph") -> Office:
        made.append(Office(postgres, redis, folder, schema=schema))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def page(root: Path) -> Callable[[str], list[str]]:
    """The code blocks of a kind on the page for operators."""

    def blocks(kind: str) -> list[str]:
        text = (root / "docs" / "operations.md").read_text()
        return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    return blocks
