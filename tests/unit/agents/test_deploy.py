from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

import plumbgraph
from plumbgraph import deploy, effect
from plumbgraph.agents import build_agent, create_agent
from plumbgraph.content.digest import digest_of
from plumbgraph.errors import TypeRefused
from plumbgraph.redis.clients import Command
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel, call

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


class Order(BaseModel):
    number: int


class OrderState(TypedDict):
    order: Order


def raised(state: OrderState) -> dict[str, Any]:
    return {"order": Order(number=state["order"].number + 1)}


@pytest.fixture
def orders() -> StateGraph[OrderState, None, OrderState, OrderState]:
    graph = StateGraph(OrderState)
    graph.add_node("raised", raised)
    graph.add_edge(START, "raised")
    graph.add_edge("raised", END)
    return graph


@pytest.fixture(autouse=True)
def environment(
    postgres_url: str, redis_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PLUMBGRAPH_REDIS_URL", redis_url)
    monkeypatch.setenv("PLUMBGRAPH_SCHEMA", schema)


async def test_the_servers_saver_keeps_a_thread(orders: Any) -> None:
    async with deploy.checkpointer_for(orders)() as saver:
        await orders.compile(checkpointer=saver).ainvoke({"order": Order(number=1)}, THREAD)
    async with deploy.checkpointer_for(orders)() as saver:
        state = await orders.compile(checkpointer=saver).aget_state(THREAD)
        assert state.values["order"] == Order(number=2)


async def test_a_type_nobody_told_of_is_refused_when_written(orders: Any) -> None:
    async with deploy.checkpointer() as saver:
        with pytest.raises(TypeRefused, match="Order"):
            await orders.compile(checkpointer=saver).ainvoke({"order": Order(number=1)}, THREAD)


async def test_the_servers_store_keeps_an_item() -> None:
    async with deploy.store() as store:
        await store.aput(("n",), "k", {"x": 1})
    async with deploy.store() as store:
        item = await store.aget(("n",), "k")
        assert item is not None
        assert item.value == {"x": 1}


def test_create_agent_tells_the_saver_of_the_states_types(postgres_url: str, schema: str) -> None:
    with PlumbSaver(postgres_url, schema=schema) as saver:
        model = ScriptedChatModel(["ok"])
        agent = create_agent(model, state_schema=OrderState, checkpointer=saver)
        agent.invoke({"messages": ["x"], "order": Order(number=7)}, THREAD)
        assert agent.get_state(THREAD).values["order"] == Order(number=7)


async def test_services_reach_the_servers_when_a_part_first_needs_them() -> None:
    services = await asyncio.to_thread(deploy.Services)
    assert services.database.target == "the given server"
    blobs = services.blobs("skills")
    digest = digest_of(b"body")
    await asyncio.to_thread(blobs.put_many, {digest: b"body"})
    assert await blobs.aget_many([digest]) == {digest: b"body"}
    assert services.database.target != "the given server"
    assert await services.redis().arun(ping()) == [True]
    await asyncio.to_thread(services.close)


def ping() -> Any:
    return (yield (Command("PING"),))


def test_a_journal_of_services_waits_for_another_savers_commit() -> None:
    sent: list[str] = []

    @effect(idempotent=True)
    def send(text: str) -> str:
        """Send it."""
        sent.append(text)
        return "sent"

    services = deploy.Services()
    graph = build_agent(
        ScriptedChatModel([call("send", text="x"), "done"]), [send], effects=services.journal()
    )
    with plumbgraph.open() as p:
        agent = graph.compile(checkpointer=p.saver)
        assert agent.invoke({"messages": ["go"]}, THREAD)["messages"][-1].text == "done"
    assert sent == ["x"]
    services.close()
