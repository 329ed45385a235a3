"""`steps` tells what each checkpoint added, and agrees with the whole states."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, interrupt
from psycopg_pool import ConnectionPool

from plumbgraph.errors import SettingsError
from plumbgraph.state import PlumbSaver, RecoveryRules, Retention, StepInfo


def _extend(state: list[Any], writes: list[Any]) -> list[Any]:
    return [*state, *(each for write in writes for each in write)]


class Plain(TypedDict):
    messages: Annotated[list[Any], add_messages]
    n: int


class Deltas(TypedDict):
    messages: Annotated[list[Any], DeltaChannel(_extend, snapshot_frequency=4)]
    n: int


def _graph(saver: Any, schema: Any, steps: int = 10) -> Any:
    def work(state: Any) -> dict[str, Any]:
        n = state["n"] + 1
        return {"messages": [AIMessage(f"{n} " + "word " * 60, id=f"m{n}")], "n": n}

    made = StateGraph(schema)
    made.add_node("work", work)
    made.add_edge(START, "work")
    made.add_conditional_edges("work", lambda s: "work" if s["n"] < steps else END)
    return made.compile(checkpointer=saver)


def _config(thread: str = "t") -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def _added(found: list[StepInfo]) -> list[str]:
    return [each.id for step in found for each in step.added.get("messages", ())]


@pytest.mark.parametrize("schema_", [Plain, Deltas])
async def test_each_message_is_told_once(postgres_url: str, schema: str, schema_: Any) -> None:
    async with PlumbSaver(postgres_url, schema=schema, adopt="off") as saver:
        graph = _graph(saver, schema_)
        await graph.ainvoke({"messages": [HumanMessage("hi", id="h")], "n": 0}, _config())
        saver.forget()
        found = await saver.asteps("t")
        assert found == await asyncio.to_thread(saver.steps, "t")
        assert [each.step for each in found] == list(range(-1, 11))
        assert [each.source for each in found] == ["input", *["loop"] * 11]
        assert _added(found) == ["h", *(f"m{n}" for n in range(1, 11))]
        whole = [each async for each in saver.alist(_config())]
        ids = [each.checkpoint["id"] for each in reversed(whole)]
        assert [each.checkpoint_id for each in found] == ids
        assert [each.parent_id for each in found] == [None, *ids[:-1]]
        assert [each.ts for each in found] == [each.checkpoint["ts"] for each in reversed(whole)]
        assert found[3].next == ("work",)
        assert found[-1].next == ()
        assert found[-1].values["n"] == 10
        assert all(step.wrote for step in found[1:-1])
        assert await saver.asteps("t", limit=3) == found[-3:]
        assert await saver.asteps("nobody") == []


def test_questions_errors_and_removed_messages(postgres_url: str, schema: str) -> None:
    def ask(state: Any) -> dict[str, Any]:
        assert interrupt("sure?") == "yes"
        return {"messages": [RemoveMessage(state["messages"][0].id), AIMessage("k", id="k")]}

    made = StateGraph(Plain)
    made.add_node("ask", ask)
    made.add_edge(START, "ask")
    with PlumbSaver(postgres_url, schema=schema, adopt="off") as saver:
        graph: Any = made.compile(checkpointer=saver)
        graph.invoke({"messages": [HumanMessage("hi" * 400, id="h")], "n": 0}, _config())
        found = saver.steps("t")
        asked = found[-1].interrupts[0][1]
        assert asked[0].value == "sure?"
        assert not found[-1].answered
        graph.invoke(Command(resume="yes"), _config())
        found = saver.steps("t", channels=["messages"])
        assert _added(found) == ["h", "k"]
        assert found[1].answered
        assert [each.id for each in found[-1].values["messages"]] == ["k"]


def test_a_failed_task(postgres_url: str, schema: str) -> None:
    def fail(state: Any) -> Any:
        raise ValueError("refused")

    made = StateGraph(Plain)
    made.add_node("fail", fail)
    made.add_edge(START, "fail")
    with PlumbSaver(postgres_url, schema=schema, adopt="off") as saver:
        graph: Any = made.compile(checkpointer=saver)
        with pytest.raises(ValueError, match="refused"):
            graph.invoke({"messages": [HumanMessage("hi", id="h")], "n": 0}, _config())
        failed = saver.steps("t")[-1]
        assert failed.next == ("fail",)
        assert "refused" in repr(failed.errors[0][1])


def test_threads_of_another_saver(postgres_url: str, schema: str) -> None:
    options = {"autocommit": True, "options": f"-csearch_path={schema}"}
    with PlumbSaver(postgres_url, schema=schema, legacy_schema=schema) as saver:
        saver.setup()
        with ConnectionPool(postgres_url, min_size=1, max_size=1, kwargs=options) as pool:
            old = PostgresSaver(pool)  # type: ignore[arg-type]
            old.setup()
            _graph(old, Plain, 3).invoke(
                {"messages": [HumanMessage("h", id="h")], "n": 0}, _config()
            )
        found = saver.steps("t")
        assert _added(found) == ["h", "m1", "m2", "m3"]
        assert [each.step for each in found] == [-1, 0, 1, 2, 3]


def test_a_tenant_that_only_runs_know(postgres_url: str, schema: str) -> None:
    def tenant(config: Any) -> str:
        return str(config["configurable"]["user"])

    with PlumbSaver(postgres_url, schema=schema, tenant=tenant) as saver:
        graph = _graph(saver, Plain, 2)
        for user in ("ann", "bob"):
            config = {"configurable": {"thread_id": "t", "user": user}}
            graph.invoke({"messages": [HumanMessage(user, id=user)], "n": 0}, config)
        with pytest.raises(SettingsError, match="for_tenant"):
            saver.threads()
        assert saver.tenants() == ["ann", "bob"]
        ann = saver.for_tenant("ann")
        assert [each.thread_id for each in ann.threads()] == ["t"]
        assert _added(ann.steps("t"))[0] == "ann"
        bob = saver.for_tenant("bob")
        bob.accept("new", {"messages": [HumanMessage("again", id="again")], "n": 0})
        rules = RecoveryRules(grace_s=0, config={"configurable": {"user": "bob"}})
        assert ann.recover(lambda: graph, rules) == []
        assert [each.thread_id for each in bob.recover(lambda: graph, rules)] == ["new"]
        swept = ann.with_retention(Retention(keep_last=1)).sweep()
        assert swept.threads_thinned == ("t",)
        assert len(bob.steps("t")) > 1
        ann.delete_thread("t")
        assert ann.threads() == []
        assert len(bob.threads()) == 2
