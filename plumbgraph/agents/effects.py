"""Effects in a graph: the node that runs tools once, and the repair of open tool calls."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphBubbleUp
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import override

from plumbgraph.agents.line import line_of
from plumbgraph.agents.node import Ask, Node, State
from plumbgraph.effects import Call, Journal, Spec, dangling, repaired, spec_of
from plumbgraph.effects.decorator import starts_itself
from plumbgraph.effects.once import Task
from plumbgraph.errors import SettingsError
from plumbgraph.plan import Plan
from plumbgraph.postgres.pool import Database
from plumbgraph.state import PlumbSaver

Execute: TypeAlias = Callable[[ToolCallRequest], Any]
AExecute: TypeAlias = Callable[[ToolCallRequest], Awaitable[Any]]


def journal_for(
    saver: BaseCheckpointSaver[Any],
    database: Database | str | None = None,
    *,
    tenant: str = "default",
    **options: Any,
) -> Journal:
    """A journal of effects that knows the threads of a checkpointer.

    Args:
        saver: The graph's checkpointer.
        database: Where the journal lies; with a PlumbSaver its own database by default.
        tenant: Whose threads.
        options: Further keywords of `Journal`.

    Raises:
        SettingsError: The checkpointer has no database of ours, and none is given.
    """
    if database is None:
        if not isinstance(saver, PlumbSaver):
            raise SettingsError(
                f"A journal beside {type(saver).__name__} needs a PostgreSQL of its own.",
                hint="Pass its URL as `database`.",
            )
        database = saver.database
    options.setdefault("codec", saver.serde)
    return Journal(database, line=line_of(saver, tenant=tenant), tenant=tenant, **options)


@dataclass(slots=True)
class _Batch:
    """The tool calls one node is running, prepared, and what went wrong beside the tools."""

    tasks: dict[str, Task] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)


_batch: ContextVar[_Batch | None] = ContextVar("plumbgraph_effect_batch", default=None)


class EffectToolNode(ToolNode):
    """LangGraph's `ToolNode`, in which tools marked with `@effect` happen once.

    Each marked call is recorded before it happens, and its answer after. When the node runs
    again after a crash, a recorded answer is returned; a call that began and has no answer is
    reconciled, repeated under its idempotency key, or asked about with an `interrupt`, as the
    effect declares. Unmarked tools run as ever.

    Args:
        tools: As for `ToolNode`.
        journal: Where calls are recorded; see `journal_for`.
        options: All other keywords of `ToolNode`, `wrap_tool_call` included.

    Raises:
        SettingsError: There is no journal.
    """

    def __init__(
        self, tools: Sequence[BaseTool | Callable[..., Any]], *, journal: Journal, **options: Any
    ) -> None:
        if not isinstance(journal, Journal):
            raise SettingsError(
                f"EffectToolNode needs a journal, not {journal!r}.",
                hint="Pass journal=journal_for(saver).",
            )
        self.journal = journal
        self._inner = options.pop("wrap_tool_call", None)
        self._ainner = options.pop("awrap_tool_call", None)
        super().__init__(tools, wrap_tool_call=self._once, awrap_tool_call=self._aonce, **options)
        marked = {name for name, tool in self.tools_by_name.items() if starts_itself(tool)}
        # What a wrapper of the user's does before the tool may be the effect.
        self._starts = frozenset() if self._inner or self._ainner else frozenset(marked)

    @property
    def effects(self) -> dict[str, Spec]:
        """The marked tools by name."""
        found = {name: spec_of(tool) for name, tool in self.tools_by_name.items()}
        return {name: spec for name, spec in found.items() if spec is not None}

    @override
    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        calls = self._calls(input)
        with _batched() as batch:
            if calls:
                batch.tasks = _by_id(self.journal.run(self.journal.prepare(calls)))
            result = super().invoke(input, config, **kwargs)
        return _unless_failed(batch, result)

    @override
    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        calls = self._calls(input)
        with _batched() as batch:
            if calls:
                batch.tasks = _by_id(await self.journal.arun(self.journal.prepare(calls)))
            result = await super().ainvoke(input, config, **kwargs)
        return _unless_failed(batch, result)

    def _calls(self, given: Any) -> list[tuple[Call, Spec]]:
        effects = self.effects
        found = tool_calls(given, self._messages_key)
        return [(call, effects[call.name]) for call in found if call.name in effects]

    def _once(self, request: ToolCallRequest, execute: Execute) -> Any:
        task, batch = _prepared(request)
        if self._inner is not None:
            inner, execute_tool = self._inner, execute
            execute = lambda asked: inner(asked, execute_tool)  # noqa: E731 - wraps in place
        if task is None:
            return execute(request)
        try:
            starts = task.call.name in self._starts
            found = self.journal.perform(
                task, lambda: execute(request), failed, starts_itself=starts
            )
            return answer(found, request)
        except GraphBubbleUp:
            raise
        except Exception as error:
            batch.failures.append(error)
            raise

    async def _aonce(self, request: ToolCallRequest, execute: AExecute) -> Any:
        task, batch = _prepared(request)
        if self._ainner is not None:
            inner, execute_tool = self._ainner, execute
            execute = lambda asked: inner(asked, execute_tool)  # noqa: E731 - wraps in place
        if task is None:
            return await execute(request)
        try:
            starts = task.call.name in self._starts
            found = await self.journal.aperform(
                task, lambda: execute(request), failed, starts_itself=starts
            )
            return answer(found, request)
        except GraphBubbleUp:
            raise
        except Exception as error:
            batch.failures.append(error)
            raise


@contextmanager
def _batched() -> Iterator[_Batch]:
    batch = _Batch()
    token = _batch.set(batch)
    try:
        yield batch
    finally:
        _batch.reset(token)


def _prepared(request: ToolCallRequest) -> tuple[Task | None, _Batch]:
    batch = _batch.get() or _Batch()
    return batch.tasks.get(str(request.tool_call["id"])), batch


def _by_id(tasks: Sequence[Task]) -> dict[str, Task]:
    return {task.call.call_id: task for task in tasks}


def _unless_failed(batch: _Batch, result: Any) -> Any:
    # ToolNode may have turned the journal's own failure into a message for the model.
    if batch.failures:
        raise batch.failures[0]
    return result


def failed(result: Any) -> bool:
    """Whether a tool's answer says that it failed."""
    return isinstance(result, ToolMessage) and result.status == "error"


def answer(result: Any, request: ToolCallRequest) -> Any:
    """A tool's answer; what a person or a `reconcile` callback said becomes one."""
    parts = result if isinstance(result, list) else [result]
    if parts and all(isinstance(part, ToolMessage | Command) for part in parts):
        return result
    text = result if isinstance(result, str) else json.dumps(result, default=str)
    call = request.tool_call
    return ToolMessage(content=text, name=call["name"], tool_call_id=str(call["id"]))


def tool_calls(input: Any, key: str = "messages") -> list[Call]:  # noqa: A002 - as langgraph says
    """The tool calls in what a tool node is given: messages, a state, or one call with a state."""
    if isinstance(input, Mapping) and input.get("type") == "tool_call_with_context":
        wanted = input["tool_call"]
        return [call_of(wanted, messages_in(input["state"], key))]
    messages = messages_in(input, key)
    if messages and isinstance(messages[-1], Mapping):
        return [call_of(each, []) for each in messages if isinstance(each, Mapping)]
    last = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
    calls = last.tool_calls if last is not None else []
    return [call_of(each, messages) for each in calls]


def call_of(tool_call: Mapping[str, Any], messages: Sequence[Any]) -> Call:
    """A tool call as the journal names it; the message that holds it tells equal ids apart."""
    call_id = str(tool_call["id"])
    told = (message for message in reversed(messages) if isinstance(message, AIMessage))
    holder = next((m for m in told if any(c["id"] == call_id for c in m.tool_calls)), None)
    message_id = (holder.id or "") if holder is not None else ""
    return Call(tool_call["name"], dict(tool_call["args"]), call_id, message_id)


def messages_in(state: Any, key: str = "messages") -> list[Any]:
    """The messages of a state, whatever its shape."""
    if isinstance(state, Mapping):
        return list(state.get(key, ()))
    return list(state) if isinstance(state, list) else list(getattr(state, key, ()))


class RepairNode(Node):
    """Answers tool calls that a crash left open, before the model sees them.

    Each gets one of three true texts: not started; done, with the recorded result; or unknown.
    Put it before the model where a thread may go on with a new message instead of a resume.

    Args:
        journal: What is known about calls.
        effects: Names of the tools that are journaled.
    """

    def __init__(
        self, journal: Journal, effects: Sequence[str] = (), *, name: str = "repair"
    ) -> None:
        super().__init__(name=name)
        self._journal = journal
        self._effects = frozenset(effects)

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, Any] | None]:
        return repairing(self._journal, self._effects, messages_in(state), runtime)


def repairing(
    journal: Journal,
    effects: frozenset[str],
    messages: list[AnyMessage],
    runtime: Runtime[Any],
) -> Plan[Ask, Any, dict[str, Any] | None]:
    """The update that answers open tool calls, or nothing."""
    open_calls = dangling(messages)
    info = runtime.execution_info
    thread = (info.thread_id if info is not None else None) or ""
    if not open_calls:
        return None
    found = yield Ask(
        lambda: journal.known(thread, open_calls), lambda: journal.aknown(thread, open_calls)
    )
    whole = repaired(messages, found, effects)
    return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *whole]}
