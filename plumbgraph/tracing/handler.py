"""`trace`: a callback handler that turns a graph's callbacks into events for its sinks.

Imports langgraph, so it loads on first use of `plumbgraph.trace`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Self
from uuid import UUID

from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import register_configure_hook
from langgraph.callbacks import GraphCallbackHandler, GraphInterruptEvent, GraphResumeEvent
from langgraph.errors import GraphBubbleUp, GraphInterrupt

from plumbgraph.clock import SYSTEM
from plumbgraph.errors import SettingsError
from plumbgraph.tracing import run_events as events
from plumbgraph.tracing.context import RUN, RunScope, from_runtime
from plumbgraph.tracing.costs import Pricing, add_costs
from plumbgraph.tracing.emit import Sink, scoped, tell
from plumbgraph.tracing.events import Event
from plumbgraph.tracing.jsonl import JsonLog
from plumbgraph.tracing.open_runs import OpenRun, OpenRuns
from plumbgraph.tracing.read_callbacks import (
    answer_fields,
    error_fields,
    pattern_digest,
    result_digest,
    tool_result_fields,
    usage_fields,
)
from plumbgraph.tracing.redact import redact
from plumbgraph.upstream import starting_checkpoint

_active: ContextVar[Trace | None] = ContextVar("plumbgraph_trace", default=None)
register_configure_hook(_active, inheritable=True)

_STOPPED = {GeneratorExit: "abandoned", KeyboardInterrupt: "cancelled"}


def trace(
    graph_or_config: Any = None,
    *,
    path: str | os.PathLike[str] | None = None,
    sinks: Iterable[Sink] = (),
    price: Pricing | None = None,
) -> Trace:
    """A trace that writes what happens to a log file and to other sinks.

    Three ways to attach it, one event stream::

        with plumbgraph.trace(path="run.jsonl"):      # everything called in this block
            graph.invoke(…)

        graph = graph.with_config(callbacks=[plumbgraph.trace(path="run.jsonl")])

        graph = plumbgraph.trace(graph, path="run.jsonl").graph     # or a config dict: .config

    `price` puts a cost into answers that do not tell theirs; see `plumbgraph.tracing.costs`.

    Content stays out of the events: messages, arguments and results appear as digests and
    lengths, error messages with secrets and mail addresses taken out.

    Raises:
        SettingsError: Neither `path` nor `sinks` is given, or the first argument is no graph
            and no config.
    """
    return Trace(graph_or_config, path=path, sinks=sinks, price=price)


class Trace(GraphCallbackHandler):
    """A callback handler with sinks; made by `trace`.

    Attributes:
        log: The log file, if a path was given; `log.lost` counts lines that it could not keep.
        graph: The graph that was given, with this trace among its callbacks.
        config: The config that was given, with this trace among its callbacks.
    """

    # In an event loop LangChain would otherwise call each method in a worker thread: slower,
    # out of order, and without a chance to mark the run's own context.
    run_inline = True

    def __init__(
        self,
        graph_or_config: Any = None,
        *,
        path: str | os.PathLike[str] | None = None,
        sinks: Iterable[Sink] = (),
        price: Pricing | None = None,
    ) -> None:
        self.price = price
        self.log = JsonLog(path) if path is not None else None
        self.plumb_sinks: tuple[Sink, ...] = (*((self.log,) if self.log else ()), *sinks)
        if not self.plumb_sinks:
            raise SettingsError("trace() has nowhere to write to.", hint="Give path= or sinks=.")
        self.graph, self.config = self._bind(graph_or_config)
        self._open = OpenRuns()
        self._block: Any = None

    def _bind(self, target: Any) -> tuple[Any, Any]:
        if target is None:
            return None, {"callbacks": [self]}
        if isinstance(target, Mapping):
            callbacks = target.get("callbacks")
            if callbacks is not None and hasattr(callbacks, "add_handler"):
                manager = callbacks.copy()
                manager.add_handler(self, inherit=True)
                return None, {**target, "callbacks": manager}
            return None, {**target, "callbacks": [*(callbacks or ()), self]}
        if hasattr(target, "with_config"):
            return target.with_config(callbacks=[self]), {"callbacks": [self]}
        raise SettingsError(
            f"trace() got {type(target).__name__!r}, which is neither a graph nor a config.",
            hint="Pass a compiled graph, a config dict, or nothing.",
        )

    def __enter__(self) -> Self:
        self._block = (scoped(self.plumb_sinks), _active.set(self))
        self._block[0].__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        block, token = self._block
        _active.reset(token)
        block.__exit__(*error)
        self.close()

    def close(self) -> None:
        """Close the log file; a later event opens it again."""
        if self.log is not None:
            self.log.close()

    def root_of(self, run_id: UUID | None) -> str | None:
        """The id of the root run above `run_id`, if it was seen to start."""
        run = self._open.get(run_id) if run_id else None
        return run.root if run else None

    # Graphs and nodes

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """A run or a node starts; other chains are only noted as links to their root."""
        run = self._start(run_id, parent_run_id, _kind_of(tags), metadata)
        if run.kind == "node":
            self._tell(events.NodeStarted, run.place)
        elif run.kind == "run":
            run.facts["outer"] = RUN.get()
            RUN.set(RunScope(run.place.get("thread_id"), run.root, self.plumb_sinks))
            name = more.get("name") or (serialized or {}).get("name") or "graph"
            digest = result_digest(inputs) if inputs else None
            self._tell(events.RunStarted, run.place, graph=redact(name), input_digest=digest)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """A node or run is done."""
        run = self._open.end(run_id)
        if run is None:
            return
        if run.kind == "node":
            digest = result_digest(outputs)
            took = _ms_since(run.started)
            self._tell(events.NodeEnded, run.place, duration_ms=took, result_digest=digest)
        elif run.kind == "run":
            self._leave(run, "interrupted" if run.facts.get("interrupted") else "done")

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A node or run raised, asks a question, or was stopped from outside."""
        run = self._open.end(run_id)
        if run is None:
            return
        stopped = _stop_reason(error)
        if run.kind == "node":
            if isinstance(error, GraphInterrupt):
                self._mark_interrupted(run.root)
            took = _ms_since(run.started)
            if stopped:
                self._tell(events.NodeInterrupted, run.place, reason=stopped, duration_ms=took)
            else:
                facts = error_fields(error)
                self._tell(events.NodeFailed, run.place, duration_ms=took, **facts)
        elif run.kind == "run" and stopped:
            self._leave(run, _STOPPED.get(type(error), "cancelled"))
        elif run.kind == "run":
            took = _ms_since(run.started)
            self._tell(events.RunFailed, run.place, duration_ms=took, **error_fields(error))
            RUN.set(run.facts["outer"])

    def on_interrupt(self, event: GraphInterruptEvent) -> None:
        """The graph pauses."""
        place = self._graph_place(event)
        if "run_id" in place and not event.checkpoint_ns:
            self._mark_interrupted(place["run_id"])
        asked = len(event.interrupts)
        self._tell(events.RunInterrupted, place, reason=event.status, interrupts=asked)

    def on_resume(self, event: GraphResumeEvent) -> None:
        """The graph goes on from a checkpoint."""
        self._tell(events.RunResumed, self._graph_place(event))

    # Models

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002 - LangChain's signature
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """A chat model is called."""
        last = messages[0][-1] if messages and messages[0] else None
        count = len(messages[0]) if messages else 0
        self._model_start(run_id, parent_run_id, metadata, count, last)

    def on_llm_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002 - LangChain's signature
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """A text model is called."""
        last = prompts[-1] if prompts else None
        self._model_start(run_id, parent_run_id, metadata, len(prompts), last)

    def _model_start(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: dict[str, Any] | None,
        messages: int,
        last: Any,
    ) -> None:
        run = self._start(run_id, parent_run_id, "model", metadata)
        known = {"provider": "ls_provider", "model": "ls_model_name"}
        run.facts.update({key: (metadata or {}).get(name) for key, name in known.items()})
        digest = result_digest(last) if last is not None else None
        facts = {"messages": messages, "last_digest": digest, **run.facts}
        self._tell(events.ModelStarted, run.place, **facts)

    def on_llm_new_token(
        self,
        token: Any,  # noqa: ARG002 - LangChain's signature
        *,
        run_id: UUID,
        **_: Any,
    ) -> None:
        """The first token's time is kept."""
        run = self._open.get(run_id)
        if run is not None and "first_token_ms" not in run.facts:
            run.facts["first_token_ms"] = _ms_since(run.started)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """A model answered."""
        add_costs(response, self.price)
        run = self._open.end(run_id)
        if run is None:
            return
        facts = {**run.facts, **answer_fields(response.generations)}
        facts |= usage_fields(response.generations)
        self._tell(events.ModelEnded, run.place, duration_ms=_ms_since(run.started), **facts)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A model raised."""
        run = self._open.end(run_id)
        if run is not None:
            facts = {"model": run.facts.get("model"), **error_fields(error)}
            took = _ms_since(run.started)
            self._tell(events.ModelFailed, run.place, duration_ms=took, **facts)

    # Tools

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        tool_call_id: str | None = None,
        **_: Any,
    ) -> None:
        """A tool is called."""
        run = self._start(run_id, parent_run_id, "tool", metadata)
        run.facts.update(
            tool=(serialized or {}).get("name") or "tool",
            call_id=tool_call_id,
            args_digest=result_digest(inputs if inputs is not None else input_str),
        )
        run.args = inputs if inputs is not None else {"input": input_str}
        self._tell(events.ToolStarted, run.place, **run.facts)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """A tool returned."""
        run = self._open.end(run_id)
        if run is not None:
            facts = {**run.facts, **tool_result_fields(output)}
            facts["pattern_digest"] = pattern_digest(run.facts["tool"], run.args, output)
            took = _ms_since(run.started)
            self._tell(events.ToolEnded, run.place, duration_ms=took, **facts)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A tool raised or asks a question."""
        run = self._open.end(run_id)
        if run is None:
            return
        facts = {**run.facts, "duration_ms": _ms_since(run.started)}
        stopped = _stop_reason(error)
        if stopped:
            self._tell(events.ToolInterrupted, run.place, reason=stopped, **facts)
        else:
            self._tell(events.ToolFailed, run.place, **facts, **error_fields(error))

    # What they share

    def _start(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        kind: str,
        metadata: Mapping[str, Any] | None,
    ) -> OpenRun:
        at = SYSTEM.monotonic()
        run = self._open.start(run_id, parent_run_id, kind, metadata=metadata or {}, at=at)
        place = run.place
        if kind != "inner" and "checkpoint_id" not in place:
            if kind == "node":
                found = starting_checkpoint(place.get("checkpoint_ns", ""))
            else:  # a call whose node was not seen to start
                found = from_runtime().get("checkpoint_id")
            if found:
                place["checkpoint_id"] = found
        return run

    def _mark_interrupted(self, root: str) -> None:
        # LangGraph reports interrupts only to handlers in the config, not to those of a block.
        run = self._open.get(UUID(root))
        if run is not None:
            run.facts["interrupted"] = True

    def _leave(self, run: OpenRun, status: str) -> None:
        took = _ms_since(run.started)
        self._tell(events.RunEnded, run.place, status=status, duration_ms=took)
        RUN.set(run.facts["outer"])

    def _graph_place(self, event: GraphInterruptEvent | GraphResumeEvent) -> dict[str, Any]:
        scope = RUN.get()
        place = {
            "thread_id": scope.thread_id if scope else None,
            "run_id": self.root_of(event.run_id) or (scope.run_id if scope else None),
            "checkpoint_id": event.checkpoint_id,
            "checkpoint_ns": "|".join(event.checkpoint_ns) or None,
        }
        return {key: value for key, value in place.items() if value is not None}

    def _tell(self, kind: type[Event], place: Mapping[str, Any], /, **facts: Any) -> None:
        tell(kind, facts, place, self.plumb_sinks)


def _kind_of(tags: list[str] | None) -> str:
    """LangGraph marks the chains that are nodes by a tag of their own."""
    for tag in tags or ():
        if tag.startswith("graph:step:"):
            return "node"
    return "inner"


def _stop_reason(error: BaseException) -> str | None:
    """Why a run stopped without having failed, or `None` if it failed."""
    stops = (GraphBubbleUp, GeneratorExit, KeyboardInterrupt, asyncio.CancelledError)
    return type(error).__name__ if isinstance(error, stops) else None


def _ms_since(started: float) -> float:
    return round((SYSTEM.monotonic() - started) * 1000, 3)
