"""Effects in a graph on real servers: once, through failure, resume and fork."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from plumbgraph.agents.effects import EffectToolNode, journal_for
from plumbgraph.effects import Journal, effect
from plumbgraph.errors import SettingsError, StoreUnavailable
from plumbgraph.postgres.pool import Database
from plumbgraph.state import PlumbSaver


def test_without_a_journal_it_is_not_made(ledger: Any) -> None:
    with pytest.raises(SettingsError, match="needs a journal"):
        EffectToolNode([], journal=None)  # type: ignore[arg-type]


def test_it_runs_and_is_on_record(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    state = kit.agent(kit.paying(ledger, journal), saver).invoke(kit.START_STATE, kit.T1)
    assert kit.answers(state) == ["paid rent"]
    assert ledger == ["rent"]
    assert kit.rows(database, "state, call_id, attempt") == [("done", "c1", 1)]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_node_that_runs_again_gets_the_recorded_answer(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, durability: Any
) -> None:
    fails = [True]

    @effect
    @tool
    def pay(what: str) -> str:
        """Pay."""
        return str(ledger.pay(what))

    @tool
    def report(what: str) -> str:
        """Report; a crash here runs the whole node again."""
        if fails:
            fails.clear()
            raise kit.Crash
        return "reported"

    calls = [kit.call(call_id="c1"), kit.call("report", "c2", what="x")]
    graph = kit.agent(EffectToolNode([pay, report], journal=journal), saver, *calls)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1, durability=durability)
    again = None if graph.get_state(kit.T1).created_at else kit.START_STATE
    state = graph.invoke(again, kit.T1, durability=durability)
    assert ledger == ["rent"]
    assert kit.answers(state) == ["paid rent", "reported"]


async def test_async_too(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    fails = [True]

    @effect
    @tool
    async def pay(what: str) -> str:
        """Pay."""
        await asyncio.sleep(0)
        return str(ledger.pay(what))

    @tool
    async def report(what: str) -> str:
        """Report, once the other call is on record."""
        while "done" not in await asyncio.to_thread(kit.rows, database):  # noqa: ASYNC110 - a row
            await asyncio.sleep(0.02)
        if fails:
            fails.clear()
            raise RuntimeError("no")
        return "reported"

    calls = [kit.call(call_id="c1"), kit.call("report", "c2", what="x")]
    graph = kit.agent(EffectToolNode([pay, report], journal=journal), saver, *calls)
    with pytest.raises(RuntimeError):
        await graph.ainvoke(kit.START_STATE, kit.T1)
    state = await graph.ainvoke(None, kit.T1)
    assert ledger == ["rent"]
    assert kit.answers(state) == ["paid rent", "reported"]


@pytest.mark.parametrize("durability", ["async", "exit"])
def test_the_same_call_asked_for_again_is_a_new_effect(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, durability: Any
) -> None:
    """Some models name every tool call alike; the message that holds it tells them apart."""
    kit.agent(kit.paying(ledger, journal), saver, turns=3).invoke(
        kit.START_STATE, kit.T1, durability=durability
    )
    assert ledger == ["rent"] * 3


def test_two_equal_calls_in_one_message_are_two_effects(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    kit.agent(
        kit.paying(ledger, journal), saver, kit.call(call_id="a"), kit.call(call_id="b")
    ).invoke(kit.START_STATE, kit.T1)
    assert ledger == ["rent"] * 2


@pytest.mark.parametrize("kind", ["plumb", "memory"])
def test_a_deliberate_fork_is_a_new_effect(
    kit: Any, ledger: Any, database: Database, saver: PlumbSaver, kind: str
) -> None:
    used: Any = saver if kind == "plumb" else InMemorySaver()
    with journal_for(used, database) as journal:
        graph = kit.agent(kit.paying(ledger, journal), used)
        graph.invoke(kit.START_STATE, kit.T1)
        before = next(s for s in graph.get_state_history(kit.T1) if s.next == ("tools",))
        graph.invoke(None, before.config)
        assert ledger == ["rent"] * 2
        updated = graph.update_state(before.config, {"messages": []})
        graph.invoke(None, updated)
        assert ledger == ["rent"] * 3


def test_tools_that_are_not_marked_run_as_ever(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    @tool
    def pay(what: str) -> str:
        """Pay."""
        return str(ledger.pay(what))

    kit.agent(EffectToolNode([pay], journal=journal), saver).invoke(kit.START_STATE, kit.T1)
    assert ledger == ["rent"]
    assert kit.rows(database) == []


def test_a_marked_tool_refuses_a_plain_tool_node(kit: Any, ledger: Any, saver: PlumbSaver) -> None:
    @effect
    @tool
    def pay(what: str) -> str:
        """Pay."""
        return str(ledger.pay(what))

    with pytest.raises(SettingsError, match="without a journal"):
        kit.agent(ToolNode([pay]), saver).invoke(kit.START_STATE, kit.T1)
    assert pay.invoke({"what": "outside a graph"}) == "paid outside a graph"
    assert ledger == ["outside a graph"]


def test_without_a_thread_it_refuses(kit: Any, ledger: Any, journal: Journal) -> None:
    with pytest.raises(SettingsError, match="checkpointer"):
        kit.agent(kit.paying(ledger, journal), None).invoke(kit.START_STATE)
    assert ledger == []


def test_failures_of_the_journal_are_not_told_to_the_model(
    kit: Any, ledger: Any, saver: PlumbSaver, database: Database
) -> None:
    class Deaf(Journal):
        def perform(self, *_: Any, **__: Any) -> Any:
            raise StoreUnavailable("the database is gone")

    deaf = Deaf(database, line=journal_for(saver)._line)
    node = EffectToolNode(
        [kit.paying(ledger, deaf).tools_by_name["pay"]], journal=deaf, handle_tool_errors=True
    )
    with pytest.raises(StoreUnavailable):
        kit.agent(node, saver).invoke(kit.START_STATE, kit.T1)


def test_a_user_wrapper_still_wraps(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    seen: list[str] = []

    def wrap(request: Any, execute: Any) -> Any:
        seen.append(request.tool_call["name"])
        return execute(request)

    node = kit.paying(ledger, journal)
    wrapped = EffectToolNode([node.tools_by_name["pay"]], journal=journal, wrap_tool_call=wrap)
    kit.agent(wrapped, saver).invoke(kit.START_STATE, kit.T1)
    assert seen == ["pay"]


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_inside_a_subgraph(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, durability: Any
) -> None:
    fails = [True]

    def after() -> None:
        if fails:
            fails.clear()
            raise kit.Crash

    inner = kit.agent(kit.paying(ledger, journal), None, after=after)
    graph: Any = StateGraph(MessagesState)
    graph.add_node("kit.agent", inner)
    graph.add_edge(START, "kit.agent")
    compiled = graph.compile(checkpointer=saver)
    with pytest.raises(kit.Crash):
        compiled.invoke(kit.START_STATE, kit.T1, durability=durability)
    compiled.invoke(None, kit.T1, durability=durability)
    assert ledger == ["rent"]
