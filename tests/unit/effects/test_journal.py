"""The journal itself: calls from a node's code, model calls, broken databases."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send

from plumbgraph.agents.effects import journal_for
from plumbgraph.effects import Journal, effect
from plumbgraph.effects.news import News
from plumbgraph.effects.values import Scene
from plumbgraph.errors import SettingsError, StoreUnavailable
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver

T1: Any = {"configurable": {"thread_id": "t1"}}
HERE = Scene("default", "t", "", "tools", "task", {"": "c1"})


class Crash(BaseException):
    pass


def one_node(node: Any, saver: Any, steps: int = 1) -> Any:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_conditional_edges(
        "node", lambda s: "node" if len(s["messages"]) < steps else END, ["node", END]
    )
    return graph.compile(checkpointer=saver)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_call_from_a_nodes_code_happens_once(
    journal: Journal, saver: PlumbSaver, durability: Any
) -> None:
    sent: list[str] = []
    fails = [True]

    @effect
    def send(to: str) -> str:
        sent.append(to)
        return f"sent {len(sent)}"

    def node(state: Any) -> Any:
        texts = [journal.call(send, "ann"), journal.call(send, to="bob"), journal.call(send, "ann")]
        if fails:
            fails.clear()
            raise Crash
        return {"messages": [AIMessage(" ".join(texts))]}

    graph = one_node(node, saver)
    with pytest.raises(Crash):
        graph.invoke({"messages": []}, T1, durability=durability)
    begun = graph.get_state(T1).created_at
    state = graph.invoke(None if begun else {"messages": []}, T1, durability=durability)
    assert sent == ["ann", "bob", "ann"]
    assert state["messages"][-1].content == "sent 1 sent 2 sent 3"


async def test_a_call_from_a_nodes_code_async(journal: Journal, saver: PlumbSaver) -> None:
    sent: list[str] = []
    fails = [True]

    @effect
    async def send(to: str) -> str:
        await asyncio.sleep(0)
        sent.append(to)
        return "sent"

    async def node(state: Any) -> Any:
        await journal.acall(send, "ann")
        if fails:
            fails.clear()
            raise ValueError
        return {"messages": [AIMessage("x")]}

    graph = one_node(node, saver)
    with pytest.raises(ValueError):  # noqa: PT011 - the test's own
        await graph.ainvoke({"messages": []}, T1)
    await graph.ainvoke(None, T1)
    assert sent == ["ann"]


def test_a_loop_that_does_the_same_again_does_it_again(journal: Journal, saver: PlumbSaver) -> None:
    sent: list[int] = []

    @effect
    def tick(number: int) -> int:
        sent.append(number)
        return len(sent)

    def node(state: Any) -> Any:
        return {"messages": [AIMessage(str(journal.call(tick, 1)))]}

    state = one_node(node, saver, steps=3).invoke({"messages": []}, T1)
    assert [m.content for m in state["messages"]] == ["1", "2", "3"]


def test_parallel_tasks_with_equal_calls_are_not_mixed_up(
    journal: Journal, saver: PlumbSaver
) -> None:
    """One of two equal branches is run again; it must find its own record, not the other's."""
    sent: list[str] = []
    fails = {1}

    @effect
    def send(to: str) -> str:
        sent.append(to)
        return "sent"

    def job(state: Any) -> Any:
        if state["number"] in fails:
            fails.clear()
            raise ValueError
        journal.call(send, "ann")
        return {"messages": [AIMessage("x")]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("job", job)
    graph.add_conditional_edges(START, lambda _: [Send("job", {"number": n}) for n in (0, 1)])
    compiled = graph.compile(checkpointer=saver)
    with pytest.raises(ValueError):  # noqa: PT011 - the test's own
        compiled.invoke({"messages": []}, T1)
    compiled.invoke(None, T1)
    assert sent == ["ann", "ann"]


def test_a_retried_node_finds_what_it_did(journal: Journal, saver: PlumbSaver) -> None:
    from langgraph.types import RetryPolicy

    sent: list[str] = []

    @effect
    def send(to: str) -> str:
        sent.append(to)
        return "sent"

    def node(state: Any) -> Any:
        journal.call(send, "ann")
        if len(tries) < 2:
            tries.append(1)
            raise ConnectionError
        return {"messages": [AIMessage("x")]}

    tries: list[int] = []
    graph: Any = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0.01, max_attempts=3)
    graph.add_node("node", node, retry_policy=policy)
    graph.add_edge(START, "node")
    graph.compile(checkpointer=saver).invoke({"messages": []}, T1)
    assert sent == ["ann"]


def test_only_what_is_marked_can_be_called(journal: Journal) -> None:
    with pytest.raises(SettingsError, match="not marked"):
        journal.call(print, "x")
    with pytest.raises(SettingsError, match="no other way"):
        effect(in_database=True, idempotent=True)
    with pytest.raises(SettingsError, match="cannot be marked"):
        effect(7)  # type: ignore[call-overload]


def test_a_model_call_is_replayed(journal: Journal, saver: PlumbSaver) -> None:
    calls: list[int] = []
    fails = [True]

    def produce() -> dict[str, Any]:
        calls.append(1)
        return {"text": "an answer", "nul": "\0"}

    def node(state: Any) -> Any:
        told = journal.record("model", {"prompt": "hello"}, produce)
        if fails:
            fails.clear()
            raise Crash
        return {"messages": [AIMessage(told["text"])]}

    graph = one_node(node, saver)
    with pytest.raises(Crash):
        graph.invoke({"messages": []}, T1, durability="sync")
    graph.invoke(None, T1)
    assert calls == [1]
    assert journal.lookup("never") is None


async def test_a_model_call_is_replayed_async(journal: Journal, saver: PlumbSaver) -> None:
    calls: list[int] = []

    async def produce() -> dict[str, Any]:
        await asyncio.sleep(0)
        calls.append(1)
        return {"text": "an answer"}

    async def node(state: Any) -> Any:
        key = await journal.akey("model", "again")
        await journal.aintent(key, {"model": "m"})
        await journal.adone(key, {"n": 1})
        await journal.adone(key, {"n": 2})
        entry = await journal.alookup(key)
        assert entry is not None
        assert entry.result == {"n": 1}
        assert entry.intent == {"model": "m"}
        first = await journal.arecord("model", 1, produce)
        second = await journal.arecord("model", 2, produce)
        return {"messages": [AIMessage(first["text"] + second["text"])]}

    await one_node(node, saver).ainvoke({"messages": []}, T1)
    assert len(calls) == 2
    assert await journal.aforget(["t1"]) == 3


@pytest.mark.parametrize("parts", ["", "/0"])
def test_a_model_call_of_a_new_task_is_not_looked_for(
    kit: Any, saver: PlumbSaver, postgres_url: str, schema: str, parts: str
) -> None:
    """Only what may have run before is looked up; what this process wrote is always found."""
    counting = kit.Counting(postgres_url, schema=schema)
    found: list[Any] = []
    costs: list[int] = []
    with counting as database, journal_for(saver, database) as journal:
        database.setup()

        def node(_: Any) -> Any:
            key = journal.key("model", "hello") + parts
            before = database.sent
            found.append(journal.lookup(key))
            costs.append(database.sent - before)
            journal.intent(key, {"model": "m"})
            found.append(journal.lookup(key))
            if len(found) == 2:
                raise Crash
            return {"messages": [AIMessage("x")]}

        graph = one_node(node, saver)
        with pytest.raises(Crash):
            graph.invoke({"messages": []}, T1)
        graph.invoke(None, T1)
    assert [each and each.intent for each in found] == [None, *[{"model": "m"}] * 3]
    assert costs == [0, 1]


def test_what_is_new_is_forgotten_in_time() -> None:
    news = News()
    for number in range(1001):
        news.asked(f"k{number}", fresh=True)
    assert not news.nothing("k0"), "then it is looked up"
    assert news.nothing("k1000")
    news.asked("k1000", fresh=False)
    assert not news.nothing("k1000")


def test_a_cut_connection_while_the_result_is_recorded_is_survived(
    journal: Journal, saver: PlumbSaver, postgres_url: str
) -> None:
    """The database drops every connection right after the effect, as a restart does."""
    sent: list[str] = []

    @effect
    def send(to: str) -> str:
        sent.append(to)
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return "sent"

    def node(state: Any) -> Any:
        return {"messages": [AIMessage(journal.call(send, "ann"))]}

    graph = one_node(node, saver)
    assert graph.invoke({"messages": []}, T1)["messages"][-1].content == "sent"
    assert sent == ["ann"]


class Forgetful(Database):
    """Loses the acknowledgment of the first result that is recorded."""

    lost = 0

    def _send(self, batch: Any) -> Any:
        replies = super()._send(batch)
        if not self.lost and any("SET state = 'done'" in each.sql for each in batch):
            self.lost += 1
            raise StoreUnavailable("the server restarts")
        return replies


def test_a_record_whose_acknowledgment_was_lost_stands(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    sent: list[str] = []

    @effect
    def send(to: str) -> str:
        sent.append(to)
        return "sent"

    with Forgetful(postgres_url, schema=schema) as database:
        journal = journal_for(saver, database)
        graph = one_node(lambda _: {"messages": [AIMessage(journal.call(send, "ann"))]}, saver)
        assert graph.invoke({"messages": []}, T1)["messages"][-1].content == "sent"
        assert (sent, database.lost) == (["ann"], 1)


def test_a_result_that_cannot_be_stored_is_still_on_record(
    journal: Journal, saver: PlumbSaver, database: Database
) -> None:
    fails = [True]
    sent: list[int] = []

    @effect
    def send() -> Any:
        sent.append(1)
        return object() if fails else None

    def node(state: Any) -> Any:
        told = journal.call(send)
        if fails:
            fails.clear()
            raise Crash
        return {"messages": [AIMessage(str(told))]}

    graph = one_node(node, saver)
    with pytest.raises(Crash):
        graph.invoke({"messages": []}, T1)
    state = graph.invoke(None, T1)
    assert sent == [1]
    assert "cannot be stored" in state["messages"][-1].content


def test_what_is_forgotten_is_gone(journal: Journal, saver: PlumbSaver, database: Database) -> None:
    @effect
    def send() -> str:
        return "sent"

    def node(state: Any) -> Any:
        return {"messages": [AIMessage(journal.call(send))]}

    one_node(node, saver).invoke({"messages": []}, T1)
    assert journal.forget(["t1", "other"]) == 1
    assert database.send((Statement("SELECT count(*) FROM {schema}.effects"),))[0][0] == (0,)


async def test_two_that_perform_at_once_run_it_once(saver: PlumbSaver, database: Database) -> None:
    """Two journals of one process, as two requests may make them: the second waits."""
    sent: list[int] = []

    @effect
    async def send() -> str:
        await asyncio.sleep(0.1)
        sent.append(1)
        return "sent"

    async def node(state: Any) -> Any:
        first, second = (journal_for(saver, database) for _ in range(2))
        results = await asyncio.gather(first.acall(send), second.acall(send))
        assert list(results) == ["sent", "sent"]
        return {"messages": [AIMessage("x")]}

    await one_node(node, saver).ainvoke({"messages": []}, T1)
    assert sent == [1]


def test_resume_answers_can_be_a_map(journal: Journal, saver: PlumbSaver) -> None:
    sent: list[int] = []

    @effect
    def send() -> str:
        sent.append(1)
        raise ConnectionError("cut")

    def node(state: Any) -> Any:
        return {"messages": [AIMessage(str(journal.call(send)))]}

    graph = one_node(node, saver)
    with pytest.raises(ConnectionError):
        graph.invoke({"messages": []}, T1)
    question = graph.invoke(None, T1)["__interrupt__"][0].value
    told = {question["effects"][0]["id"]: {"done": "yes, it was sent"}}
    state = graph.invoke(Command(resume={"effects": told}), T1)
    assert state["messages"][-1].content == "yes, it was sent"
    assert sent == [1]
