"""What decides before the model shares its super-step, and nothing is lost by that."""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, NotRequired

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from plumbgraph import Guard
from plumbgraph.agents import Node, create_agent
from plumbgraph.agents import routing as routing_nodes
from plumbgraph.agents.guard import GuardNode
from plumbgraph.agents.node import Ask, State
from plumbgraph.agents.turn import TurnNode, joined
from plumbgraph.plan import Plan
from plumbgraph.postgres.statement import Statement
from plumbgraph.routing import Budget, CostRouter, Limit
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
        return await agent.ainvoke(value, config, durability="sync")
    return await asyncio.to_thread(agent.invoke, value, config, durability="sync")


def look(where: str) -> str:
    """Look somewhere."""
    return f"saw {where}"


class _Words(TypedDict):
    seen: NotRequired[Annotated[list[str], operator.add]]
    facts: NotRequired[dict[str, int]]
    last: str
    stopped: NotRequired[bool]


class Says(Node):
    """Notes how many words it sees, and says one more."""

    state_schema = _Words

    def __init__(self, name: str, *, stops: bool = False) -> None:
        super().__init__(name=name)
        self.stops = stops

    def plan(self, state: State, runtime: Any, config: Any) -> Plan[Ask, Any, dict[str, Any]]:
        async def later() -> int:
            return len(state.get("seen") or ())

        count = yield Ask(lambda: len(state.get("seen") or ()), later)
        said = {"seen": [self.name], "facts": {self.name: count}, "last": self.name}
        return {**said, "stopped": True} if self.stops else said


class Stops(Says):
    """Ends the turn where it is told to."""

    @staticmethod
    def way(state: State) -> str:
        return "stop" if state.get("stopped") else "go"


def graph_of(node: Node) -> Any:
    graph = StateGraph(_Words)
    graph.add_node("turn", node)
    graph.add_edge(START, "turn")
    return graph.compile()


@colours
async def test_each_node_inside_sees_what_the_ones_before_it_said(colour: str) -> None:
    node = TurnNode(Says("c"), [Stops("a"), Says("b")])
    agent = graph_of(node)
    given = {"seen": ["x"], "last": ""}
    ran = agent.ainvoke(given) if colour == "async" else asyncio.to_thread(agent.invoke, given)
    done = await ran
    assert done["seen"] == ["x", "a", "b", "c"]
    assert done["facts"] == {"a": 1, "b": 2, "c": 3}
    assert done["last"] == "c"
    assert node.inside == ("a", "b", "c")
    assert node.get_name() == "c"


def test_one_that_stops_is_the_last_that_is_heard() -> None:
    node = TurnNode(Says("c"), [Says("a"), Stops("b", stops=True)])
    done = graph_of(node).invoke({"seen": [], "last": ""})
    assert done["seen"] == ["a", "b"]
    assert node.way(done) == "stop"
    assert node.way({}) == "go"
    assert not hasattr(TurnNode(Says("c"), [Says("a")]), "way")


def test_two_updates_are_one() -> None:
    one, other = {"l": [1], "m": {"a": 1}, "v": 1, "k": 0}, {"l": [2], "m": {"b": 2}, "v": 2}
    assert joined(one, other) == {"l": [1, 2], "m": {"a": 1, "b": 2}, "v": 2, "k": 0}


# --- in an agent ---


def steps_of(agent: Any) -> set[str]:
    return set(agent.get_graph().nodes) - {"__start__", "__end__"}


def test_what_only_decides_is_no_step_of_its_own(
    saver: PlumbSaver, skills: Path, router: MakeRouter
) -> None:
    parts: dict[str, Any] = {"guard": Guard(), "skills": str(skills)}
    plain = create_agent(ScriptedChatModel([call("look", where="up"), "ok"]), [look], **parts)
    assert steps_of(plain) == {"model", "tools"}
    assert plain.nodes["model"].metadata == {"description": "In this order: guard, skills, model."}
    routed = router(ScriptedChatModel([call("look", where="up"), "ok"]))
    agent = create_agent(routed, [look], checkpointer=saver, **parts)
    assert steps_of(agent) == {"model", "tools"}
    done = agent.invoke(GIVEN, THREAD)
    assert (agent.get_state(THREAD).metadata or {})["step"] == 3
    assert done["route"]["model"] == done["messages"][-1].response_metadata["plumbgraph"]["model"]
    assert done["skills_catalog"]["shown"] == ["pdf"]
    assert done["guard"]["calls"] == 1


def test_a_decision_that_no_journal_keeps_has_a_step_of_its_own(
    skills: Path, router: MakeRouter
) -> None:
    agent = create_agent(
        router(ScriptedChatModel(["ok"])), [look], guard=Guard(), skills=str(skills)
    )
    assert steps_of(agent) == {"router", "model", "tools"}
    updates = list(agent.stream(GIVEN, stream_mode="updates"))
    assert [list(each) for each in updates] == [["router"], ["model"]]
    assert updates[0]["router"]["route"]["model"] == "scripted:scripted"
    assert len(updates[1]["model"]["ledger"]) == 1


def test_a_node_of_ones_own_stays_between_the_guard_and_the_model(skills: Path) -> None:
    agent = create_agent(
        ScriptedChatModel(["ok"]), guard=Guard(), skills=str(skills), each_turn=[Says("own")]
    )
    assert steps_of(agent) == {"guard", "own", "model", "tools"}
    assert agent.invoke({**GIVEN, "seen": [], "last": ""})["seen"] == ["own"]


@pytest.mark.parametrize("journal", ["kept", "none"])
def test_the_guard_warns_before_it_stops_and_a_stopped_model_is_not_asked(
    saver: PlumbSaver, router: MakeRouter, journal: str
) -> None:
    model = ScriptedChatModel([call("look", where="up")], on_end="repeat")
    parts: dict[str, Any] = {"checkpointer": saver} if journal == "kept" else {}
    agent = create_agent(router(model), [look], guard=Guard(), **parts)
    done = agent.invoke(GIVEN, THREAD)
    notices = [m for m in done["messages"] if isinstance(m, HumanMessage)][1:]
    assert len(notices) == 1
    assert notices[0].text in [m.text for m in model.calls[-1].messages]
    asked = sum(isinstance(m, AIMessage) for m in done["messages"])
    assert done["messages"][-1].response_metadata["stop_reason"] == done["stop_reason"]
    assert len(model.calls) == asked - 1
    assert len(done["ledger"]) == len(model.calls)
    after = done["messages"].index(notices[0]) + 1
    assert isinstance(done["messages"][after], AIMessage)


def test_guard_node_still_stands_alone() -> None:
    assert GuardNode(Guard()).inside == ("guard",)


# --- through a crash ---


def test_the_decision_and_its_money_are_on_record_before_the_model_is_asked(
    saver: PlumbSaver, router: MakeRouter, redis_url: str
) -> None:
    crashes = [True]

    def respond(_: Any) -> Any:
        if crashes:
            raise Crash(crashes.pop())
        return "ok"

    with closing(Budget([Limit("tenant", 1.0)], redis=redis_url)) as budget:
        routed = router(ScriptedChatModel.from_messages(respond), budget=budget)
        agent = create_agent(routed, checkpointer=saver)
        with pytest.raises(Crash):
            agent.invoke(GIVEN, THREAD, durability="sync")
        (intent,), (account,) = intents(saver), budget.balances()
        assert intent["decision"]["model"] == "scripted:scripted"
        assert intent["lease"]["nano"] == account.held_nano > 0
        done = agent.invoke(None, THREAD)
        assert done["messages"][-1].text == "ok"
        assert [each.lease for each in budget.doubts()] == [intent["lease"]["lease"]]


def intents(saver: PlumbSaver) -> list[Any]:
    """What the journal was told of calls that were about to happen."""
    found = saver.database.send((Statement("SELECT intent FROM {schema}.calls"),))
    return [json.loads(row[0]) if isinstance(row[0], str) else row[0] for row in found[0]]


@colours
async def test_an_answer_that_its_step_did_not_store_is_not_paid_again(
    colour: str, saver: PlumbSaver, router: MakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedChatModel(["ok"])
    routed = await asyncio.to_thread(router, model)
    agent = await asyncio.to_thread(create_agent, routed, checkpointer=saver)

    def crash(_: Any) -> Any:
        raise Crash

    with monkeypatch.context() as broken:
        broken.setattr(routing_nodes, "ledger_of", crash)
        with pytest.raises(Crash):
            await run(agent, GIVEN, colour)
    done = await run(agent, None, colour)
    assert done["messages"][-1].text == "ok"
    assert done["messages"][-1].response_metadata["plumbgraph"]["replayed"]
    assert len(model.calls) == len(done["ledger"]) == 1
    assert done["route"]["model"] == "scripted:scripted"
