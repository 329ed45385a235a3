from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from plumbgraph.agents import Node, build_agent, create_agent
from plumbgraph.agents.node import Ask, State
from plumbgraph.errors import SettingsError
from plumbgraph.plan import Plan
from plumbgraph.testing import PlannedCall, Reply, ScriptedChatModel, ScriptItem, call
from plumbgraph.tracing.guard import Guard

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def ask_first(question: str) -> str:
    """Ask the user."""
    return f"They said {interrupt({'question': question})}."


def kinds(messages: Sequence[BaseMessage]) -> list[str]:
    return [message.type for message in messages]


async def test_both_colours_go_through_model_and_tools() -> None:
    script: list[ScriptItem] = [[call("add", a=1, b=2), call("add", a=3, b=4)], "3 and 7"]
    for colour in ("sync", "async"):
        model = ScriptedChatModel(script)
        agent = create_agent(model, [add], system="Be exact.")
        given = {"messages": [("user", "1 + 2, 3 + 4?")]}
        done = await agent.ainvoke(given) if colour == "async" else agent.invoke(given)
        assert kinds(done["messages"]) == ["human", "ai", "tool", "tool", "ai"]
        assert [m.text for m in done["messages"][2:4]] == ["3", "7"]
        assert [made.tool_names for made in model.calls] == [["add"], ["add"]]
        first = model.calls[0].messages
        assert isinstance(first[0], SystemMessage)
        assert first[0].text == "Be exact."


def test_without_tools_it_is_one_call() -> None:
    model = ScriptedChatModel(["hello"])
    agent = create_agent(model)
    assert agent.invoke({"messages": ["hi"]})["messages"][-1].text == "hello"
    assert set(agent.get_graph().nodes) == {"__start__", "model", "__end__"}


def test_a_model_by_function_sees_state_and_context() -> None:
    class Context(TypedDict):
        who: str

    def choose(state: State, runtime: Runtime[Any]) -> ScriptedChatModel:
        return ScriptedChatModel([f"{runtime.context['who']}: {len(state['messages'])}"])

    agent = create_agent(choose, context_schema=Context)
    done = agent.invoke({"messages": ["a", "b"]}, context={"who": "ann"})
    assert done["messages"][-1].text == "ann: 2"


def test_sections_are_joined_in_order_and_never_stored() -> None:
    model = ScriptedChatModel(["ok"])
    sections: list[Any] = [
        "One.",
        lambda state, _: f"{len(state['messages'])} message.",
        lambda *_: None,
    ]
    done = create_agent(model, system=sections).invoke({"messages": ["x"]})
    assert model.calls[0].messages[0].text == "One.\n\n1 message."
    assert kinds(done["messages"]) == ["human", "ai"]


async def test_tokens_and_tool_chunks_stream_out_of_the_model_node() -> None:
    model = ScriptedChatModel([call("add", a=1, b=2), "that is three"], on_end="cycle")
    agent = create_agent(model, [add])
    events: Any = agent.astream({"messages": ["x"]}, stream_mode="messages")
    seen = [(chunk, meta["langgraph_node"]) async for chunk, meta in events]
    texts = [chunk.text for chunk, node in seen if node == "model" and chunk.text]
    assert texts == ["that", " is", " three"]
    assert any(getattr(chunk, "tool_call_chunks", None) for chunk, _ in seen)
    assert [chunk.text for chunk, node in seen if node == "tools"] == ["3"]


def test_arguments_that_are_not_json_are_answered_so_that_the_model_can_repeat_them() -> None:
    broken = PlannedCall("add", "not json")
    model = ScriptedChatModel([broken, [broken, call("add", a=1, b=1)], "2"])
    done = create_agent(model, [add]).invoke({"messages": ["x"]})["messages"]
    assert kinds(done) == ["human", "ai", "tool", "ai", "tool", "tool", "ai"]
    assert [m.status for m in done if isinstance(m, ToolMessage)] == ["error", "error", "success"]
    asked = [made["id"] for m in done if isinstance(m, AIMessage) for made in m.tool_calls]
    asked += [made["id"] for m in done if isinstance(m, AIMessage) for made in m.invalid_tool_calls]
    answered = [m.tool_call_id for m in done if isinstance(m, ToolMessage)]
    assert sorted(map(str, asked)) == sorted(answered)


def test_interrupt_in_a_tool_and_resume() -> None:
    model = ScriptedChatModel([call("ask_first", question="sure?"), "good"], replay="turn")
    agent = create_agent(model, [ask_first], checkpointer=InMemorySaver())
    stopped = agent.invoke({"messages": ["go"]}, THREAD)
    assert stopped["__interrupt__"][0].value == {"question": "sure?"}
    done = agent.invoke(Command(resume="yes"), THREAD)
    assert [m.text for m in done["messages"][-2:]] == ["They said yes.", "good"]


def test_an_endless_model_is_stopped_and_keeps_its_thread() -> None:
    model = ScriptedChatModel([call("add", a=1, b=1)], on_end="repeat")
    agent = create_agent(model, [add], checkpointer=InMemorySaver(), max_steps=7)
    with pytest.raises(GraphRecursionError):
        agent.invoke({"messages": ["x"]}, THREAD)
    assert len(agent.get_state(THREAD).values["messages"]) > 4


class Count(Node):
    """Counts how often it ran, and looks a name up in the store."""

    class _Schema(TypedDict):
        ran: Annotated[list[str], operator.add]

    state_schema = _Schema

    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, list[str]]]:
        store = runtime.store
        assert store is not None
        item = yield Ask(lambda: store.get(("n",), "k"), lambda: store.aget(("n",), "k"))
        return {"ran": [f"{self.name}:{item.value['x']}"]}


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_nodes_plug_in_before_each_turn_and_after(colour: str) -> None:
    store = InMemoryStore()
    store.put(("n",), "k", {"x": 1})
    agent = create_agent(
        ScriptedChatModel([call("add", a=1, b=2), "3"]),
        [add],
        before=[Count(name="first")],
        each_turn=[Count(name="turn")],
        after=[Count(name="last")],
        store=store,
    )
    given = {"messages": ["x"]}
    done = await agent.ainvoke(given) if colour == "async" else agent.invoke(given)
    assert done["ran"] == ["first:1", "turn:1", "turn:1", "last:1"]


def test_a_plan_that_handles_an_error_goes_on_and_one_that_does_not_raises() -> None:
    class Careful(Count):
        def plan(
            self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
        ) -> Plan[Ask, Any, dict[str, list[str]]]:
            try:
                yield from super().plan(state, runtime, config)
            except AttributeError:
                return {"ran": ["nothing stored"]}
            raise AssertionError

    model = ScriptedChatModel(["x"], on_end="repeat")
    agent = create_agent(model, before=[Careful()], store=InMemoryStore())
    assert agent.invoke({"messages": ["x"]})["ran"] == ["nothing stored"]
    with pytest.raises(AttributeError):
        create_agent(model, before=[Count()], store=InMemoryStore()).invoke({"messages": ["x"]})


def test_two_nodes_of_one_name_and_two_meanings_of_one_channel_are_refused() -> None:
    class Other(TypedDict):
        ran: int

    model = ScriptedChatModel(["x"])
    with pytest.raises(SettingsError, match="Two nodes are named 'Count'"):
        build_agent(model, before=[Count()], after=[Count()])
    with pytest.raises(SettingsError, match="channel 'ran'"):
        build_agent(model, before=[Count()], state_schema=Other)


def test_a_node_can_be_called_by_hand() -> None:
    class Plain(Node):
        def plan(
            self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
        ) -> Plan[Ask, Any, Any]:
            yield from ()
            return {"store": runtime.store, **state}

    assert Plain().invoke({"a": 1}) == {"store": None, "a": 1}
    assert Plain().get_name() == "Plain"


def test_the_model_can_fail_and_the_thread_goes_on_from_before() -> None:
    script: list[ScriptItem] = [call("add", a=1, b=2), Reply(text="3")]
    saver = InMemorySaver()
    failing = ScriptedChatModel([script[0], TimeoutError("provider")])
    with pytest.raises(TimeoutError):
        create_agent(failing, [add], checkpointer=saver).invoke({"messages": ["x"]}, THREAD)
    healthy = ScriptedChatModel(script, replay="turn")
    done = create_agent(healthy, [add], checkpointer=saver).invoke(None, THREAD)
    assert kinds(done["messages"]) == ["human", "ai", "tool", "ai"]
    assert len(healthy.calls) == 1


def test_a_guard_ends_a_loop_and_what_comes_after_still_runs() -> None:
    model = ScriptedChatModel([call("add", a=1, b=1)], on_end="repeat")
    store = InMemoryStore()
    store.put(("n",), "k", {"x": 1})
    agent = create_agent(model, [add], guard=Guard(), after=[Count(name="last")], store=store)
    done = agent.invoke({"messages": [("user", "go")]})
    assert done["stop_reason"]
    assert done["ran"] == ["last:1"]
    assert len(model.calls) < 30
    assert "I was stopped" in done["messages"][-1].text
