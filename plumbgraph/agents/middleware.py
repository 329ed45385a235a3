"""Guard, workspace and effects as middleware for `langchain.agents`; needs the extra `agents`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from langchain_core.messages import ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from typing_extensions import override

from plumbgraph import plan as drivers
from plumbgraph.agents.effects import answer, call_of, failed, messages_in, repairing
from plumbgraph.agents.guard import GuardNode, GuardState
from plumbgraph.agents.node import Ask
from plumbgraph.agents.workspace import (
    KEY,
    WorkspaceState,
    as_entered,
    entering,
    leaving,
    reference_in,
    thread_of,
)
from plumbgraph.effects import Journal, Spec, spec_of
from plumbgraph.errors import MissingExtra, SettingsError
from plumbgraph.plan import Plan
from plumbgraph.tracing.guard import Guard
from plumbgraph.workspace import Workspace
from plumbgraph.workspace.merge import OnConflict
from plumbgraph.workspace.reference import beside

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, hook_config
except ModuleNotFoundError as missing:
    raise MissingExtra("Middleware needs langchain.", extra="agents") from missing

Answer: TypeAlias = ToolMessage | Command[Any]
Handler: TypeAlias = Callable[[ToolCallRequest], Answer]
AsyncHandler: TypeAlias = Callable[[ToolCallRequest], Awaitable[Answer]]


class _GuardedState(AgentState[Any], GuardState):
    """The agent's state with the guard's channels."""


class GuardMiddleware(AgentMiddleware[_GuardedState, Any, Any]):
    """Stops an agent that loops or outspends its limits; see `GuardNode`.

    Args:
        guard: Rules and limits.
        settings: As for `GuardNode`.
    """

    state_schema = _GuardedState

    def __init__(self, guard: Guard | None = None, **settings: Any) -> None:
        super().__init__()
        self._node = GuardNode(guard, **settings)

    @override
    @hook_config(can_jump_to=["end"])
    def before_model(self, state: _GuardedState, runtime: Any) -> dict[str, Any]:
        """The guard's update; jumps to the end when the run must stop."""
        update = self._node.update(state)
        return {**update, "jump_to": "end"} if update["stop_reason"] else update


class _HousedState(AgentState[Any], WorkspaceState):
    """The agent's state with the workspace's channel."""


class WorkspaceMiddleware(AgentMiddleware[_HousedState, Any, Any]):
    """Makes the files that tools work on part of the thread; see `WorkspaceNode`.

    Each tool call begins with the folder as the state says and ends with it recorded. Calls that
    run in parallel get a folder each; what they did is merged when the next one begins. Among
    several middlewares put it before `EffectMiddleware`.

    Args:
        workspace: The folder and its store.
        on_conflict: What happens when parallel calls changed the same file; see `WorkspaceNode`.
    """

    state_schema = _HousedState

    def __init__(self, workspace: Workspace, *, on_conflict: OnConflict = "error") -> None:
        super().__init__()
        self.workspace = workspace
        self.on_conflict = on_conflict

    @override
    def wrap_tool_call(self, request: ToolCallRequest, handler: Handler) -> Answer:
        """The tool's answer, with what became of the folder."""
        ask = Ask(lambda: handler(request), _other)
        return drivers.run(self._stay(request, ask), lambda each: each.call())

    @override
    async def awrap_tool_call(self, request: ToolCallRequest, handler: AsyncHandler) -> Answer:
        """See `wrap_tool_call`."""
        ask = Ask(_other, lambda: handler(request))
        return await drivers.arun(self._stay(request, ask), lambda each: each.acall())

    def _stay(self, request: ToolCallRequest, ask: Ask) -> Plan[Ask, Any, Answer]:
        thread = thread_of(request.runtime)  # type: ignore[arg-type]  # it has the same facts
        home = self.workspace.of_thread(thread)
        session = yield entering(home, reference_in(request.state), thread, self.on_conflict)
        try:
            with session.workspace.as_current(), as_entered(session):
                given = yield ask
            left = yield leaving(session)
        finally:
            session.close()
        return given if left is None else _with_update(given, {KEY: left})


def _with_update(given: Answer, update: dict[str, Any]) -> Answer:
    if isinstance(given, ToolMessage):
        return Command(update={"messages": [given], **update})
    if isinstance(given.update, dict):
        held = given.update.get(KEY)  # a subagent's files, which stay beside those of this call
        joined = {KEY: beside(held, update[KEY])} if held else update
        return replace(given, update={**given.update, **joined})
    if given.update is None:
        return replace(given, update=update)
    return replace(given, update=[*given.update, *update.items()])


class EffectMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Lets tools marked with `@effect` happen once, through crash and resume.

    Each marked call is recorded before it happens, and its answer after; see `EffectToolNode`.
    Calls that a crash left without an answer are answered before the model is asked again.

    Args:
        journal: Where calls are recorded; see `plumbgraph.agents.journal_for`.
        tools: The marked tools (they are added to the agent's), so that a call of one that never
            began can be told from one that nobody kept a record of.

    Raises:
        SettingsError: There is no journal.
    """

    def __init__(self, journal: Journal, tools: Iterable[Any] = ()) -> None:
        super().__init__()
        if not isinstance(journal, Journal):
            raise SettingsError(
                f"EffectMiddleware needs a journal, not {journal!r}.",
                hint="Pass journal_for(saver).",
            )
        self.journal = journal
        self.tools = list(tools)
        specs = [spec_of(tool) for tool in self.tools]
        self._names = frozenset(spec.name for spec in specs if spec is not None)

    @override
    def before_agent(self, state: AgentState[Any], runtime: Any) -> dict[str, Any] | None:
        """Answer the calls that a crash left open."""
        plan = repairing(self.journal, self._names, messages_in(state), runtime)
        return drivers.run(plan, lambda ask: ask.call())

    @override
    async def abefore_agent(self, state: AgentState[Any], runtime: Any) -> dict[str, Any] | None:
        """See `before_agent`."""
        plan = repairing(self.journal, self._names, messages_in(state), runtime)
        return await drivers.arun(plan, lambda ask: ask.acall())

    @override
    def wrap_tool_call(self, request: ToolCallRequest, handler: Handler) -> Answer:
        """The tool's answer, from the record where it is there."""
        if (spec := _marked(request)) is None:
            return handler(request)
        (task,) = self.journal.run(self.journal.prepare([_called(request, spec)]))
        found = self.journal.perform(task, lambda: handler(request), failed)
        given: Answer = answer(found, request)
        return given

    @override
    async def awrap_tool_call(self, request: ToolCallRequest, handler: AsyncHandler) -> Answer:
        """See `wrap_tool_call`."""
        if (spec := _marked(request)) is None:
            return await handler(request)
        (task,) = await self.journal.arun(self.journal.prepare([_called(request, spec)]))
        found = await self.journal.aperform(task, lambda: handler(request), failed)
        given: Answer = answer(found, request)
        return given


def _marked(request: ToolCallRequest) -> Spec | None:
    return spec_of(request.tool) if request.tool is not None else None


def _called(request: ToolCallRequest, spec: Spec) -> Any:
    return call_of(request.tool_call, messages_in(request.state)), spec


def _other() -> Any:
    raise AssertionError("the other color was asked for")
