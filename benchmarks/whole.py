"""The whole agent: processor time a step of every part alone and of all of them together.

A scripted model calls a tool 25 times: 50 steps of a bare LangGraph graph with InMemorySaver. The
same script runs with each part plugged in alone and with all parts on real servers; what the
process spends more, divided by the 50 steps, is the part's price. Background threads of the
process are counted, the servers' own time is not.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from benchmarks.setting import postgres_url, redis_url
from benchmarks.tables import machine, median, print_table, write_json
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
    trace,
)
from plumbgraph.agents import Memory
from plumbgraph.content import PostgresBlobs
from plumbgraph.memory import MemoryStore
from plumbgraph.postgres.statement import Statement
from plumbgraph.routing import Limit, Price
from plumbgraph.testing import Reply, ScriptedChatModel, call, tokens

STEPS, TURNS = 50, 25
TARGET_MS = 10.0
ASK: Any = {"messages": [("user", "Take notes.")]}


def respond(messages: Any) -> Any:
    turn = sum(isinstance(message, AIMessage) for message in messages)
    if turn >= TURNS:
        return Reply(text="done", usage=tokens(300, 5))
    word = "".join(chr(97 + (turn * 7 + n * n) % 26) for n in range(8))  # nothing repeats
    made = call("note", name=f"{turn % 5}.txt", text=word)
    return Reply(tool_calls=(made,), usage=tokens(300, 20))


def model() -> ScriptedChatModel:
    return ScriptedChatModel.from_messages(respond, model_name="m")


def noting(folder: Callable[[], Path]) -> Any:
    def note(name: str, text: str) -> str:
        """Write a note."""
        (folder() / name).write_text(text)
        return f"wrote about {text}"

    return note


def desk_folder() -> Path:
    return Workspace.current().folder


class House:
    """The servers' faces, and an agent for each mode."""

    def __init__(self, folder: Path, postgres: str, redis: str) -> None:
        self.folder, self.redis = folder, redis
        self.schema = f"bench_whole_{os.getpid()}"
        self.saver = PlumbSaver(postgres, schema=self.schema)
        self.store = MemoryStore(redis, tenant=self.schema)
        self.budget = Budget([Limit("thread", 100.0)], redis=redis, tenant=self.schema)
        skill = folder / "skills" / "noting" / "SKILL.md"
        skill.parent.mkdir(parents=True)
        skill.write_text("---\nname: noting\ndescription: Take notes.\n---\n\nBe brief.\n")
        (folder / "plain").mkdir()
        self.note = noting(lambda: folder / "plain")
        self.shared_note = noting(desk_folder)

    def bare(self) -> Any:
        """LangGraph alone."""
        bound = model().bind_tools([self.note])
        graph = StateGraph(MessagesState)
        graph.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
        graph.add_node("tools", ToolNode([self.note]))
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", tools_condition)
        graph.add_edge("tools", "model")
        return graph.compile(checkpointer=InMemorySaver())

    def agent(self, **parts: Any) -> Any:
        """Our agent with some parts; without any, on InMemorySaver."""
        asked = parts.pop("model", None) or model()
        tool = parts.pop("tool", self.note)
        settings = {"checkpointer": InMemorySaver(), **parts}
        return create_agent(asked, [tool], **settings)

    def router(self) -> CostRouter:
        card = ModelCard(model=model(), price=Price.per_mtok(1, 4))
        return CostRouter([card], budget=self.budget)

    def desk(self, name: str) -> Workspace:
        blobs = PostgresBlobs(self.saver.database)
        return Workspace(str(self.folder / name / "{thread_id}"), blobs=blobs)

    def all_parts(self) -> dict[str, Any]:
        """Every part there is."""
        return {
            "model": self.router(),
            "tool": effect(idempotent=True)(self.shared_note),
            "memory": Memory(namespace=("users", "{user_id}")),
            "skills": str(self.folder / "skills"),
            "workspace": self.desk("all"),
            "policy": Policy({"version": 1, "tools": {"deny": ["shell"]}}),
            "guard": Guard(max_steps=1000),
            "checkpointer": self.saver,
            "store": self.store,
            "system": "Be brief.",
        }

    def modes(self) -> dict[str, Any]:
        """The agent of each row."""
        saver = self.saver
        effects = {"tool": effect(idempotent=True)(self.note), "checkpointer": saver}
        memory = {"memory": Memory(namespace=("users", "{user_id}")), "store": self.store}
        return {
            "bare LangGraph": self.bare(),
            "our nodes, no part": self.agent(),
            "PlumbSaver": self.agent(checkpointer=saver),
            "memory": self.agent(**memory),
            "skills": self.agent(skills=str(self.folder / "skills")),
            "router and budget": self.agent(model=self.router()),
            "effects (with PlumbSaver)": self.agent(**effects),
            "workspace": self.agent(workspace=self.desk("one"), tool=self.shared_note),
            "policy": self.agent(policy={"version": 1, "tools": {"deny": ["shell"]}}),
            "guard": self.agent(guard=Guard(max_steps=1000)),
            "tracing": self.agent(),
            "all parts": self.agent(**self.all_parts()),
        }

    def close(self) -> None:
        self.saver.database.send((Statement("DROP SCHEMA {schema} CASCADE"),))
        for part in (self.saver, self.store, self.budget):
            part.close()


def cpu_ms(run: Callable[[], Any]) -> float:
    """Processor time of a whole run, in milliseconds."""
    gc.collect()
    began = time.process_time()
    run()
    return (time.process_time() - began) * 1000


def measure(house: House, rounds: int, only: str) -> tuple[list[dict[str, Any]], int]:
    """All modes in turn, round by round; the super-steps of the whole agent besides."""
    modes = {k: v for k, v in house.modes().items() if not only or k in {"bare LangGraph", only}}
    found: dict[str, list[float]] = {name: [] for name in modes}
    supersteps = 0
    for turn in range(rounds + 1):
        for name, agent in modes.items():
            thread = f"{name.replace(' ', '-')}-{turn}"
            config: Any = {"configurable": {"thread_id": thread, "user_id": thread}}
            with ExitStack() as watched:
                if name in {"tracing", "all parts"}:
                    watched.enter_context(trace(path=house.folder / "events.jsonl"))
                taken = cpu_ms(partial(agent.invoke, ASK, config))
            if turn:
                found[name].append(taken)
            if name == "all parts" and not turn:
                state = agent.get_state(config)
                supersteps = int(state.metadata["step"])
                assert len(state.values["ledger"]) == TURNS + 1
    bare = median(found["bare LangGraph"])
    rows = [
        {
            "part": name,
            "CPU ms a step": round(median(each) / STEPS, 2),
            "over bare": round((median(each) - bare) / STEPS, 2),
            "over bare, a turn": round((median(each) - bare) / TURNS, 2),
        }
        for name, each in found.items()
    ]
    return rows, supersteps


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="one part, beside the bare graph")
    asked, _ = parser.parse_known_args(argv)
    from plumbgraph import servers

    with ExitStack() as ending:
        postgres, redis = postgres_url(), redis_url()
        if not postgres or not redis:
            home = ending.enter_context(tempfile.TemporaryDirectory(prefix="plumb-bench-"))
            up = ending.enter_context(servers.up(home))
            postgres, redis = up.postgres_url, up.redis_url
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="plumb-whole-")))
        house = House(folder, postgres, redis)
        ending.callback(house.close)
        rows, supersteps = measure(house, asked.rounds, asked.only)
    print_table(f"The whole agent: {STEPS} steps of the bare graph, target {TARGET_MS} ms", rows)
    payload: dict[str, Any] = {
        "machine": machine("langgraph", "langchain-core", "psycopg", "redis"),
        "rows": rows,
        "target": {"CPU ms a step over bare, all parts": f"≤ {TARGET_MS:g}"},
    }
    if supersteps:
        over = next(row["over bare"] for row in rows if row["part"] == "all parts") * STEPS
        payload["all parts"] = {
            "super-steps of the whole agent": supersteps,
            "over bare, ms a super-step of its own": round(over / supersteps, 2),
        }
        print_table("All parts", [payload["all parts"]])
    if not asked.only:
        write_json("whole", payload)
    return payload


if __name__ == "__main__":
    main()
