"""An agent with two subagents at a time, which kills its own process where it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage

from plumbgraph import Budget, CostRouter, ModelCard, Workspace, create_agent, effect
from plumbgraph.agents import Memory, subagent
from plumbgraph.content import PostgresBlobs
from plumbgraph.effects import Done, Outcome, current_effect
from plumbgraph.memory import MemoryStore
from plumbgraph.routing import Price
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel, call

CONFIG: Any = {"configurable": {"thread_id": "boss", "user_id": "ann"}}
GIVEN: Any = {"messages": [("user", "Write both chapters.")]}
BOSS: Any = [
    call("write", name="plan.md", text="two chapters"),
    [call("writer", task="one"), call("writer", task="two")],
    call("index"),
    "both are there",
]


class Team:
    """A boss and its writers on real servers.

    Args:
        told: `postgres`, `redis`, `schema`, `folder`, and `moment`: when to die, as
            `one:written` or `two:sent`.
    """

    def __init__(self, told: dict[str, str]) -> None:
        self.told = told
        self.folder = Path(told["folder"])
        self.moment = told.get("moment", "")
        self.outside = self.folder / "ledger.txt"
        self.saver = PlumbSaver(told["postgres"], schema=told["schema"])
        self.store = MemoryStore(told["redis"])
        self.budget = Budget(redis=told["redis"])
        blobs = PostgresBlobs(self.saver.database)
        self.workspace = Workspace(self.folder / "desk", blobs=blobs)
        self.writer = self._agent(self._write_chapter, [self._write(), self._send()], memory=True)
        writer = subagent(
            self.writer,
            name="writer",
            description="Writes a chapter.",
            ttl_s=float(told.get("ttl_s", "30")),
        )
        self.agent = self._agent(self._lead, [self._write(), self._index(), writer])

    def _agent(self, respond: Any, tools: list[Any], *, memory: bool = False) -> Any:
        model = ScriptedChatModel.from_messages(respond, model_name="m")
        kept = Memory(namespace=("book",), keep_messages=False) if memory else None
        return create_agent(
            CostRouter([ModelCard(model=model, price=Price.per_mtok(1, 4))], budget=self.budget),
            tools,
            workspace=self.workspace,
            memory=kept,
            checkpointer=self.saver,
            store=self.store,
        )

    def _lead(self, messages: Any) -> Any:
        return BOSS[sum(isinstance(message, AIMessage) for message in messages)]

    def _write_chapter(self, messages: Any) -> Any:
        task = next(str(m.text) for m in messages if m.type == "human")
        turn = sum(isinstance(message, AIMessage) for message in messages)
        script: Any = [
            call("write", name=f"{task}.md", text=f"chapter {task}, after plan: "),
            [
                call("send", text=task),
                call("remember", subject=task, attribute="is", value="written"),
            ],
            f"chapter {task} is written",
        ]
        return script[turn]

    def die(self, moment: str) -> None:
        """End this process as the kernel does, if this is the moment."""
        if moment == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self) -> Any:
        def write(name: str, text: str) -> str:
            """Write a file; a chapter quotes the plan that its writer finds."""
            folder = Workspace.current().folder
            plan = folder / "plan.md"
            quoted = plan.read_text() if text.endswith(": ") else ""
            (folder / name).write_text(text + quoted)
            self.die(f"{name.removesuffix('.md')}:written")
            return "written"

        return write

    def _index(self) -> Any:
        def index() -> str:
            """List the chapters."""
            folder = Workspace.current().folder
            names = sorted(f.name for f in folder.iterdir() if f.stem in {"one", "two"})
            (folder / "index.md").write_text(" ".join(names))
            return "listed"

        return index

    def _send(self) -> Any:
        def known(key: str) -> Any:
            told = self.outside.read_text() if self.outside.exists() else ""
            return Done("sent") if key in told else Outcome.NOT_DONE

        @effect(reconcile=known)
        def send(text: str) -> str:
            """Tell the others."""
            with self.outside.open("a") as ledger:
                ledger.write(f"{current_effect().key} {text}\n")
            self.die(f"{text}:sent")
            return "sent"

        return send

    @staticmethod
    def period() -> str:
        """The month of the bill."""
        return f"{datetime.now(UTC):%Y%m}"

    def close(self) -> None:
        """Close the connections."""
        self.saver.close()
        self.store.close()
        self.budget.close()


def main(told: dict[str, str]) -> None:
    """Begin the thread, or go on with it."""
    team = Team(told)
    begun = team.saver.get_tuple(CONFIG) is not None
    value = None if begun else GIVEN
    if told["colour"] == "async":
        asyncio.run(team.agent.ainvoke(value, CONFIG, durability="sync"))
    else:
        team.agent.invoke(value, CONFIG, durability="sync")
    team.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
