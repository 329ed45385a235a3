from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from plumbgraph.agents.guard import GuardNode
from plumbgraph.clock import HandClock
from plumbgraph.errors import SettingsError
from plumbgraph.tracing.guard import Guard, GuardMemory, Judgement, Observation
from plumbgraph.tracing.loops import Call, fingerprint

SAME = fingerprint(Call("look", {"at": "it"}, "nothing"))


def seen(*, at: float = 0.0, run: str = "r", cost: float = 0.0, process: str = "p") -> Observation:
    return Observation(run, [SAME], cost, at, process)


def judged(guard: Guard, times: int) -> list[Judgement]:
    memory: GuardMemory = {}
    found = []
    for step in range(times):
        found.append(guard.judge(memory, seen(at=float(step))))
        memory = found[-1].memory
    return found


def test_warns_once_then_stops() -> None:
    actions = [each.action for each in judged(Guard(patience=3), 12)]
    assert actions.count("warn") == 1
    first = actions.index("warn")
    assert actions[first + 1 : first + 4] == ["go", "go", "stop"]


def test_the_judgement_carries_what_to_emit() -> None:
    found = judged(Guard(), 12)
    warned = next(each for each in found if each.action == "warn")
    assert warned.event
    assert warned.event.fields()["cycle"] == ("look",)
    stopped = next(each for each in found if each.action == "stop")
    assert stopped.memory["stop_reason"] == stopped.code == "loop.cycle"


def test_a_new_run_starts_anew() -> None:
    guard = Guard()
    memory = judged(guard, 7)[-1].memory
    assert guard.judge(memory, seen(run="another")).memory["calls"] == 1


def test_steps_dollars_and_time_are_bounded() -> None:
    guard = Guard(max_steps=3, max_usd=0.25, max_s=60)
    assert judged(guard, 4)[-1].code == "budget.steps"
    assert guard.judge({}, seen(cost=0.26)).code == "budget.cost"
    assert guard.judge({}, seen(cost=0.25)).action == "go"
    first = guard.judge({}, seen(at=0))
    assert guard.judge(first.memory, seen(at=61)).code == "budget.time"


def test_time_between_processes_is_not_counted() -> None:
    guard = Guard(max_s=60)
    first = guard.judge({}, seen(at=0, process="one"))
    later = guard.judge(first.memory, seen(at=86_400, process="two"))
    assert later.action == "go"
    assert later.memory["active_s"] == 0


def test_a_clock_that_jumps_back_costs_nothing() -> None:
    guard = Guard(max_s=60)
    first = guard.judge({}, seen(at=1000))
    assert guard.judge(first.memory, seen(at=0)).memory["active_s"] == 0


def test_memory_stays_small() -> None:
    memory = judged(Guard(patience=10_000, max_steps=10_000), 400)[-1].memory
    assert len(memory["prints"]) == 100
    assert memory["calls"] == 400


@pytest.mark.parametrize("name", ["patience", "max_steps", "max_usd", "max_s"])
def test_limits_must_be_positive(name: str) -> None:
    limits: dict[str, Any] = {name: 0}
    with pytest.raises(SettingsError, match=name):
        Guard(**limits)


def conversation(rounds: int) -> list[Any]:
    messages: list[Any] = [HumanMessage("go", id="h")]
    for index in range(rounds):
        call = {"name": "look", "args": {"at": "it"}, "id": f"c{index}"}
        messages.append(AIMessage("", tool_calls=[call], id=f"a{index}"))
        messages.append(ToolMessage("nothing", tool_call_id=f"c{index}", id=f"t{index}"))
    return messages


def test_the_node_reads_only_what_is_new() -> None:
    node = GuardNode(clock=HandClock())
    first = node.update({"messages": conversation(2)})
    assert first["guard"]["calls"] == 2
    again = node.update({"messages": conversation(3), "guard": first["guard"]})
    assert again["guard"]["calls"] == 3
    assert again["messages"] == []


def test_the_node_says_why_it_stopped() -> None:
    node = GuardNode(Guard(patience=2), clock=HandClock())
    state: dict[str, Any] = {"messages": conversation(0)}
    said = []
    for rounds in range(1, 12):
        state = {**state, "messages": conversation(rounds)}
        update = node.update(state)
        said.extend(update.pop("messages"))
        state = {**state, **update}
        if node.way(state) == "stop":
            break
    assert state["stop_reason"] == "loop.cycle"
    assert [type(each) for each in said] == [HumanMessage, AIMessage]
    assert "Do not repeat" in said[0].content
    assert said[1].response_metadata["stop_reason"] == "loop.cycle"


def test_the_warning_does_not_begin_a_new_run() -> None:
    node = GuardNode(Guard(patience=50), clock=HandClock())
    state: dict[str, Any] = {"messages": conversation(8)}
    update = node.update(state)
    assert update["messages"]
    later = [*state["messages"], *update["messages"]]
    again = node.update({"messages": later, "guard": update["guard"]})
    assert again["guard"]["calls"] == 8
    assert again["guard"]["warned"] == "loop.cycle"
