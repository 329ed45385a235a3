"""Routing inside graphs: as a node, as a chat model and as middleware, with a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from plumbgraph.agents import create_agent
from plumbgraph.agents.effects import journal_for
from plumbgraph.agents.routing import RouterNode, merge_rows
from plumbgraph.effects import Journal
from plumbgraph.routing import Aim, Budget, CostRouter, Ladder, Limit, Route, RoutedChatModel
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel
from plumbgraph.testing.script import call

MakeRouter = Callable[..., CostRouter]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema) as made:
        yield made


@pytest.fixture
def journal(saver: PlumbSaver) -> Iterator[Journal]:
    with journal_for(saver) as made:
        yield made


def config(thread: str = "t", **more: Any) -> Any:
    return {"configurable": {"thread_id": thread, **more}}


def test_the_node_decides_and_the_model_node_carries_it_out(make: MakeRouter) -> None:
    cheap = ScriptedChatModel([[call("add", a=1, b=2)], "three"], model_name="cheap")
    route = RouterNode(make(of_cheap={"model": cheap}))
    agent = create_agent(route.model, [add], each_turn=[route], checkpointer=InMemorySaver())
    state = agent.invoke({"messages": [HumanMessage("1 + 2?")]}, config())
    assert state["messages"][-1].text == "three"
    assert state["route"]["model"] == "scripted:cheap"
    marks = [
        m.response_metadata["plumbgraph"] for m in state["messages"] if isinstance(m, AIMessage)
    ]
    assert [mark["model"] for mark in marks] == ["scripted:cheap"] * 2
    assert set(state["ledger"]) == {marks[0]["charge_id"]}


def test_the_reservation_covers_the_system_prompt_and_the_tools(make: MakeRouter) -> None:
    router = make()
    route = RouterNode(router)
    held: list[int] = []
    reserve = router.budget.ledger.reserve

    def watched(lease: Any, *, ttl_s: float) -> Any:
        held.append(lease.nano)
        return reserve(lease, ttl_s=ttl_s)

    router.budget.ledger.reserve = watched  # type: ignore[method-assign]
    for system in ("", "Be brief. " * 2_000):
        agent = create_agent(route.model, [add], system=system, each_turn=[route])
        agent.invoke({"messages": [HumanMessage("x")]})
    assert held[1] - held[0] >= 20_000 * 100


def test_a_pin_in_the_state_holds_for_the_thread(make: MakeRouter) -> None:
    route = RouterNode(make())
    agent = create_agent(route.model, each_turn=[route], checkpointer=InMemorySaver())
    given = {"messages": [HumanMessage("x")], "route_pin": "scripted:strong"}
    assert agent.invoke(given, config())["messages"][-1].text == "strong says hi"
    again = agent.invoke({"messages": [HumanMessage("y")]}, config())
    assert again["route"]["code"] == "pinned"


async def test_tokens_stream_once_through_a_routed_model(make: MakeRouter) -> None:
    agent = create_agent(RoutedChatModel(make()))
    given = {"messages": [HumanMessage("x")]}
    told: Any = agent.astream(given, stream_mode="messages")
    texts = [chunk.text async for chunk, _ in told]
    assert "".join(texts) == "cheap says hi"


def test_a_resumed_run_gets_the_recorded_answer(
    make: MakeRouter, saver: PlumbSaver, journal: Journal, cheap: ScriptedChatModel
) -> None:
    router = make()
    crashes = [True]

    def crash(_: Any) -> dict[str, Any]:
        if crashes:
            raise OSError(crashes.pop())
        return {}

    agent = _then(RoutedChatModel(router, journal=journal), crash, saver)
    with pytest.raises(OSError, match="True"):
        agent.invoke({"messages": [HumanMessage("x")]}, config(), durability="sync")
    changed = make(aim=Aim.quality(0.93), budget=router.budget)
    again = _then(RoutedChatModel(changed, journal=journal), crash, saver)
    state = again.invoke(None, config(), durability="sync")
    mark = state["messages"][-1].response_metadata["plumbgraph"]
    assert (mark["model"], mark["replayed"], mark["replayable"]) == ("scripted:cheap", True, True)
    assert len(cheap.calls) == 1
    fresh = again.invoke({"messages": [HumanMessage("x")]}, config("other"), durability="sync")
    assert fresh["messages"][-1].text == "strong says hi"


def _then(model: RoutedChatModel, crash: Callable[[Any], Any], saver: PlumbSaver) -> Any:
    """A graph whose one node asks the model and then may crash."""
    from langgraph.graph import StateGraph

    from plumbgraph.agents.model import AgentState

    def node(state: Any) -> dict[str, Any]:
        answer = model.invoke(state["messages"])
        crash(state)
        return {"messages": [answer]}

    graph: Any = StateGraph(AgentState)
    graph.add_node("model", node)
    graph.set_entry_point("model")
    return graph.compile(checkpointer=saver)


def test_two_equal_calls_of_one_node_are_two_calls(
    make: MakeRouter, saver: PlumbSaver, journal: Journal, cheap: ScriptedChatModel
) -> None:
    router = make()
    model = RoutedChatModel(router, journal=journal)
    both: list[Any] = []

    def twice(state: Any) -> None:
        both.append(model.invoke(state["messages"]))

    agent = _then(model, twice, saver)
    agent.invoke({"messages": [HumanMessage("x")]}, config(), durability="sync")
    assert len(cheap.calls) == 2
    assert both[0].response_metadata["plumbgraph"]["replayed"] is False


def test_a_spent_budget_asks_and_goes_on_with_what_is_granted(
    make: MakeRouter, saver: PlumbSaver
) -> None:
    budget = Budget([Limit("thread", 0.0001)], ladder=Ladder(ask=True, wait_s=0))
    agent = create_agent(RoutedChatModel(make(budget=budget)), checkpointer=saver)
    stopped = agent.invoke({"messages": [HumanMessage("x")]}, config())
    (asked,) = stopped["__interrupt__"]
    assert asked.value["account"] == "thread:t"
    assert asked.value["needed_usd"] > 0.0001
    state = agent.invoke(Command(resume=1.0), config())
    assert state["messages"][-1].text == "cheap says hi"


async def test_a_run_limit_counts_each_run_alone(make: MakeRouter) -> None:
    budget = Budget([Limit("run", 0.01)], ladder=Ladder(wait_s=0))
    agent = create_agent(RoutedChatModel(make(budget=budget)))
    for _ in range(8):
        given: Any = {**config(), "run_id": uuid4()}
        state = await agent.ainvoke({"messages": [HumanMessage("x")]}, given)
        assert state["messages"][-1].text == "cheap says hi"


class City(BaseModel):
    """A city."""

    name: str


def test_middleware_swaps_the_model_and_writes_the_ledger_in_the_same_step(
    make: MakeRouter,
) -> None:
    agents = pytest.importorskip("langchain.agents")
    from plumbgraph.agents.router_middleware import RouterMiddleware

    cheap = ScriptedChatModel([[call("add", a=1, b=2)], "three"], model_name="cheap")
    never = ScriptedChatModel([], model_name="never")
    router = make(of_cheap={"model": cheap})
    agent = agents.create_agent(
        never,
        [add],
        system_prompt="Be brief.",
        middleware=[RouterMiddleware(router, describe=lambda _: Route(task="sums"))],
        checkpointer=InMemorySaver(),
    )
    state = agent.invoke({"messages": [HumanMessage("1 + 2?")]}, config())
    assert state["messages"][-1].text == "three"
    assert len(state["ledger"]) == 2
    assert state["route"]["model"] == "scripted:cheap"
    assert cheap.calls[0].tool_names == ["add"]
    assert cheap.calls[0].messages[0].text == "Be brief."
    assert "max_tokens" in cheap.calls[0].options
    assert never.calls == []


async def test_middleware_in_the_other_color(make: MakeRouter) -> None:
    agents = pytest.importorskip("langchain.agents")
    from plumbgraph.agents.router_middleware import RouterMiddleware

    said = ScriptedChatModel([City(name="Bonn")], model_name="cheap")
    router = make(of_cheap={"model": said})
    agent = agents.create_agent(
        said, [], middleware=[RouterMiddleware(router)], response_format=City
    )
    state = await agent.ainvoke({"messages": [HumanMessage("which?")]}, config())
    assert state["structured_response"] == City(name="Bonn")
    assert len(state["ledger"]) == 1


def test_ledger_rows_merge_by_charge() -> None:
    assert merge_rows({"a": {"x": 1}}, {"a": {"x": 1}, "b": {}}) == {"a": {"x": 1}, "b": {}}
    assert merge_rows(None, None) == {}


async def test_the_router_closes_in_both_colors(make: MakeRouter) -> None:
    router = make()
    await router.aclose()
    await asyncio.to_thread(router.close)
