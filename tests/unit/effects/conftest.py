from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph

from plumbgraph.agents.effects import EffectToolNode, journal_for
from plumbgraph.effects import Journal, effect
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver

T1: Any = {"configurable": {"thread_id": "t1"}}

START_STATE: Any = {"messages": [HumanMessage("go")]}


class Crash(BaseException):
    """Ends the run as a kill does: nothing that catches `Exception` sees it."""


class Ledger(list[str]):
    """The outside world: what happened there."""

    crash_before = crash_after = False
    error: Exception | None = None

    def pay(self, what: str) -> str:
        if self.crash_before:
            self.crash_before = False
            raise Crash
        self.append(what)
        if self.error:
            error, self.error = self.error, None
            raise error
        if self.crash_after:
            self.crash_after = False
            raise Crash
        return f"paid {what}"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


class Counting(Database):
    """Counts what is asked of it; heartbeats come when they come."""

    sent = 0

    def _count(self, batch: Any) -> None:
        self.sent += not all("SET beat_at" in each.sql for each in batch)

    def _send(self, batch: Any) -> Any:
        self._count(batch)
        return super()._send(batch)

    async def _asend(self, batch: Any) -> Any:
        self._count(batch)
        return await super()._asend(batch)


def call(name: str = "pay", call_id: str = "c1", **args: Any) -> Any:
    return {"name": name, "args": args or {"what": "rent"}, "id": call_id, "type": "tool_call"}


def agent(
    node: Any, saver: Any, *calls: Any, turns: int = 1, after: Callable[[], None] | None = None
) -> Any:
    """A model that asks `turns` times for the same calls, and its tools."""

    def model(state: MessagesState) -> Any:
        asked = sum(isinstance(m, AIMessage) and bool(m.tool_calls) for m in state["messages"])
        if asked >= turns:
            return {"messages": [AIMessage("done")]}
        return {"messages": [AIMessage("", tool_calls=list(calls) or [call()])]}

    def check(state: MessagesState) -> None:
        if after:
            after()

    graph: Any = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", node)
    graph.add_node("check", check)
    graph.add_edge(START, "model")
    graph.add_conditional_edges(
        "model", lambda s: "tools" if s["messages"][-1].tool_calls else END, ["tools", END]
    )
    graph.add_edge("tools", "check")
    graph.add_edge("check", "model")
    return graph.compile(checkpointer=saver)


def paying(ledger: Ledger, journal: Journal, **options: Any) -> EffectToolNode:
    @tool
    def pay(what: str) -> str:
        """Pay."""
        return ledger.pay(what)

    return EffectToolNode([effect(**options)(pay)], journal=journal)


def answers(state: Any) -> list[str]:
    return [str(m.content) for m in state["messages"] if isinstance(m, ToolMessage)]


def rows(database: Database, columns: str = "state") -> list[Any]:
    found = database.send((Statement(f"SELECT {columns} FROM {{schema}}.effects ORDER BY name"),))
    return [row[0] if len(row) == 1 else row for row in found[0]]


@pytest.fixture
def database(postgres_url: str, schema: str) -> Iterator[Database]:
    with Database(postgres_url, schema=schema) as database:
        yield database


@pytest.fixture
def saver(database: Database) -> PlumbSaver:
    return PlumbSaver(database)


@pytest.fixture
def journal(saver: PlumbSaver) -> Iterator[Journal]:
    with journal_for(saver, wait_s=5, busy_wait_s=0.3) as journal:
        yield journal


@pytest.fixture
def kit() -> Any:
    """What the tests of the node share: a scripted agent, and looks into the journal."""
    return SimpleNamespace(
        Counting=Counting,
        Crash=Crash,
        T1=T1,
        START_STATE=START_STATE,
        call=call,
        agent=agent,
        paying=paying,
        answers=answers,
        rows=rows,
    )
