"""A crash before the effect began leaves no doubt: nobody is asked, and it happens once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, MessagesState, StateGraph

from plumbgraph.agents.effects import EffectToolNode
from plumbgraph.effects import Journal, effect
from plumbgraph.effects.owner import me
from plumbgraph.effects.start import Start
from plumbgraph.errors import ClaimLost, StoreUnavailable
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver

Before = Callable[[BaseException | Callable[[], object]], None]


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Before:
    """Something that happens once, right before the last mark."""
    really = Start.plan

    def once(what: BaseException | Callable[[], object]) -> None:
        left = [what]

        def plan(self: Start) -> Any:
            if left:
                found = left.pop()
                if isinstance(found, BaseException):
                    raise found
                found()
            return (yield from really(self))

        monkeypatch.setattr(Start, "plan", plan)

    return once


class Paying(BaseTool):
    """A tool that is no function."""

    name: str = "pay"
    description: str = "Pay."
    ledger: Any

    def _run(self, what: str) -> str:
        return str(self.ledger.pay(what))

    async def _arun(self, what: str) -> str:
        return str(self.ledger.pay(what))


def above(ledger: Any) -> Any:
    @tool
    @effect
    def pay(what: str) -> str:
        """Pay."""
        return str(ledger.pay(what))

    return pay


def both(ledger: Any) -> Any:
    @effect
    @tool
    async def pay(what: str) -> str:
        """Pay."""
        return str(ledger.pay(what))

    pay.func = above(ledger).func
    return pay


def unmarked_inside(ledger: Any) -> Any:
    pay = above(ledger)
    return effect(pay).model_copy(update={"func": pay.func.__wrapped__})


TOOLS = {
    "a function": above,
    "both colours": both,
    "a class": lambda ledger: effect(Paying(ledger=ledger)),
    "a function that lost its mark": unmarked_inside,
}


def run(graph: Any, given: Any, *, asynchronous: bool, config: Any) -> Any:
    if asynchronous:
        return asyncio.run(graph.ainvoke(given, config))
    return graph.invoke(given, config)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", TOOLS)
def test_a_crash_before_the_mark_asks_nobody(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database, before: Before,
    kind: str, wrapped: Any, asynchronous: Any,
) -> None:  # fmt: skip
    async def acall(request: Any, execute: Any) -> Any:
        return await execute(request)

    options = {"wrap_tool_call": lambda r, execute: execute(r), "awrap_tool_call": acall}
    node = EffectToolNode([TOOLS[kind](ledger)], journal=journal, **(options if wrapped else {}))
    graph = kit.agent(node, saver)
    before(kit.Crash())
    with pytest.raises(kit.Crash):
        run(graph, kit.START_STATE, asynchronous=asynchronous, config=kit.T1)
    assert ledger == []
    assert kit.rows(database, "state, attempt, unbegun") == [("intent", 1, 1)]
    state = run(graph, None, asynchronous=asynchronous, config=kit.T1)
    assert "__interrupt__" not in state
    assert ledger == ["rent"]
    assert kit.answers(state) == ["paid rent"]
    assert kit.rows(database, "state, attempt, unbegun, asked") == [("done", 2, None, False)]


@pytest.mark.parametrize("kind", TOOLS)
def test_a_crash_behind_the_mark_is_asked_about(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, kind: str
) -> None:
    ledger.crash_before = True
    graph = kit.agent(EffectToolNode([TOOLS[kind](ledger)], journal=journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    assert "__interrupt__" in graph.invoke(None, kit.T1)
    assert ledger == []


def in_a_node(effect_call: Callable[[], str], saver: PlumbSaver) -> Any:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("node", lambda _: {"messages": [AIMessage(effect_call())]})
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile(checkpointer=saver)


def test_a_nodes_own_call_too(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, before: Before
) -> None:
    pay = effect(ledger.pay)
    graph = in_a_node(lambda: str(journal.call(pay, "rent")), saver)
    before(kit.Crash())
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    assert "__interrupt__" not in graph.invoke(None, kit.T1)
    assert ledger == ["rent"]


@pytest.mark.parametrize("change", ["unbegun = NULL", "attempt = 7"])
def test_without_the_promise_of_a_mark_it_is_asked_about(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database, before: Before,
    change: str,
) -> None:  # fmt: skip
    """As an older plumbgraph leaves a row, which made no mark before its effects."""
    graph = kit.agent(kit.paying(ledger, journal), saver)
    before(kit.Crash())
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    database.send((Statement(f"UPDATE {{schema}}.effects SET {change}"),))
    assert "__interrupt__" in graph.invoke(None, kit.T1)
    assert ledger == []


@pytest.mark.parametrize("handled", [False, True])
def test_one_that_was_overtaken_does_not_begin(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database, before: Before,
    handled: Any,
) -> None:  # fmt: skip
    """A process that was stopped for long wakes up after another took its call over."""
    node = EffectToolNode([above(ledger)], journal=journal, handle_tool_errors=handled)
    graph = kit.agent(node, saver)
    overtaken = Statement("UPDATE {schema}.effects SET state = 'void'")
    before(lambda: database.send((overtaken,)))
    with pytest.raises(ClaimLost, match="before it began"):
        graph.invoke(kit.START_STATE, kit.T1)
    assert ledger == []
    assert kit.answers(graph.invoke(None, kit.T1)) == ["paid rent"]
    assert ledger == ["rent"]


def test_one_that_begins_after_all_is_not_declared_unbegun(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database, before: Before,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Between the look at the journal and what follows from it, its owner woke up."""
    graph = kit.agent(kit.paying(ledger, journal), saver)
    before(kit.Crash())
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    from plumbgraph.effects import statements

    really = statements.not_begun

    def slow(*args: Any) -> Statement:
        database.send((Statement("UPDATE {schema}.effects SET unbegun = NULL"),))
        return really(*args)

    monkeypatch.setattr(statements, "not_begun", slow)
    assert "__interrupt__" in graph.invoke(None, kit.T1)
    assert kit.rows(database) == ["intent"]


def test_a_mark_that_cannot_be_made_stops_the_effect(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, before: Before
) -> None:
    graph = kit.agent(kit.paying(ledger, journal, not_done_on=(ValueError,)), saver)
    before(StoreUnavailable("cut"))
    with pytest.raises(StoreUnavailable):
        graph.invoke(kit.START_STATE, kit.T1)
    assert ledger == []
    assert "__interrupt__" not in graph.invoke(None, kit.T1)
    assert ledger == ["rent"]


def test_an_error_before_the_mark_is_no_doubt(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    node = EffectToolNode([above(ledger)], journal=journal, handle_tool_errors=False)
    graph = kit.agent(node, saver, kit.call(wrong="argument"))
    with pytest.raises(Exception, match="what"):
        graph.invoke(kit.START_STATE, kit.T1)
    assert kit.rows(database) == ["void"]


def test_an_open_call_that_never_began_is_told_so_and_stays_so(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database, before: Before
) -> None:
    graph = kit.agent(kit.paying(ledger, journal), saver)
    before(kit.Crash())
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    asking = graph.get_state(kit.T1).values["messages"][-1]
    call = (asking.id, asking.tool_calls[0]["id"])
    assert journal.known("t1", [call])[call].state == "unknown", "its process still lives"
    gone = me().rsplit(":", 2)[0] + ":1:1"
    database.send((Statement("UPDATE {schema}.effects SET owner = %s", (gone,)),))
    assert asyncio.run(journal.aknown("t1", [call])) == {}
    assert kit.rows(database) == ["void"]


@pytest.mark.parametrize("options", [{"idempotent": True}, {"reconcile": lambda _: None}])
def test_what_needs_nobody_makes_no_mark(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, before: Before, options: Any
) -> None:
    before(AssertionError("a mark"))
    graph = kit.agent(kit.paying(ledger, journal, **options), saver)
    graph.invoke(kit.START_STATE, kit.T1)
    assert ledger == ["rent"]
