"""Effects that a crash left in doubt, and what clears them up."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from plumbgraph.agents.effects import EffectToolNode, journal_for
from plumbgraph.effects import Done, Journal, Outcome, current_effect, effect
from plumbgraph.errors import PlumbError, SettingsError, ThreadBusy
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver


def test_a_journal_needs_a_database() -> None:
    with pytest.raises(SettingsError, match="PostgreSQL of its own"):
        journal_for(InMemorySaver())


def test_a_crash_before_the_effect_asks_and_runs_it(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    ledger.crash_before = True
    graph = kit.agent(kit.paying(ledger, journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    asked = graph.invoke(None, kit.T1)["__interrupt__"][0].value
    assert asked["plumbgraph"] == "effects_in_doubt"
    assert asked["effects"][0]["name"] == "pay"
    assert asked["effects"][0]["args"] == {"what": "rent"}
    state = graph.invoke(Command(resume="not_done"), kit.T1)
    assert ledger == ["rent"]
    assert kit.answers(state) == ["paid rent"]


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        ("done", "The effect happened; its result was lost in a crash."),
        ({"done": "paid, says the bank"}, "paid, says the bank"),
    ],
)
def test_a_crash_after_the_effect_asks_and_does_not_run_it(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, answer: Any, content: str
) -> None:
    ledger.crash_after = True
    graph = kit.agent(kit.paying(ledger, journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    graph.invoke(None, kit.T1)
    state = graph.invoke(Command(resume=answer), kit.T1)
    assert ledger == ["rent"]
    assert kit.answers(state) == [content]


def test_an_answer_that_is_none_is_asked_for_again(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    ledger.crash_after = True
    graph = kit.agent(kit.paying(ledger, journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    graph.invoke(None, kit.T1)
    assert "__interrupt__" in graph.invoke(Command(resume="maybe"), kit.T1)
    state = graph.invoke(Command(resume="done"), kit.T1)
    assert "__interrupt__" not in state
    assert ledger == ["rent"]


def test_several_doubts_are_one_question(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    graph = kit.agent(
        kit.paying(ledger, journal),
        saver,
        kit.call(call_id="a", what="rent"),
        kit.call(call_id="b", what="power"),
    )
    ledger.error = ConnectionError("cut")
    with pytest.raises(ConnectionError):
        graph.invoke(kit.START_STATE, kit.T1)
    ledger.error = None
    asked = graph.invoke(None, kit.T1)
    if "__interrupt__" in asked:
        effects = asked["__interrupt__"][0].value["effects"]
        told = {each["id"]: "done" for each in effects}
        graph.invoke(Command(resume={"effects": told}), kit.T1)
    assert sorted(ledger) == ["power", "rent"]


def test_an_error_of_the_tool_leaves_a_doubt(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    ledger.error = TimeoutError("no answer")
    graph = kit.agent(kit.paying(ledger, journal), saver)
    with pytest.raises(TimeoutError):
        graph.invoke(kit.START_STATE, kit.T1)
    asked = graph.invoke(None, kit.T1)["__interrupt__"][0].value
    assert "no answer" in asked["effects"][0]["error"]


def test_an_error_that_means_not_done_is_tried_again(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    ledger.error = ValueError("refused before anything happened")
    graph = kit.agent(kit.paying(ledger, journal, not_done_on=(ValueError,)), saver)
    with pytest.raises(ValueError, match="refused"):
        graph.invoke(kit.START_STATE, kit.T1)
    assert kit.rows(database) == ["void"]
    graph.invoke(None, kit.T1)
    assert kit.rows(database, "state, attempt") == [("done", 2)]


def test_an_idempotent_effect_is_repeated_under_its_key(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    keys: list[tuple[str, int]] = []

    @effect(idempotent=True)
    @tool
    def pay(what: str) -> str:
        """Pay."""
        keys.append((current_effect().key, current_effect().attempt))
        return str(ledger.pay(what))

    ledger.crash_after = True
    graph = kit.agent(EffectToolNode([pay], journal=journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    assert kit.answers(graph.invoke(None, kit.T1)) == ["paid rent"]
    assert [attempt for _, attempt in keys] == [1, 2]
    assert len({key for key, _ in keys}) == 1


@pytest.mark.parametrize("crash", ["crash_before", "crash_after"])
def test_reconcile_tells_the_truth(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, crash: str
) -> None:
    def look(key: str) -> Any:
        assert len(key) == 64
        return Done("found at the bank") if ledger else Outcome.NOT_DONE

    setattr(ledger, crash, True)
    graph = kit.agent(kit.paying(ledger, journal, reconcile=look), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    state = graph.invoke(None, kit.T1)
    assert ledger == ["rent"]
    assert kit.answers(state) == ["paid rent" if crash == "crash_before" else "found at the bank"]


async def test_reconcile_may_be_async_and_may_not_know(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    async def look(key: str) -> Any:
        await asyncio.sleep(0)
        return Outcome.UNKNOWN

    ledger.error = ConnectionError("cut")
    graph = kit.agent(kit.paying(ledger, journal, reconcile=look), saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke(kit.START_STATE, kit.T1)
    assert "__interrupt__" in await graph.ainvoke(None, kit.T1)
    with pytest.raises(PlumbError, match="is async, the run is not"):
        await asyncio.to_thread(graph.invoke, None, kit.T1)


def test_a_reconcile_that_talks_nonsense_is_named(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    ledger.crash_after = True
    graph = kit.agent(kit.paying(ledger, journal, reconcile=lambda _: True), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    with pytest.raises(PlumbError, match="returned True"):
        graph.invoke(None, kit.T1)


@pytest.mark.parametrize("crash", ["crash_before", "crash_after", None])
def test_an_effect_in_the_database_is_never_in_doubt(
    kit: Any,
    ledger: Any,
    journal: Journal,
    saver: PlumbSaver,
    database: Database,
    crash: str | None,
) -> None:
    database.send((Statement("CREATE TABLE {schema}.bills (what text)"),))

    @effect(in_database=True)
    @tool
    def pay(what: str) -> str:
        """Pay."""
        sql = database.text("INSERT INTO {schema}.bills VALUES (%s)")
        current_effect().connection.execute(sql, (what,))
        return str(ledger.pay(what))

    if crash:
        setattr(ledger, crash, True)
    graph = kit.agent(EffectToolNode([pay], journal=journal), saver)
    if crash:
        with pytest.raises(kit.Crash):
            graph.invoke(kit.START_STATE, kit.T1)
    state = graph.invoke(None if crash else kit.START_STATE, kit.T1)
    bills = database.send((Statement("SELECT what FROM {schema}.bills"),))[0]
    assert [row[0] for row in bills] == ["rent"]
    assert kit.answers(state) == ["paid rent"]


async def test_an_effect_in_the_database_async(
    kit: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    await database.asend((Statement("CREATE TABLE {schema}.bills (what text)"),))

    @effect(in_database=True)
    @tool
    async def pay(what: str) -> str:
        """Pay."""
        sql = database.text("INSERT INTO {schema}.bills VALUES (%s)")
        await current_effect().connection.execute(sql, (what,))
        return "ok"

    state = await kit.agent(EffectToolNode([pay], journal=journal), saver).ainvoke(
        kit.START_STATE, kit.T1
    )
    assert kit.answers(state) == ["ok"]
    assert (await database.asend((Statement("SELECT count(*) FROM {schema}.bills"),)))[0][0] == (1,)


def test_sql_of_a_tool_that_failed_is_undone(
    kit: Any, journal: Journal, saver: PlumbSaver, database: Database
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
    state = kit.agent(node, saver).invoke(kit.START_STATE, kit.T1)
    assert "no money" in kit.answers(state)[0]
    assert database.send((Statement("SELECT * FROM {schema}.bills"),))[0] == []
    assert kit.rows(database) == []


def test_an_interrupt_of_the_tool_itself_is_no_doubt(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    @effect
    @tool
    def pay(what: str) -> str:
        """Pay after approval."""
        if interrupt("may I?") != "yes":
            return "refused"
        return str(ledger.pay(what))

    graph = kit.agent(EffectToolNode([pay], journal=journal), saver)
    assert graph.invoke(kit.START_STATE, kit.T1)["__interrupt__"][0].value == "may I?"
    assert kit.rows(database) == ["void"]
    assert kit.answers(graph.invoke(Command(resume="yes"), kit.T1)) == ["paid rent"]
    assert ledger == ["rent"]


def test_an_approval_is_not_taken_for_an_answer_to_a_doubt(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver
) -> None:
    @effect
    @tool
    def pay(what: str) -> str:
        """Pay after approval."""
        if interrupt("may I?") != "yes":
            return "refused"
        return str(ledger.pay(what))

    graph = kit.agent(EffectToolNode([pay], journal=journal), saver)
    graph.invoke(kit.START_STATE, kit.T1)
    ledger.crash_after = True
    with pytest.raises(kit.Crash):
        graph.invoke(Command(resume="yes"), kit.T1)
    asked = graph.invoke(None, kit.T1)["__interrupt__"][0].value
    assert asked["plumbgraph"] == "effects_in_doubt"
    state = graph.invoke(Command(resume="done"), kit.T1)
    assert "__interrupt__" not in state
    assert ledger == ["rent"]


def test_a_live_run_elsewhere_is_waited_for(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    """Another process, alive as this one, recorded the intent and is still at it."""
    ledger.crash_before = True
    graph = kit.agent(kit.paying(ledger, journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    from plumbgraph.effects import owner

    place, pid = owner.me().rsplit(":", 2)[0], os.getppid()
    living = f"{place}:{pid}:{owner._started(pid)}"
    database.send((Statement("UPDATE {schema}.effects SET owner = %s", (living,)),))
    with pytest.raises(ThreadBusy):
        graph.invoke(None, kit.T1)
    dead = f"{place}:{pid}:1"
    database.send((Statement("UPDATE {schema}.effects SET owner = %s", (dead,)),))
    assert "__interrupt__" in graph.invoke(None, kit.T1)


def test_a_heartbeat_tells_about_other_machines(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    ledger.crash_before = True
    graph = kit.agent(kit.paying(ledger, journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    database.send((Statement("UPDATE {schema}.effects SET owner = 'elsewhere:1:2'"),))
    with pytest.raises(ThreadBusy):
        graph.invoke(None, kit.T1)
    old = Statement("UPDATE {schema}.effects SET beat_at = now() - interval '40 seconds'")
    database.send((old,))
    assert "__interrupt__" in graph.invoke(None, kit.T1)


def test_nobody_is_asked_twice_when_the_answer_is_on_record(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    """A second kill fell after the answer was recorded and before the run noted it."""
    ledger.crash_after = True
    graph = kit.agent(kit.paying(ledger, journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1)
    assert "__interrupt__" in graph.invoke(None, kit.T1)
    kind, data = saver.serde.dumps_typed("told before")
    answered = (
        "UPDATE {schema}.effects SET state = 'done', asked = true, result_type = %s, result = %s"
    )
    database.send((Statement(answered, (kind, data)),))
    state = graph.invoke(None, kit.T1)
    assert "__interrupt__" not in state
    assert kit.answers(state) == ["told before"]
    assert ledger == ["rent"]


@pytest.mark.parametrize(("answer", "paid"), [("done", 1), ("not_done", 2)])
def test_a_doubt_of_a_run_that_commits_at_its_end(
    kit: Any, ledger: Any, journal: Journal, saver: PlumbSaver, answer: str, paid: int
) -> None:
    """It starts over with new ids, asks, commits in order to ask, and is answered."""
    ledger.crash_after = True
    graph = kit.agent(kit.paying(ledger, journal), saver)
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, kit.T1, durability="exit")
    saver.delete_thread("t1")
    other = {"configurable": {"thread_id": "t2"}}
    ledger.clear()
    ledger.crash_after = True
    with pytest.raises(kit.Crash):
        graph.invoke(kit.START_STATE, other, durability="exit")
    begun = graph.get_state(other).created_at
    again = None if begun else kit.START_STATE
    assert "__interrupt__" in graph.invoke(again, other, durability="exit")
    state = graph.invoke(Command(resume=answer), other, durability="exit")
    assert "__interrupt__" not in state
    assert len(ledger) == paid
