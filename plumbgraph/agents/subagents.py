"""An agent as another one's tool: a thread of its own, the same files, memory and bill."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command, Interrupt, interrupt

from plumbgraph import plan as drivers
from plumbgraph.agents.node import Ask
from plumbgraph.agents.questions import MARK, Place, queued
from plumbgraph.agents.workspace import KEY, entered
from plumbgraph.content.digest import digest_of
from plumbgraph.content.store import Ref
from plumbgraph.errors import SettingsError, ThreadBusy, ThreadNotFound
from plumbgraph.plan import Plan
from plumbgraph.state import PlumbSaver, current_branch
from plumbgraph.state.claims import is_gone
from plumbgraph.workspace import Session
from plumbgraph.workspace.ops import BlobPlan, Put
from plumbgraph.workspace.reference import heads

Agent: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]

_OWN = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
_PAUSE_S = 0.2
_ANSWERS = "subagent_answers"


def subagent(agent: Agent, *, name: str, description: str, ttl_s: float = 30.0) -> BaseTool:
    """A tool that gives a task to another agent and answers with its last message.

    The agent works in a thread of its own, claimed while it works: after a crash it goes on where
    it stopped, and an answer it gave is not worked for again. Give it the same `workspace`, and
    it begins with the caller's files as they are; what several agents change at the same time is
    merged when the caller's next tools begin. The same `memory` and store are shared anyway. What
    it spent goes into the caller's ledger. A question it asks by `interrupt` is the caller's.

    Args:
        agent: A compiled agent with a checkpointer, best a PlumbSaver; without one it begins
            anew after a crash.
        name: The tool's name.
        description: What it is good for, as the model reads it.
        ttl_s: How long another machine waits for a process that went silent at this task.

    Raises:
        SettingsError: What is given is no compiled graph.
    """
    if not isinstance(agent, CompiledStateGraph):
        raise SettingsError(
            f"A subagent is a compiled graph, not {agent!r}.", hint="Pass create_agent(…)."
        )
    helper = _Hired(agent, name, ttl_s)

    def run(task: str, runtime: ToolRuntime[Any, Any]) -> Command[Any]:
        return drivers.run(helper.plan(task, runtime), lambda ask: ask.call())

    async def arun(task: str, runtime: ToolRuntime[Any, Any]) -> Command[Any]:
        return await drivers.arun(helper.plan(task, runtime), lambda ask: ask.acall())

    return StructuredTool.from_function(
        run, arun, name=name, description=description, metadata={MARK: True}
    )


@dataclass(frozen=True, slots=True)
class _Hired:
    """One agent as a tool."""

    agent: Agent
    name: str
    ttl_s: float

    @property
    def saver(self) -> Any:
        """The agent's checkpointer; None without one of its own."""
        saver = self.agent.checkpointer
        return None if isinstance(saver, bool) else saver

    def plan(self, task: str, runtime: ToolRuntime[Any, Any]) -> Plan[Ask, Any, Command[Any]]:
        """Work on a task, from wherever an earlier process left it."""
        stay = entered()
        config = self._config(runtime)
        with queued(runtime) as place:
            lease = yield from self._claimed(config)
            try:
                result = yield from self._worked(task, config, stay, runtime, place)
            finally:
                if lease is not None:
                    yield Ask(lambda: lease.__exit__(None, None, None), lambda: _aexit(lease))
        update = self._update(result, runtime, stay)
        if stay is not None and KEY in update:
            yield _keeping(stay, update[KEY])
        return Command(update=update)

    def _worked(
        self,
        task: str,
        config: RunnableConfig,
        stay: Session | None,
        runtime: ToolRuntime[Any, Any],
        place: Place,
    ) -> Plan[Ask, Any, Any]:
        """The result; the thread counts the answers it got, so that none is given twice."""
        known = yield from self._known(config)
        told = int((known.metadata or {}).get(_ANSWERS, 0)) if known else 0
        yield from place.skipped(told)
        asked: Sequence[Interrupt] = known.interrupts if known else ()
        if not asked:
            value = None if known else self._begun(task, stay)
            result = yield _isolated(self.agent, value, _counted(config, told), runtime.context)
            asked = result.get("__interrupt__") or ()
        while asked:
            yield from place.reached()
            answers = {each.id: interrupt(each.value) for each in asked}
            told += len(answers)
            resume: Any = Command(resume=answers)
            result = yield _isolated(self.agent, resume, _counted(config, told), runtime.context)
            asked = result.get("__interrupt__") or ()
        return result

    def _config(self, runtime: ToolRuntime[Any, Any]) -> RunnableConfig:
        """The run's config: a thread of the call's own, and what the caller's run carries."""
        given = runtime.config.get("configurable") or {}
        kept = {k: v for k, v in given.items() if k not in _OWN and not k.startswith("__")}
        config: RunnableConfig = {"configurable": {**kept, "thread_id": _thread(self, runtime)}}
        for key in ("callbacks", "tags"):
            if key in runtime.config:
                config[key] = runtime.config[key]
        return config

    def _claimed(self, config: RunnableConfig) -> Plan[Ask, Any, Any]:
        """The claim on the thread; one of a process that ended here is not waited for."""
        saver = self.saver
        if not isinstance(saver, PlumbSaver):
            return None
        thread = config["configurable"]["thread_id"]
        until = time.monotonic() + self.ttl_s + _PAUSE_S
        while True:
            owner = yield Ask(lambda: _owner(saver, thread), lambda: _aowner(saver, thread))
            gone = owner if owner and is_gone(owner) else None
            lease = saver.claim(thread, ttl_s=self.ttl_s, after=gone)
            try:
                yield Ask(lease.__enter__, lease.__aenter__)
            except ThreadBusy:
                if time.monotonic() > until:
                    raise
                yield Ask(lambda: time.sleep(_PAUSE_S), lambda: asyncio.sleep(_PAUSE_S))
            else:
                return lease

    def _known(self, config: RunnableConfig) -> Plan[Ask, Any, Any]:
        """The state of a thread that is under way; None for one that is to begin."""
        if self.saver is None:
            return None
        agent = self.agent
        state = yield Ask(lambda: agent.get_state(config), lambda: agent.aget_state(config))
        return state if state.values or state.next else None

    @staticmethod
    def _begun(task: str, stay: Session | None) -> dict[str, Any]:
        """The input: the task and the caller's files."""
        value: dict[str, Any] = {"messages": [("user", task)]}
        if stay is not None and stay.step is not None:
            value[KEY] = {"step": stay.step}
        return value

    def _update(
        self, result: Any, runtime: ToolRuntime[Any, Any], stay: Session | None
    ) -> dict[str, Any]:
        """The caller's update: the answer, the files and the bill."""
        said = next((m for m in reversed(result["messages"]) if isinstance(m, AIMessage)), None)
        message = ToolMessage(
            said.text if said is not None else "", tool_call_id=runtime.tool_call_id or ""
        )
        update: dict[str, Any] = {"messages": [message]}
        if stay is not None and (found := heads(result.get(KEY))):
            known = [digest[:12] for digest in stay.seen]
            update[KEY] = {"heads": found, "from": known}
        if result.get("ledger"):
            update["ledger"] = result["ledger"]
        return update


def _counted(config: RunnableConfig, answers: int) -> RunnableConfig:
    """The config of a run whose thread has had so many answers."""
    return {**config, "metadata": {_ANSWERS: answers}} if answers else config


def _thread(helper: _Hired, runtime: ToolRuntime[Any, Any]) -> str:
    """The thread of one call: the same through crash and resume, another one on another branch."""
    caller = str((runtime.config.get("configurable") or {}).get("thread_id") or "")
    saver = helper.saver
    ours = isinstance(saver, PlumbSaver)
    branch = current_branch(caller, tenant=saver.tenant) if ours else ""
    messages = runtime.state.get("messages", []) if isinstance(runtime.state, Mapping) else []
    holder = next((m.id for m in reversed(messages) if isinstance(m, AIMessage)), "")
    told = "\x1f".join((branch, str(holder), str(runtime.tool_call_id)))
    return f"{caller}/{helper.name}-{digest_of(told.encode())[:16]}"


def _isolated(agent: Agent, value: Any, config: RunnableConfig, context: Any) -> Ask:
    """Run the agent as a graph of its own: nothing of the caller's run reaches its config."""
    options: dict[str, Any] = {"context": context} if context is not None else {}
    if agent.checkpointer:
        options["durability"] = "sync"

    def call() -> Any:
        with set_config_context({}) as alone:
            return alone.run(lambda: agent.invoke(value, config, **options))

    async def acall() -> Any:
        with set_config_context({}) as alone:
            return await asyncio.create_task(agent.ainvoke(value, config, **options), context=alone)

    return Ask(call, acall)


def _keeping(stay: Session, value: Mapping[str, Any]) -> Ask:
    """Let the caller's thread hold what the subagent's thread recorded."""
    steps = [head["step"] for head in heads(value)]

    def held() -> BlobPlan[None]:
        yield Put({}, tuple(Ref(stay.owner, step) for step in steps))

    workspace = stay.workspace
    return Ask(lambda: workspace.run(held()), lambda: workspace.arun(held()))


def _owner(saver: PlumbSaver, thread: str) -> str | None:
    try:
        return saver.run_status(thread).owner
    except ThreadNotFound:
        return None


async def _aowner(saver: PlumbSaver, thread: str) -> str | None:
    try:
        return (await saver.arun_status(thread)).owner
    except ThreadNotFound:
        return None


async def _aexit(lease: Any) -> None:
    await lease.__aexit__(None, None, None)
