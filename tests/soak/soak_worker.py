"""One worker of the soak: several threads of one agent with every part on, driven to their end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage

from plumbgraph import (
    Budget,
    CostRouter,
    Guard,
    ModelCard,
    PlumbSaver,
    Policy,
    Workspace,
    create_agent,
    effect,
)
from plumbgraph.agents import Memory
from plumbgraph.content import PostgresBlobs
from plumbgraph.effects import Done, Outcome, current_effect
from plumbgraph.errors import BudgetSpent
from plumbgraph.memory import MemoryStore
from plumbgraph.routing import Limit, Price, RoutedChatModel
from plumbgraph.testing import Reply, ScriptedChatModel, call, tokens

FILES = 4
STEPS_A_TURN = 2
THREAD_USD, RUSH_USD, RUSHES = 0.5, 0.001, 5
_PAUSE_S = 0.3
SLACK = 2


def turns_of(steps: int) -> int:
    """How many turns of the model a run of so many super-steps has."""
    return max(4, steps // STEPS_A_TURN)


def sends(turn: int, turns: int) -> bool:
    """Whether a turn reaches outside."""
    return 0 < turn < turns - 2 and turn % 4 == 0


def remembers(turn: int, turns: int) -> bool:
    """Whether a turn remembers a fact."""
    return 0 < turn < turns - 2 and turn % 10 == 1


def reply_of(name: str, turn: int, turns: int) -> Any:
    """What the model says at a turn; always the same."""
    if turn >= turns - 1:
        return Reply(text="finished", usage=tokens(300, 5))
    if turn == 0:
        calls = [call("load_skill", name="soaking")]
    elif turn == turns - 2:
        calls = [call("unload_skill", name="soaking")]
    else:
        calls = [call("note", name=f"{turn % FILES}.txt", text=f"{name} {turn}")]
        calls += [call("send", text=f"{name} {turn}")] if sends(turn, turns) else []
        progress = {"subject": name, "attribute": "progress", "value": str(turn)}
        calls += [call("remember", **progress)] if remembers(turn, turns) else []
    return Reply(tool_calls=tuple(calls), usage=tokens(300, 20))


class Worker:
    """The agent, and the threads it drives."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.folder = Path(told["folder"])
        self.turns = turns_of(told["steps"])
        self.saver = PlumbSaver(told["postgres"], schema=told["schema"], pool_max=4)
        self.store = MemoryStore(told["redis"], durability="wait", wait_s=5.0)
        self.budget = Budget(
            [Limit("tenant", 100.0), Limit("thread", THREAD_USD)], redis=told["redis"], lease_s=20
        )
        self.rush = Budget(RUSH_USD, redis=told["redis"], tenant="rush", lease_s=20)
        self.printing = threading.Lock()
        self.models: list[ScriptedChatModel] = []
        self.agent = self._agent()
        self.rushed = RoutedChatModel(CostRouter([self._card()], budget=self.rush))

    def _card(self) -> ModelCard:
        model = ScriptedChatModel.from_messages(self._respond, model_name="m")
        self.models.append(model)
        return ModelCard(model=model, price=Price.per_mtok(1, 4), max_output_tokens=100)

    def _agent(self) -> Any:
        policy = Policy({"version": 1, "tools": {"deny": ["shell"]}})
        blobs = PostgresBlobs(self.saver.database)
        return create_agent(
            CostRouter([self._card()], policy=policy, budget=self.budget),
            self._tools(),
            system="You are patient.",
            memory=Memory(namespace=("users", "{user_id}")),
            skills=str(self.folder / "skills"),
            workspace=Workspace(str(self.folder / "desks" / "{thread_id}"), blobs=blobs),
            policy=policy,
            guard=Guard(max_steps=10_000),
            checkpointer=self.saver,
            store=self.store,
        )

    def _respond(self, messages: Any) -> Any:
        name = next(str(m.text) for m in messages if m.type == "human")
        if name.startswith("rush"):
            return Reply(text="ok", usage=tokens(20, 5))
        for model in self.models:
            model.forget_calls()  # each holds its thread's messages: they would be all that grows
        turn = sum(isinstance(message, AIMessage) for message in messages)
        self.say(event="turn", thread=name, turn=turn)
        return reply_of(name, turn, self.turns)

    def _tools(self) -> list[Any]:
        def note(name: str, text: str) -> str:
            """Write a note."""
            self._wait_for_trouble(int(text.split()[1]))
            (Workspace.current().folder / name).write_text(text)
            return "written"

        def known(key: str) -> Any:
            outside = self.folder / "outside.txt"
            told = outside.read_text() if outside.exists() else ""
            return Done("sent") if key in told else Outcome.NOT_DONE

        @effect(reconcile=known)
        def send(text: str) -> str:
            """Tell the others."""
            line = f"{current_effect().key} {text}\n"
            handle = os.open(self.folder / "outside.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                os.write(handle, line.encode())
            finally:
                os.close(handle)
            return "sent"

        return [note, send]

    def _wait_for_trouble(self, turn: int) -> None:
        """Nobody runs away from a trouble: far behind its moment a thread waits until it came."""
        for number, share in enumerate(self.told["troubles"]):
            while turn > share * self.turns + SLACK and not self._came(number):
                time.sleep(_PAUSE_S)

    def _came(self, number: int) -> bool:
        return (self.folder / f"trouble-{number}").exists()

    def say(self, **told: Any) -> None:
        """One line to whoever watches."""
        with self.printing:
            print(json.dumps(told), flush=True)  # noqa: T201 - what the parent reads

    def run(self) -> None:
        """Drive all threads, in this worker's colour."""
        if self.told["colour"] == "async":
            asyncio.run(self._arun())
            return
        with ThreadPoolExecutor(len(self.told["threads"])) as pool:
            list(pool.map(self._drive, self.told["threads"]))
        for part in (self.saver, self.store, self.budget, self.rush):
            part.close()

    async def _arun(self) -> None:
        await asyncio.gather(*map(self._adrive, self.told["threads"]))
        for part in (self.saver, self.store, self.budget, self.rush):
            await part.aclose()

    def _drive(self, name: str) -> None:
        config = config_of(name)
        while True:
            try:
                begun = self.saver.get_tuple(config) is not None
                self.agent.invoke(given(name, begun=begun), config, durability="sync")
                break
            except ConnectionError as error:
                self.say(event="retry", thread=name, why=repr(error)[:200])
                time.sleep(_PAUSE_S)
        for number in range(RUSHES):
            self._rush(name, number)
        self.say(event="done", thread=name)

    def _rush(self, name: str, number: int) -> None:
        try:
            self.rushed.invoke(f"rush {name} {number}")
        except (BudgetSpent, ConnectionError) as error:
            self.say(event="refused", why=type(error).__name__)

    async def _adrive(self, name: str) -> None:
        config = config_of(name)
        while True:
            try:
                begun = await self.saver.aget_tuple(config) is not None
                await self.agent.ainvoke(given(name, begun=begun), config, durability="sync")
                break
            except ConnectionError as error:
                self.say(event="retry", thread=name, why=repr(error)[:200])
                await asyncio.sleep(_PAUSE_S)
        for number in range(RUSHES):
            await asyncio.to_thread(self._rush, name, number)
        self.say(event="done", thread=name)


def config_of(name: str) -> Any:
    """A thread's config; its user is itself."""
    return {"configurable": {"thread_id": name, "user_id": name}}


def given(name: str, *, begun: bool) -> Any:
    """What starts a thread; nothing for one that has begun, which goes on to its end."""
    return None if begun else {"messages": [("user", name)]}


if __name__ == "__main__":
    Worker(json.loads(sys.argv[1])).run()
