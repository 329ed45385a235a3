"""The guard as a node: reads the run's new messages, warns the model once, then ends the run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NotRequired

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from typing_extensions import TypedDict, override

from plumbgraph.agents.node import Ask, Node, State
from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.plan import Plan
from plumbgraph.tracing import emit
from plumbgraph.tracing.guard import NOTICE, Guard, GuardMemory, Judgement, Observation
from plumbgraph.tracing.loops import Call, Print, fingerprint

_PROCESS = uuid.uuid4().hex

Progress = Callable[[State], str]
"""A digest of whatever else shows progress: another value means the run moves on."""


class GuardState(TypedDict):
    """The guard's channels: its memory (version 1), and why the run was stopped, if it was."""

    guard: NotRequired[GuardMemory]
    stop_reason: NotRequired[str | None]


def workspace_progress(state: State) -> str:
    """The digest of the state's workspace, so that a changed file counts as progress."""
    return str(state.get("workspace") or "")


class GuardNode(Node):
    """Stops runs that loop or outspend their limits; put it before the model, inside the loop.

    A loop is told to the model once, as a message; when it goes on, the run ends with a last
    message that says why, `stop_reason` in the state, and everything saved. `way` is the
    condition for the edge behind it.

    Args:
        guard: Rules and limits.
        progress: Digest of further progress; by default the workspace's.
        clock: Where the time comes from.
        name: The node's name in the graph.
    """

    state_schema = GuardState

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        progress: Progress = workspace_progress,
        clock: Clock = SYSTEM,
        name: str = "guard",
    ) -> None:
        super().__init__(name=name)
        self.guard = guard or Guard()
        self.progress = progress
        self.clock = clock

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, Any]]:
        yield from ()
        return self.update(state)

    def update(self, state: State) -> dict[str, Any]:
        """Judge the run as the state shows it, emit what was found, and return the update."""
        messages: Sequence[BaseMessage] = state["messages"]
        memory: GuardMemory = state.get("guard") or GuardMemory()
        fresh = _since(messages, memory.get("last_id"))
        seen = Observation(
            run=_run_of(messages),
            prints=list(_prints(fresh, self.progress(state))),
            cost_usd=sum(map(_cost, fresh)),
            at=self.clock.now(),
            process=_PROCESS,
        )
        judged = self.guard.judge(memory, seen)
        if judged.event:
            emit(judged.event)
        kept = {**judged.memory, "last_id": messages[-1].id if messages else None}
        stop = judged.code if judged.action == "stop" else None
        return {"guard": kept, "stop_reason": stop, "messages": _said(judged)}

    @staticmethod
    def way(state: State) -> str:
        """Where the guard leads: `stop`, or `go` on."""
        return "stop" if state.get("stop_reason") else "go"


def _since(messages: Sequence[BaseMessage], last_id: str | None) -> Sequence[BaseMessage]:
    """The messages after the one with this id; all of them where it is gone."""
    if last_id is not None:
        for index in range(len(messages) - 1, -1, -1):
            if messages[index].id == last_id:
                return messages[index + 1 :]
    return messages


def _run_of(messages: Sequence[BaseMessage]) -> str:
    """A run begins with what a person says; its message's id survives a resume."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage) and NOTICE not in message.additional_kwargs:
            return message.id or ""
    return ""


def _prints(fresh: Sequence[BaseMessage], progress: str) -> Iterator[Print]:
    asked = {
        call["id"]: call
        for message in fresh
        if isinstance(message, AIMessage)
        for call in message.tool_calls
    }
    for message in fresh:
        if isinstance(message, ToolMessage):
            call: Mapping[str, Any] = asked.get(message.tool_call_id) or {}
            yield fingerprint(
                Call(
                    name=call.get("name") or message.name or "tool",
                    args=call.get("args") or {},
                    result=str(message.text),
                    failed=message.status == "error",
                    progress=progress,
                )
            )


def _cost(message: BaseMessage) -> float:
    routed = message.response_metadata.get("plumbgraph")
    usage = getattr(message, "usage_metadata", None) or {}
    cost = usage.get("total_cost")
    if cost is None and isinstance(routed, Mapping):
        cost = routed.get("cost_usd")
    return float(cost) if isinstance(cost, int | float) else 0.0


def _said(judged: Judgement) -> list[BaseMessage]:
    if judged.action == "warn":
        text = (
            f"Notice from the run's guard: {judged.reason}. Do not repeat these calls. Try "
            "another way, or say what is missing and finish."
        )
        return [HumanMessage(text, additional_kwargs={NOTICE: judged.code})]
    if judged.action == "stop":
        text = f"I was stopped because {judged.reason}. The work so far is saved."
        return [AIMessage(text, response_metadata={"stop_reason": judged.code})]
    return []
