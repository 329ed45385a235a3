"""One agent with every part on, which kills its own process at the moment it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage

from plumbgraph import Budget, CostRouter, Guard, ModelCard, Policy, Workspace, create_agent, effect
from plumbgraph.agents import Memory
from plumbgraph.content import PostgresBlobs
from plumbgraph.effects import Done, Outcome, current_effect
from plumbgraph.memory import MemoryStore
from plumbgraph.routing import Limit, Price
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel, call

THREAD: Any = {"configurable": {"thread_id": "t", "user_id": "ann"}}
GIVEN: Any = {"messages": [("user", "Write about Portland and tell the others.")]}
SCRIPT: Any = [
    call("load_skill", name="pdf"),
    [call("note", name="a.txt", text="one"), call("note", name="b.txt", text="two")],
    [call("send", text="hello"), call("note", name="a.txt", text="three")],
    call("shell", command="rm -rf /"),
    "all notes finished",
]


class Whole:
    """The agent on real servers, and what it does outside: a folder and a ledger file.

    Args:
        told: `postgres`, `redis`, `schema`, `folder`, and `moment`: when to die, one of `asked`,
            `written`, `sent` and `extracted`.
    """

    def __init__(self, told: dict[str, str]) -> None:
        self.folder = Path(told["folder"])
        self.moment = told.get("moment", "")
        self.outside = self.folder / "ledger.txt"
        self.saver = PlumbSaver(told["postgres"], schema=told["schema"])
        self.store = MemoryStore(told["redis"])
        self.budget = Budget([Limit("thread", 1.0)], redis=told["redis"])
        blobs = PostgresBlobs(self.saver._core.db)
        self.workspace = Workspace(self.folder / "desk", blobs=blobs)
        self.agent = self._agent()

    def _agent(self) -> Any:
        model = ScriptedChatModel.from_messages(self._respond, model_name="m")
        policy = Policy({"version": 1, "tools": {"deny": ["shell"]}})
        card = ModelCard(model=model, price=Price.per_mtok(1, 4))
        return create_agent(
            CostRouter([card], policy=policy, budget=self.budget),
            self._tools(),
            system="You are careful.",
            memory=Memory(namespace=("users", "{user_id}"), extract=self._extract),
            skills=str(self.folder / "skills"),
            workspace=self.workspace,
            policy=policy,
            guard=Guard(),
            checkpointer=self.saver,
            store=self.store,
        )

    def die(self, moment: str) -> None:
        """End this process as the kernel does when memory runs out, if this is the moment."""
        if moment == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def _respond(self, messages: Any) -> Any:
        turn = sum(isinstance(message, AIMessage) for message in messages)
        if turn == 1:
            self.die("asked")
        return SCRIPT[turn]

    def _extract(self, messages: Any) -> list[Any]:
        self.die("extracted")
        return []

    def _tools(self) -> list[Any]:
        def note(name: str, text: str) -> str:
            """Write a note."""
            (Workspace.current().folder / name).write_text(text)
            if text == "two":
                self.die("written")
            return f"wrote {name}"

        def shell(command: str) -> str:
            """Run a command."""
            raise AssertionError(command)

        def known(key: str) -> Any:
            sent = self.outside.read_text() if self.outside.exists() else ""
            return Done("sent") if key in sent else Outcome.NOT_DONE

        @effect(reconcile=known)
        def send(text: str) -> str:
            """Tell the others."""
            with self.outside.open("a") as ledger:
                ledger.write(f"{current_effect().key} {text}\n")
                ledger.flush()
                os.fsync(ledger.fileno())
            self.die("sent")
            return "sent"

        return [note, shell, send]

    def close(self) -> None:
        """Close the connections."""
        self.saver.close()
        self.store.close()
        self.budget.close()


def main(told: dict[str, str]) -> None:
    """Begin the thread, or go on with it."""
    whole = Whole(told)
    begun = whole.saver.get_tuple(THREAD) is not None
    value = None if begun else GIVEN
    if told["colour"] == "async":
        asyncio.run(whole.agent.ainvoke(value, THREAD, durability="sync"))
    else:
        whole.agent.invoke(value, THREAD, durability="sync")
    whole.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
