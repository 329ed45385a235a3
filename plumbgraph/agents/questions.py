"""Questions of several subagents in one step, one after the other in the order of their calls.

LangGraph gives a task's answers to its interrupts by their number. So the interrupts of tools that
run at once must come in the same order each time, whoever is quicker, and one whose question was
answered before must take its answer again before the next may ask.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.errors import GraphInterrupt
from langgraph.prebuilt import ToolRuntime
from langgraph.types import interrupt

from plumbgraph.agents.node import Ask
from plumbgraph.plan import Plan

MARK = "plumbgraph_subagent"
"""In a tool's metadata: it is a subagent."""

_LOOK_EVERY_S = 0.01
_APPEARS_WITHIN_S = 5.0
_MOST = 1_024


@dataclass(slots=True)
class _Step:
    """The subagents that run in one task."""

    came: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)


_steps: OrderedDict[str, _Step] = OrderedDict()
_lock = Lock()


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one subagent among those of its step.

    Attributes:
        call_id: Its tool call.
        earlier: The tool calls whose questions come first.
        since: When it came, on the monotonic clock.
    """

    step: _Step
    call_id: str
    earlier: tuple[str, ...]
    since: float

    def skipped(self, answers: int) -> Plan[Ask, Any, None]:
        """Take the answers again that were given before this run of the task."""
        if answers:
            yield from self.reached()
        for _ in range(answers):
            interrupt({"kind": "plumbgraph.subagent", "again": self.call_id})

    def reached(self) -> Plan[Ask, Any, None]:
        """Wait until it may ask.

        Raises:
            GraphInterrupt: One that comes first is waiting for its answer.
        """
        while waiting := [each for each in self.earlier if each not in self.step.answered]:
            if self.step.stopped.intersection(waiting):
                raise GraphInterrupt(())
            late = time.monotonic() - self.since > _APPEARS_WITHIN_S
            if late and not self.step.came.intersection(waiting):
                return  # they were refused before they ran
            yield Ask(lambda: time.sleep(_LOOK_EVERY_S), lambda: asyncio.sleep(_LOOK_EVERY_S))


@contextmanager
def queued(runtime: ToolRuntime[Any, Any]) -> Iterator[Place]:
    """The place of a call for as long as it runs."""
    info = runtime.execution_info
    key = info.task_id if info is not None else str(id(runtime))
    call_id = str(runtime.tool_call_id)
    among = _among(runtime, call_id)
    step = _entered(key, call_id)
    ended = step.stopped
    try:
        yield Place(step, call_id, among[: among.index(call_id)], time.monotonic())
        ended = step.answered
    finally:
        ended.add(call_id)
        if step.answered | step.stopped >= set(among):
            with _lock:
                _steps.pop(key, None)


def _entered(key: str, call_id: str) -> _Step:
    """The step of a task; a new one where the task runs again."""
    with _lock:
        step = _steps.get(key)
        if step is None or call_id in step.came:
            step = _steps[key] = _Step()
        step.came.add(call_id)
        while len(_steps) > _MOST:
            _steps.popitem(last=False)
    return step


def _among(runtime: ToolRuntime[Any, Any], call_id: str) -> tuple[str, ...]:
    """The subagents that are called in the same task, in the order of their calls."""
    path = runtime.config.get("metadata", {}).get("langgraph_path") or ()
    state = runtime.state
    if path[:1] == ("__pregel_push",) or not isinstance(state, Mapping):
        return (call_id,)  # its task is its own
    held = [m for m in state.get("messages", ()) if isinstance(m, AIMessage)]
    subagents = {tool.name for tool in runtime.tools if (tool.metadata or {}).get(MARK)}
    calls = held[-1].tool_calls if held else []
    ids = tuple(str(made["id"]) for made in calls if made["name"] in subagents)
    return ids if call_id in ids else (call_id,)
