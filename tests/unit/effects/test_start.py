"""The intent is recorded last: a crash before it leaves no doubt, and whoever is second stops."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from plumbgraph.agents.effects import EffectToolNode, journal_for
from plumbgraph.effects import Journal, Outcome, effect
from plumbgraph.effects.owner import me
from plumbgraph.effects.start import Start
from plumbgraph.errors import StoreUnavailable
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver

NOT_DONE = Outcome.NOT_DONE
Before = Callable[[BaseException | Callable[[Statement], object]], None]


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Before:
    """Something that happens once, right before an intent is recorded."""
    really = Start._recorded

    def once(what: BaseException | Callable[[Statement], object]) -> None:
        left = [what]

        def recorded(self: Start) -> Any:
            if left:
                found = left.pop()
                if isinstance(found, BaseException):
                    raise found
                found(self._intent)
            return (yield from really(self))

        monkeypatch.setattr(Start, "_recorded", recorded)

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
def test_a_crash_before_the_record_asks_nobody(
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
    assert kit.rows(database) == []
    state = run(graph, None, asynchronous=asynchronous, config=kit.T1)
    assert "__interrupt__" not in state
    assert ledger == ["rent"]
    assert kit.answers(state) == ["paid rent"]
    assert kit.rows(database, "state, attempt, asked") == [("done", 1, False)]


@pytest.mark.parametrize("kind", TOOLS)
def test_a_crash_behind_the_record_is_asked_about(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, kind: str
) -> None:
    ledger.crash_before = True
    graph = kit.agent(EffectToolNode([TOOLS[kind](ledger)], journal=journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    assert "__interrupt__" in graph.invoke(None, kit.T1)
    assert ledger == []


def in_graph(node: Callable[[Any], Any], saver: PlumbSaver) -> Any:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile(checkpointer=saver)


def test_a_nodes_own_call_too(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, before: Before
) -> None:
    pay = effect(ledger.pay)
    graph = in_graph(lambda _: {"messages": [AIMessage(journal.call(pay, "rent"))]}, saver)
    before(kit.Crash())
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    assert "__interrupt__" not in graph.invoke(None, kit.T1)
    assert ledger == ["rent"]


GONE = me().rsplit(":", 2)[0] + ":1:1"


def elsewhere(database: Database, changes: str, *params: Any) -> Callable[[Statement], object]:
    """Another process, gone since, was at the same call, which it left like this."""
    left = f"UPDATE {{schema}}.effects SET owner = %s, {changes}"
    return lambda intent: database.send((intent, Statement(left, (GONE, *params))))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("handled", [False, True])
@pytest.mark.parametrize("kind", TOOLS)
def test_one_that_was_overtaken_gives_what_the_other_one_did(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database, before: Before,
    kind: str, handled: Any, asynchronous: Any,
) -> None:  # fmt: skip
    """A process that was stopped for long wakes up after another did what it was about to do."""
    node = EffectToolNode([TOOLS[kind](ledger)], journal=journal, handle_tool_errors=handled)
    graph = kit.agent(node, saver)
    result = saver.serde.dumps_typed("paid by another")
    done = "state = 'done', result_type = %s, result = %s"
    before(elsewhere(database, done, *result))
    state = run(graph, kit.START_STATE, asynchronous=asynchronous, config=kit.T1)
    assert kit.answers(state) == ["paid by another"]
    assert ledger == []


@pytest.mark.parametrize("answer", ["not_done", "done"])
@pytest.mark.parametrize("handled", [False, True])
def test_one_that_was_overtaken_by_one_that_died_asks(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database, before: Before,
    handled: Any, answer: str,
) -> None:  # fmt: skip
    node = EffectToolNode([above(ledger)], journal=journal, handle_tool_errors=handled)
    graph = kit.agent(node, saver)
    before(elsewhere(database, "state = 'intent'"))
    assert "__interrupt__" in graph.invoke(kit.START_STATE, kit.T1)
    assert ledger == []
    graph.invoke(Command(resume=answer), kit.T1)
    assert ledger == (["rent"] if answer == "not_done" else [])


def test_one_that_was_overtaken_goes_on_where_nothing_happened(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database, before: Before
) -> None:
    graph = kit.agent(kit.paying(ledger, journal), saver)
    before(elsewhere(database, "state = 'void'"))
    assert kit.answers(graph.invoke(kit.START_STATE, kit.T1)) == ["paid rent"]
    assert ledger == ["rent"]
    assert kit.rows(database, "state, attempt, owner") == [("done", 2, me())]


@pytest.mark.parametrize("options", [{"idempotent": True}, {"reconcile": lambda _: NOT_DONE}])
def test_one_that_was_overtaken_finds_its_own_way_out(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database, before: Before,
    options: Any,
) -> None:  # fmt: skip
    graph = kit.agent(kit.paying(ledger, journal, **options), saver)
    before(elsewhere(database, "state = 'intent'"))
    assert kit.answers(graph.invoke(kit.START_STATE, kit.T1)) == ["paid rent"]
    assert ledger == ["rent"]
    assert kit.rows(database, "state, attempt") == [("done", 2)]


def test_a_live_one_that_overtakes_is_never_taken_for_dead(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    """One that comes second and steps back leaves the first one's sign of life alone."""
    with journal_for(saver, database, busy_wait_s=10) as second:
        inner: list[str] = []

        @effect
        def pay(what: str) -> str:
            if not inner:
                inner.append("a second one")
                running = threading.Thread(target=contextvars.copy_context().run, args=(again,))
                others.append(running)
                running.start()
                running.join(0.3)
            return str(ledger.pay(what))

        others: list[threading.Thread] = []
        told: list[str] = []

        def again() -> None:
            told.append(second.call(pay, "rent"))

        def node(_: Any) -> Any:
            answer = journal.call(pay, "rent")
            others[0].join()
            return {"messages": [AIMessage(answer)]}

        in_graph(node, saver).invoke(kit.START_STATE, kit.T1)
    assert ledger == ["rent"]
    assert told == ["paid rent"]


def test_a_record_that_cannot_be_made_stops_the_effect(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, before: Before
) -> None:
    graph = kit.agent(kit.paying(ledger, journal, not_done_on=(ValueError,)), saver)
    before(StoreUnavailable("cut"))
    with pytest.raises(StoreUnavailable):
        graph.invoke(kit.START_STATE, kit.T1)
    assert ledger == []
    assert "__interrupt__" not in graph.invoke(None, kit.T1)
    assert ledger == ["rent"]


def test_an_error_before_the_record_is_no_doubt(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    node = EffectToolNode([above(ledger)], journal=journal, handle_tool_errors=False)
    graph = kit.agent(node, saver, kit.call(wrong="argument"))
    with pytest.raises(Exception, match="what"):
        graph.invoke(kit.START_STATE, kit.T1)
    assert kit.rows(database) == []


def test_an_answer_without_a_beginning_is_on_record_too(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    node = EffectToolNode([above(ledger)], journal=journal, handle_tool_errors=True)
    graph = kit.agent(node, saver, kit.call(wrong="argument"))
    (answer,) = kit.answers(graph.invoke(kit.START_STATE, kit.T1))
    assert "what" in answer
    assert kit.rows(database) == ["done"]
    assert ledger == []


def test_an_open_call_is_told_whether_it_began(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, before: Before
) -> None:
    graph = kit.agent(kit.paying(ledger, journal), saver)
    before(kit.Crash())
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    asking = graph.get_state(kit.T1).values["messages"][-1]
    call = (asking.id, asking.tool_calls[0]["id"])
    assert asyncio.run(journal.aknown("t1", [call])) == {}
    ledger.crash_before = True
    with pytest.raises(kit.Crash):
        graph.invoke(None, kit.T1)
    assert journal.known("t1", [call])[call].state == "unknown"


def test_what_wraps_a_marked_function_comes_first(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    """Its wrapper may have an effect of its own, so the record is made before it."""

    def wrapping(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(what: str) -> str:
            ledger.pay("fee")
            raise kit.Crash

        return wrapper

    graph = kit.agent(EffectToolNode([tool(wrapping(above(ledger).func))], journal=journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    assert "__interrupt__" in graph.invoke(None, kit.T1)
    assert ledger == ["fee"]


class Watched(Database):
    """Looks, as soon as an intent is on record, whether its owner is known to be at it."""

    watch: Any = None
    seen: bool | None = None

    def _send(self, batch: Any) -> Any:
        replies = super()._send(batch)
        if any("INSERT INTO {schema}.effects" in each.sql for each in batch):
            (key,) = super()._send((Statement("SELECT encode(key, 'hex') FROM {schema}.effects"),))
            self.seen = key[0][0] in self.watch
        return replies


def test_whoever_sees_a_record_sees_that_its_owner_is_at_it(
    kit: Any, ledger: Any, saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    database = Watched(postgres_url, schema=schema)
    with database, journal_for(saver, database) as journal:
        database.watch = journal._beats
        kit.agent(kit.paying(ledger, journal), saver).invoke(kit.START_STATE, kit.T1)
        assert database.seen is True


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("options", [{}, {"idempotent": True}, {"reconcile": lambda _: NOT_DONE}])
def test_an_effect_costs_two_round_trips(
    kit: Any, ledger: Any, saver: PlumbSaver, postgres_url: str, schema: str, options: Any,
    asynchronous: Any,
) -> None:  # fmt: skip
    """Its intent and its result. One that may have run before is looked up first."""
    counting = kit.Counting(postgres_url, schema=schema)
    with counting as database, journal_for(saver, database) as journal:
        database.setup()
        ran: list[int] = []

        def after() -> None:
            if not ran:
                ran.append(database.sent)
                raise ValueError

        graph = kit.agent(kit.paying(ledger, journal, **options), saver, after=after)
        database.sent = 0
        with pytest.raises(ValueError):  # noqa: PT011 - the test's own
            run(graph, kit.START_STATE, asynchronous=asynchronous, config=kit.T1)
        assert ran == [2]
        database.sent = 0
        run(graph, None, asynchronous=asynchronous, config=kit.T1)
        assert (ledger, database.sent) == (["rent"], 0)
