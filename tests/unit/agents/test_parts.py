"""Each part of an agent alone, plugged in by one argument."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel
from typing_extensions import TypedDict

from plumbgraph import effect
from plumbgraph.agents import Memory, create_agent
from plumbgraph.agents.routing import RouterNode, describe_state
from plumbgraph.content import PostgresBlobs
from plumbgraph.errors import SettingsError
from plumbgraph.memory import Attribute, MemoryStore
from plumbgraph.routing import CostRouter
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel, call

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
GIVEN: Any = {"messages": [("user", "go")]}
MakeRouter = Callable[..., CostRouter]
colours = pytest.mark.parametrize("colour", ["sync", "async"])


class Crash(BaseException):
    """Ends the run as a kill does: nothing that catches `Exception` sees it."""


async def run(agent: Any, value: Any, colour: str, config: Any = THREAD) -> Any:
    if colour == "async":
        return await agent.ainvoke(value, config)
    return await asyncio.to_thread(agent.invoke, value, config)


async def made(*args: Any, **parts: Any) -> Any:
    """An agent, made beside the loop, as its sources and rules are read where it is made."""
    return await asyncio.to_thread(create_agent, *args, **parts)


def answers(done: Any) -> list[str]:
    return [message.text for message in done["messages"] if isinstance(message, ToolMessage)]


def look(where: str) -> str:
    """Look somewhere."""
    return f"saw {where}"


# --- skills ---


@colours
async def test_skills_by_folder_are_shown_loaded_and_kept_beside_the_checkpoints(
    colour: str, skills: Path, saver: PlumbSaver
) -> None:
    model = ScriptedChatModel([call("load_skill", name="pdf"), "read"])
    agent = await made(model, system="Be exact.", skills=str(skills), checkpointer=saver)
    done = await run(agent, GIVEN, colour)
    first, second = (asked.messages[0].text for asked in model.calls)
    assert first.startswith("Be exact.")
    assert "Read PDF files" in first
    assert "BLUE" not in first
    assert "BLUE" in second
    assert "load_skill" in model.calls[0].tool_names
    digest = done["skills"]["pdf"]["digest"]
    assert digest in await PostgresBlobs(saver._core.db, space="skills").aget_many([digest])


def test_without_skills_there_is_no_trace_of_them(saver: PlumbSaver) -> None:
    model = ScriptedChatModel(["ok"])
    agent = create_agent(model, [look], checkpointer=saver)
    assert set(agent.get_graph().nodes) == {"__start__", "model", "tools", "__end__"}
    assert "skills" not in agent.invoke(GIVEN, THREAD)
    assert model.calls[0].tool_names == ["look"]


# --- effects ---


@colours
async def test_a_marked_tool_happens_once_through_a_crash(colour: str, saver: PlumbSaver) -> None:
    paid: list[str] = []
    crashes = [True]

    @effect(idempotent=True)
    def pay(what: str) -> str:
        """Pay for something."""
        paid.append(what)
        return f"paid {what}"

    def stumble(why: str) -> str:
        """Stumble, once."""
        if crashes:
            raise Crash(crashes.pop())
        return why

    def agent() -> Any:
        both = [call("pay", what="rent"), call("stumble", why="ice")]
        model = ScriptedChatModel([both[0], both[1], "done"], replay="turn")
        return create_agent(model, [pay, stumble], checkpointer=saver)

    with pytest.raises(Crash):
        await run(agent(), GIVEN, colour)
    done = await run(agent(), None, colour)
    assert answers(done) == ["paid rent", "ice"]
    assert paid == ["rent"]
    repeated = await run(agent(), GIVEN, colour, {"configurable": {"thread_id": "u"}})
    assert answers(repeated)[0] == "paid rent"
    assert paid == ["rent", "rent"]


def test_a_marked_tool_without_a_journal_is_refused_when_the_agent_is_made() -> None:
    @effect
    def pay(what: str) -> str:
        """Pay."""
        return what

    with pytest.raises(SettingsError, match="'pay' need a journal"):
        create_agent(ScriptedChatModel([]), [pay], checkpointer=InMemorySaver())


def test_an_open_call_is_answered_when_the_thread_goes_on_with_a_new_message(
    saver: PlumbSaver,
) -> None:
    crashes = [True]

    @effect(idempotent=True)
    def pay(what: str) -> str:
        """Pay for something."""
        if crashes.pop():
            raise Crash
        return f"paid {what}"

    def agent(*script: Any) -> Any:
        return create_agent(ScriptedChatModel(script), [pay], checkpointer=saver)

    with pytest.raises(Crash):
        agent(call("pay", what="rent")).invoke(GIVEN, THREAD)
    done = agent("fine").invoke({"messages": [("user", "what happened?")]}, THREAD)
    assert "unknown" in answers(done)[0]
    assert done["messages"][-1].text == "fine"


class Order(BaseModel):
    number: int


class OrderState(TypedDict):
    order: Order


def test_the_journal_knows_the_types_of_the_state_too(saver: PlumbSaver) -> None:
    @effect(idempotent=True)
    def book(number: int) -> Any:
        """Book an order."""
        message = ToolMessage("booked", tool_call_id="c", name="book")
        return Command(update={"order": Order(number=number), "messages": [message]})

    from langchain_core.messages.tool import tool_call

    script: Any = [AIMessage("", tool_calls=[tool_call(name="book", args={"number": 7}, id="c")])]
    model = ScriptedChatModel([*script, "done"])
    agent = create_agent(model, [book], state_schema=OrderState, checkpointer=saver)
    done = agent.invoke({**GIVEN, "order": Order(number=1)}, THREAD)
    assert done["order"] == Order(number=7)
    assert agent.get_state(THREAD).values["order"] == Order(number=7)


# --- routing ---


@colours
async def test_a_router_is_a_model_whose_every_answer_is_on_the_bill(
    colour: str, saver: PlumbSaver, router: MakeRouter
) -> None:
    model = ScriptedChatModel([call("look", where="north"), "nothing"], model_name="m")
    agent = await made(
        await asyncio.to_thread(router, model), [look], system="Be brief.", checkpointer=saver
    )
    done = await run(agent, GIVEN, colour)
    assert done["messages"][-1].text == "nothing"
    assert done["route"]["model"] == "scripted:m"
    marks = [m.response_metadata["plumbgraph"] for m in done["messages"] if m.type == "ai"]
    assert set(done["ledger"]) == {mark["charge_id"] for mark in marks}
    assert len(done["ledger"]) == 2
    assert all(mark["replayable"] for mark in marks)


def test_a_routers_node_is_taken_as_it_is(router: MakeRouter) -> None:
    node = RouterNode(router(ScriptedChatModel(["hi"])), name="which")
    agent = create_agent(node)
    assert "which" in agent.get_graph().nodes
    assert agent.invoke(GIVEN)["messages"][-1].text == "hi"


@colours
async def test_each_run_may_have_a_router_of_its_own_or_none(
    router: MakeRouter, colour: str
) -> None:
    routed = await asyncio.to_thread(router, ScriptedChatModel(["routed"]))
    plain = ScriptedChatModel(["plain"])
    node = RouterNode(lambda runtime: routed if runtime.context["routed"] else plain)
    agent = await made(node, context_schema=Choice)
    for given, text, rows in ((True, "routed", 1), (False, "plain", 0)):
        ran = agent.ainvoke if colour == "async" else _in_thread(agent.invoke)
        done = await ran(GIVEN, context={"routed": given})
        assert done["messages"][-1].text == text
        assert len(done["ledger"]) == rows
        assert bool(done["route"]) is given


def _in_thread(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **options: asyncio.to_thread(call, *args, **options)


class Choice(TypedDict):
    routed: bool


def test_the_route_of_a_thread_names_its_one_loaded_skill() -> None:
    loaded, gone = {"rev": 1, "used": 1, "digest": "d"}, {"rev": 2, "used": 1, "gone": True}
    assert describe_state({"skills": {"pdf": loaded, "old": gone}}).skill == "pdf"
    assert describe_state({"skills": {"pdf": loaded, "csv": loaded}}).skill == ""
    assert describe_state({"route_pin": "a:b"}).pin == "a:b"


def test_a_recorded_answer_is_not_paid_again(saver: PlumbSaver, router: MakeRouter) -> None:
    crashes = [True]

    def check(state: Any) -> dict[str, Any]:
        if crashes.pop():
            raise Crash
        return {}

    model = ScriptedChatModel([call("look", where="north"), "nothing"], replay="turn")
    made = router(model)
    from plumbgraph.agents.effects import journal_for

    def agent() -> Any:
        return create_agent(
            made,
            [look],
            tool_node=_then(check),
            checkpointer=saver,
            effects=journal_for(saver),
        )

    with pytest.raises(Crash):
        agent().invoke(GIVEN, THREAD)
    crashes.append(False)
    done = agent().invoke(None, THREAD)
    assert done["messages"][-1].text == "nothing"
    assert len(model.calls) == 2


def _then(check: Callable[[Any], Any]) -> Any:
    from langchain_core.runnables import RunnableLambda

    def tools(state: Any) -> dict[str, Any]:
        check(state)
        made = state["messages"][-1].tool_calls[0]
        return {"messages": [ToolMessage("saw north", tool_call_id=made["id"])]}

    return RunnableLambda(tools, name="tools")


# --- memory ---


@pytest.fixture
def store(redis_url: str) -> Iterator[MemoryStore]:
    with MemoryStore(redis_url, attributes=[Attribute("city")]) as made:
        yield made


@colours
async def test_memory_by_namespace_recalls_remembers_and_gives_tools(
    colour: str, store: MemoryStore
) -> None:
    place = ("users", "{user_id}")
    keep = call("remember", subject="ann", attribute="city", value="Portland")
    model = ScriptedChatModel([keep, "kept", "Portland, of course"])
    agent = await made(model, system="Be kind.", memory=place, store=store)
    config: RunnableConfig = {"configurable": {"user_id": "u1"}}
    await run(agent, {"messages": [("user", "ann moved to Portland")]}, colour, config)
    given = {"messages": [("user", "which city does ann live in, Portland?")]}
    done = await run(agent, given, colour, config)
    assert "Portland" in model.calls[-1].messages[0].text
    assert model.calls[0].messages[0].text == "Be kind."
    assert done["recalled"]["keys"]
    assert {"remember", "recall", "forget"} <= set(model.calls[0].tool_names)
    facts = await store.afacts(("users", "u1"), "ann")
    assert [fact.value["value"] for fact in facts] == ["Portland"]
    other: RunnableConfig = {"configurable": {"user_id": "u2"}}
    model = ScriptedChatModel(["no idea"])
    stranger = await made(model, memory=Memory(namespace=place, tools=False), store=store)
    done = await run(stranger, given, colour, other)
    assert done["recalled"]["keys"] == []
    assert model.calls[0].tool_names == []


def test_a_part_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingsError, match="no part 'skill'"):
        create_agent(ScriptedChatModel([]), skill="x")  # type: ignore[call-arg]


def test_memory_without_a_store_is_refused_when_the_agent_is_made() -> None:
    with pytest.raises(SettingsError, match="MemoryStore"):
        create_agent(ScriptedChatModel([]), memory=("users",))
