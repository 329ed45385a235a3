"""What a step of the debug stream says in a line."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, ToolMessage

from plumbgraph.cli.steps import step_of


def event(result: Any) -> dict[str, Any]:
    return {"type": "task_result", "step": 3, "payload": {"name": "tools", "result": result}}


def answer(text: str) -> ToolMessage:
    return ToolMessage(text, name="look", tool_call_id="1")


def test_several_writes_of_one_node_are_all_told() -> None:
    writes = {"messages": {"$writes": [[answer("north")], answer("south")]}, "n": 1}
    step = step_of(event(writes))
    assert step is not None
    assert step.says == ("look returned: north", "look returned: south", "n = 1")


def test_one_message_and_pairs_are_told_too() -> None:
    for result in ({"messages": [answer("x")]}, [("messages", answer("x"))]):
        step = step_of(event(result))
        assert step is not None
        assert step.says == ("look returned: x",)
    said = step_of(event({"messages": AIMessage("hello")}))
    assert said is not None
    assert said.says == ("hello",)


def test_what_was_said_comes_first_and_the_parts_own_memory_not_at_all() -> None:
    result = {
        "guard": {"run": "1"},
        "route": {"model": "small", "reason": "It is cheapest.", "candidates": []},
        "skills": {"a": {}},
        "ledger": {},
        "skills_catalog": {"turn": "1"},
        "stop_reason": None,
        "messages": [AIMessage("hello")],
    }
    step = step_of(event(result))
    assert step is not None
    assert step.says == ("hello", "route: small, It is cheapest.")
    own = step_of(event({"guard": "the user's own", "stop_reason": "a loop", "n": None}))
    assert own is not None
    assert own.says == ("guard = the user's own", "stop_reason = a loop", "n = null")


def test_other_events_are_no_steps() -> None:
    assert step_of({"type": "task", "step": 1, "payload": {}}) is None
