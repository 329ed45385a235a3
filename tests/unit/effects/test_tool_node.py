"""Effects in a graph on real servers: once, through failure, resume, fork and doubt."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from plumbgraph.agents.effects import EffectToolNode, journal_for
from plumbgraph.effects import Done, Journal, Outcome, current_effect, effect
from plumbgraph.errors import PlumbError, SettingsError, StoreUnavailable, ThreadBusy
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


def test_without_a_journal_it_is_not_made(ledger: Ledger) -> None:
    with pytest.raises(SettingsError, match="needs a journal"):
        EffectToolNode([], journal=None)  # type: ignore[arg-type]


def test_a_journal_needs_a_database() -> None:
    with pytest.raises(SettingsError, match="PostgreSQL of its own"):
        journal_for(InMemorySaver())


def test_it_runs_and_is_on_record(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    state = agent(paying(ledger, journal), saver).invoke(START_STATE, T1)
    assert answers(state) == ["paid rent"]
    assert ledger == ["rent"]
    assert rows(database, "state, call_id, attempt") == [("done", "c1", 1)]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_node_that_runs_again_gets_the_recorded_answer(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, durability: Any
) -> None:
    fails = [True]

    @effect
    @tool
    def pay(what: str) -> str:
        """Pay."""
        return ledger.pay(what)

    @tool
    def report(what: str) -> str:
        """Report; a crash here runs the whole node again."""
        if fails:
            fails.clear()
            raise Crash
        return "reported"

    calls = [call(call_id="c1"), call("report", "c2", what="x")]
    graph = agent(EffectToolNode([pay, report], journal=journal), saver, *calls)
    with pytest.raises(Crash):
        graph.invoke(START_STATE, T1, durability=durability)
    again = None if graph.get_state(T1).created_at else START_STATE
    state = graph.invoke(again, T1, durability=durability)
    assert ledger == ["rent"]
    assert answers(state) == ["paid rent", "reported"]


async def test_async_too(ledger: Ledger, journal: Journal, saver: PlumbSaver) -> None:
    fails = [True]

    @effect
    @tool
    async def pay(what: str) -> str:
        """Pay."""
        await asyncio.sleep(0)
        return ledger.pay(what)

    @tool
    async def report(what: str) -> str:
        """Report."""
        await asyncio.sleep(0.2)
        if fails:
            fails.clear()
            raise RuntimeError("no")
        return "reported"

    calls = [call(call_id="c1"), call("report", "c2", what="x")]
    graph = agent(EffectToolNode([pay, report], journal=journal), saver, *calls)
    with pytest.raises(RuntimeError):
        await graph.ainvoke(START_STATE, T1)
    state = await graph.ainvoke(None, T1)
    assert ledger == ["rent"]
    assert answers(state) == ["paid rent", "reported"]


def test_the_same_call_asked_for_again_is_a_new_effect(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    """Some models name every tool call alike; the message that holds it tells them apart."""
    agent(paying(ledger, journal), saver, turns=3).invoke(START_STATE, T1)
    assert ledger == ["rent"] * 3


def test_two_equal_calls_in_one_message_are_two_effects(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    agent(paying(ledger, journal), saver, call(call_id="a"), call(call_id="b")).invoke(
        START_STATE, T1
    )
    assert ledger == ["rent"] * 2


@pytest.mark.parametrize("kind", ["plumb", "memory"])
def test_a_deliberate_fork_is_a_new_effect(
    ledger: Ledger, database: Database, saver: PlumbSaver, kind: str
) -> None:
    used: Any = saver if kind == "plumb" else InMemorySaver()
    with journal_for(used, database) as journal:
        graph = agent(paying(ledger, journal), used)
        graph.invoke(START_STATE, T1)
        before = next(s for s in graph.get_state_history(T1) if s.next == ("tools",))
        graph.invoke(None, before.config)
        assert ledger == ["rent"] * 2
        updated = graph.update_state(before.config, {"messages": []})
        graph.invoke(None, updated)
        assert ledger == ["rent"] * 3


def test_a_crash_before_the_effect_asks_and_runs_it(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    ledger.crash_before = True
    graph = agent(paying(ledger, journal), saver)
    with pytest.raises(Crash):
        graph.invoke(START_STATE, T1)
    asked = graph.invoke(None, T1)["__interrupt__"][0].value
    assert asked["plumbgraph"] == "effects_in_doubt"
    assert asked["effects"][0]["name"] == "pay"
    assert asked["effects"][0]["args"] == {"what": "rent"}
    state = graph.invoke(Command(resume="not_done"), T1)
    assert ledger == ["rent"]
    assert answers(state) == ["paid rent"]


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        ("done", "The effect happened; its result was lost in a crash."),
        ({"done": "paid, says the bank"}, "paid, says the bank"),
    ],
)
def test_a_crash_after_the_effect_asks_and_does_not_run_it(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, answer: Any, content: str
) -> None:
    ledger.crash_after = True
    graph = agent(paying(ledger, journal), saver)
    with pytest.raises(Crash):
        graph.invoke(START_STATE, T1)
    graph.invoke(None, T1)
    state = graph.invoke(Command(resume=answer), T1)
    assert ledger == ["rent"]
    assert answers(state) == [content]


def test_an_answer_that_is_none_is_asked_for_again(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    ledger.crash_after = True
    graph = agent(paying(ledger, journal), saver)
    with pytest.raises(Crash):
        graph.invoke(START_STATE, T1)
    graph.invoke(None, T1)
    assert "__interrupt__" in graph.invoke(Command(resume="maybe"), T1)
    state = graph.invoke(Command(resume="done"), T1)
    assert "__interrupt__" not in state
    assert ledger == ["rent"]


def test_several_doubts_are_one_question(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    graph = agent(
        paying(ledger, journal),
        saver,
        call(call_id="a", what="rent"),
        call(call_id="b", what="power"),
    )
    ledger.error = ConnectionError("cut")
    with pytest.raises(ConnectionError):
        graph.invoke(START_STATE, T1)
    ledger.error = None
    asked = graph.invoke(None, T1)
    if "__interrupt__" in asked:
        effects = asked["__interrupt__"][0].value["effects"]
        told = {each["id"]: "done" for each in effects}
        graph.invoke(Command(resume={"effects": told}), T1)
    assert sorted(ledger) == ["power", "rent"]


def test_an_error_of_the_tool_leaves_a_doubt(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    ledger.error = TimeoutError("no answer")
    graph = agent(paying(ledger, journal), saver)
    with pytest.raises(TimeoutError):
        graph.invoke(START_STATE, T1)
    asked = graph.invoke(None, T1)["__interrupt__"][0].value
    assert "no answer" in asked["effects"][0]["error"]


def test_an_error_that_means_not_done_is_tried_again(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    ledger.error = ValueError("refused before anything happened")
    graph = agent(paying(ledger, journal, not_done_on=(ValueError,)), saver)
    with pytest.raises(ValueError, match="refused"):
        graph.invoke(START_STATE, T1)
    assert rows(database) == ["void"]
    graph.invoke(None, T1)
    assert rows(database, "state, attempt") == [("done", 2)]


def test_an_idempotent_effect_is_repeated_under_its_key(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    keys: list[tuple[str, int]] = []

    @effect(idempotent=True)
    @tool
    def pay(what: str) -> str:
        """Pay."""
        keys.append((current_effect().key, current_effect().attempt))
        return ledger.pay(what)

    ledger.crash_after = True
    graph = agent(EffectToolNode([pay], journal=journal), saver)
    with pytest.raises(Crash):
        graph.invoke(START_STATE, T1)
    assert answers(graph.invoke(None, T1)) == ["paid rent"]
    assert [attempt for _, attempt in keys] == [1, 2]
    assert len({key for key, _ in keys}) == 1


@pytest.mark.parametrize("crash", ["crash_before", "crash_after"])
def test_reconcile_tells_the_truth(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, crash: str
) -> None:
    def look(key: str) -> Any:
        assert len(key) == 64
        return Done("found at the bank") if ledger else Outcome.NOT_DONE

    setattr(ledger, crash, True)
    graph = agent(paying(ledger, journal, reconcile=look), saver)
    with pytest.raises(Crash):
        graph.invoke(START_STATE, T1)
    state = graph.invoke(None, T1)
    assert ledger == ["rent"]
    assert answers(state) == ["paid rent" if crash == "crash_before" else "found at the bank"]


async def test_reconcile_may_be_async_and_may_not_know(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    async def look(key: str) -> Any:
        await asyncio.sleep(0)
        return Outcome.UNKNOWN

    ledger.error = ConnectionError("cut")
    graph = agent(paying(ledger, journal, reconcile=look), saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke(START_STATE, T1)
    assert "__interrupt__" in await graph.ainvoke(None, T1)
    with pytest.raises(PlumbError, match="is async, the run is not"):
        await asyncio.to_thread(graph.invoke, None, T1)


def test_a_reconcile_that_talks_nonsense_is_named(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    ledger.crash_after = True
    graph = agent(paying(ledger, journal, reconcile=lambda _: True), saver)
    with pytest.raises(Crash):
        graph.invoke(START_STATE, T1)
    with pytest.raises(PlumbError, match="returned True"):
        graph.invoke(None, T1)


@pytest.mark.parametrize("crash", ["crash_before", "crash_after", None])
def test_an_effect_in_the_database_is_never_in_doubt(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, database: Database, crash: str | None
) -> None:
    database.send((Statement("CREATE TABLE {schema}.bills (what text)"),))

    @effect(in_database=True)
    @tool
    def pay(what: str) -> str:
        """Pay."""
        sql = database.text("INSERT INTO {schema}.bills VALUES (%s)")
        current_effect().connection.execute(sql, (what,))
        return ledger.pay(what)

    if crash:
        setattr(ledger, crash, True)
    graph = agent(EffectToolNode([pay], journal=journal), saver)
    if crash:
        with pytest.raises(Crash):
            graph.invoke(START_STATE, T1)
    state = graph.invoke(None if crash else START_STATE, T1)
    bills = database.send((Statement("SELECT what FROM {schema}.bills"),))[0]
    assert [row[0] for row in bills] == ["rent"]
    assert answers(state) == ["paid rent"]


async def test_an_effect_in_the_database_async(
    journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    await database.asend((Statement("CREATE TABLE {schema}.bills (what text)"),))

    @effect(in_database=True)
    @tool
    async def pay(what: str) -> str:
        """Pay."""
        sql = database.text("INSERT INTO {schema}.bills VALUES (%s)")
        await current_effect().connection.execute(sql, (what,))
        return "ok"

    state = await agent(EffectToolNode([pay], journal=journal), saver).ainvoke(START_STATE, T1)
    assert answers(state) == ["ok"]
    assert (await database.asend((Statement("SELECT count(*) FROM {schema}.bills"),)))[0][0] == (1,)


def test_sql_of_a_tool_that_failed_is_undone(
    journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    database.send((Statement("CREATE TABLE {schema}.bills (what text)"),))

    @effect(in_database=True)
    @tool
    def pay(what: str) -> str:
        """Pay."""
        sql = database.text("INSERT INTO {schema}.bills VALUES (%s)")
        current_effect().connection.execute(sql, (what,))
        raise ValueError("no money")

    node = EffectToolNode([pay], journal=journal, handle_tool_errors=True)
    state = agent(node, saver).invoke(START_STATE, T1)
    assert "no money" in answers(state)[0]
    assert database.send((Statement("SELECT * FROM {schema}.bills"),))[0] == []
    assert rows(database) == []


def test_an_interrupt_of_the_tool_itself_is_no_doubt(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    @effect
    @tool
    def pay(what: str) -> str:
        """Pay after approval."""
        if interrupt("may I?") != "yes":
            return "refused"
        return ledger.pay(what)

    graph = agent(EffectToolNode([pay], journal=journal), saver)
    assert graph.invoke(START_STATE, T1)["__interrupt__"][0].value == "may I?"
    assert rows(database) == ["void"]
    assert answers(graph.invoke(Command(resume="yes"), T1)) == ["paid rent"]
    assert ledger == ["rent"]


def test_an_approval_is_not_taken_for_an_answer_to_a_doubt(
    ledger: Ledger, journal: Journal, saver: PlumbSaver
) -> None:
    @effect
    @tool
    def pay(what: str) -> str:
        """Pay after approval."""
        if interrupt("may I?") != "yes":
            return "refused"
        return ledger.pay(what)

    graph = agent(EffectToolNode([pay], journal=journal), saver)
    graph.invoke(START_STATE, T1)
    ledger.crash_after = True
    with pytest.raises(Crash):
        graph.invoke(Command(resume="yes"), T1)
    asked = graph.invoke(None, T1)["__interrupt__"][0].value
    assert asked["plumbgraph"] == "effects_in_doubt"
    state = graph.invoke(Command(resume="done"), T1)
    assert "__interrupt__" not in state
    assert ledger == ["rent"]


def test_tools_that_are_not_marked_run_as_ever(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    @tool
    def pay(what: str) -> str:
        """Pay."""
        return ledger.pay(what)

    agent(EffectToolNode([pay], journal=journal), saver).invoke(START_STATE, T1)
    assert ledger == ["rent"]
    assert rows(database) == []


def test_a_marked_tool_refuses_a_plain_tool_node(ledger: Ledger, saver: PlumbSaver) -> None:
    @effect
    @tool
    def pay(what: str) -> str:
        """Pay."""
        return ledger.pay(what)

    with pytest.raises(SettingsError, match="without a journal"):
        agent(ToolNode([pay]), saver).invoke(START_STATE, T1)
    assert pay.invoke({"what": "outside a graph"}) == "paid outside a graph"
    assert ledger == ["outside a graph"]


def test_without_a_thread_it_refuses(ledger: Ledger, journal: Journal) -> None:
    with pytest.raises(SettingsError, match="checkpointer"):
        agent(paying(ledger, journal), None).invoke(START_STATE)
    assert ledger == []


def test_failures_of_the_journal_are_not_told_to_the_model(
    ledger: Ledger, saver: PlumbSaver, database: Database
) -> None:
    class Deaf(Journal):
        def perform(self, *_: Any, **__: Any) -> Any:
            raise StoreUnavailable("the database is gone")

    deaf = Deaf(database, line=journal_for(saver)._line)
    node = EffectToolNode(
        [paying(ledger, deaf).tools_by_name["pay"]], journal=deaf, handle_tool_errors=True
    )
    with pytest.raises(StoreUnavailable):
        agent(node, saver).invoke(START_STATE, T1)


def test_a_live_run_elsewhere_is_waited_for(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    """Another process, alive as this one, recorded the intent and is still at it."""
    ledger.crash_before = True
    graph = agent(paying(ledger, journal), saver)
    with pytest.raises(Crash):
        graph.invoke(START_STATE, T1)
    from plumbgraph.effects import owner

    place, pid = owner.me().rsplit(":", 2)[0], os.getppid()
    living = f"{place}:{pid}:{owner._started(pid)}"
    database.send((Statement("UPDATE {schema}.effects SET owner = %s", (living,)),))
    with pytest.raises(ThreadBusy):
        graph.invoke(None, T1)
    dead = f"{place}:{pid}:1"
    database.send((Statement("UPDATE {schema}.effects SET owner = %s", (dead,)),))
    assert "__interrupt__" in graph.invoke(None, T1)


def test_a_heartbeat_tells_about_other_machines(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    ledger.crash_before = True
    graph = agent(paying(ledger, journal), saver)
    with pytest.raises(Crash):
        graph.invoke(START_STATE, T1)
    database.send((Statement("UPDATE {schema}.effects SET owner = 'elsewhere:1:2'"),))
    with pytest.raises(ThreadBusy):
        graph.invoke(None, T1)
    old = Statement("UPDATE {schema}.effects SET beat_at = now() - interval '40 seconds'")
    database.send((old,))
    assert "__interrupt__" in graph.invoke(None, T1)


def test_a_user_wrapper_still_wraps(ledger: Ledger, journal: Journal, saver: PlumbSaver) -> None:
    seen: list[str] = []

    def wrap(request: Any, execute: Any) -> Any:
        seen.append(request.tool_call["name"])
        return execute(request)

    node = paying(ledger, journal)
    wrapped = EffectToolNode([node.tools_by_name["pay"]], journal=journal, wrap_tool_call=wrap)
    agent(wrapped, saver).invoke(START_STATE, T1)
    assert seen == ["pay"]


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_inside_a_subgraph(
    ledger: Ledger, journal: Journal, saver: PlumbSaver, durability: Any
) -> None:
    fails = [True]

    def after() -> None:
        if fails:
            fails.clear()
            raise Crash

    inner = agent(paying(ledger, journal), None, after=after)
    graph: Any = StateGraph(MessagesState)
    graph.add_node("agent", inner)
    graph.add_edge(START, "agent")
    compiled = graph.compile(checkpointer=saver)
    with pytest.raises(Crash):
        compiled.invoke(START_STATE, T1, durability=durability)
    compiled.invoke(None, T1, durability=durability)
    assert ledger == ["rent"]
