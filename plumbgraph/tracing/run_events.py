"""The events of a graph run as the callback handler sees it: runs, nodes, models, tools.

Where OpenTelemetry's GenAI conventions have a name, the record carries that name.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from plumbgraph.tracing.events import Event, otel


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced(Event):
    """Base of the events below: they say their own place, since callbacks run outside nodes.

    `span_id` is the id of the chain, model or tool call itself, `parent_span_id` that of the one
    it was called from; they are the ids that LangSmith shows for the same calls.
    """

    thread_id: str | None = None
    run_id: str | None = None
    step: int | None = None
    node: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    attempt: int | None = None
    span_id: str | None = None
    parent_span_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Traced):
    """A graph was called."""

    name = "run.started"
    graph: str
    input_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed(Traced):
    """The run goes on from a checkpoint."""

    name = "run.resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInterrupted(Traced):
    """The run pauses and waits for an answer."""

    name = "run.interrupted"
    reason: str
    interrupts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Traced):
    """The call of the graph returned; `status` is `done` or `interrupted`."""

    name = "run.ended"
    status: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(Traced):
    """The call of the graph raised."""

    name = "run.failed"
    level = logging.ERROR
    error_type: str = otel("error.type")
    error: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStarted(Traced):
    """A node began."""

    name = "node.started"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEnded(Traced):
    """A node finished; `result_digest` is equal for equal updates."""

    name = "node.ended"
    duration_ms: float
    result_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInterrupted(Traced):
    """A node asked a question, or handed control upwards."""

    name = "node.interrupted"
    reason: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed(Traced):
    """A node raised; it may be tried again."""

    name = "node.failed"
    level = logging.ERROR
    error_type: str = otel("error.type")
    error: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStarted(Traced):
    """A chat model was called; `last_digest` stands for the last message sent."""

    name = "model.started"
    operation: str = otel("gen_ai.operation.name", default="chat")
    provider: str | None = otel("gen_ai.provider.name", default=None)
    model: str | None = otel("gen_ai.request.model", default=None)
    messages: int
    last_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnded(Traced):
    """A chat model answered. Input tokens include the cached ones; costs are in dollars."""

    name = "model.ended"
    operation: str = otel("gen_ai.operation.name", default="chat")
    provider: str | None = otel("gen_ai.provider.name", default=None)
    model: str | None = otel("gen_ai.response.model", default=None)
    input_tokens: int | None = otel("gen_ai.usage.input_tokens", default=None)
    output_tokens: int | None = otel("gen_ai.usage.output_tokens", default=None)
    cache_read: int | None = otel("gen_ai.usage.cache_read.input_tokens", default=None)
    cache_creation: int | None = otel("gen_ai.usage.cache_creation.input_tokens", default=None)
    reasoning: int | None = otel("gen_ai.usage.reasoning.output_tokens", default=None)
    finish_reason: str | None = otel("gen_ai.response.finish_reason", default=None)
    cost_usd: float | None = None
    duration_ms: float
    first_token_ms: float | None = None
    tool_calls: tuple[str, ...] | None = None
    result_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFailed(Traced):
    """A chat model raised."""

    name = "model.failed"
    level = logging.ERROR
    model: str | None = otel("gen_ai.request.model", default=None)
    error_type: str = otel("error.type")
    error: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Traced):
    """A tool was called."""

    name = "tool.started"
    operation: str = otel("gen_ai.operation.name", default="execute_tool")
    tool: str = otel("gen_ai.tool.name")
    call_id: str | None = otel("gen_ai.tool.call.id", default=None)
    args_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnded(Traced):
    """A tool returned; `status` is `error` when it answered with an error message.

    `pattern_digest` is equal for calls that differ only in numbers and identifiers.
    """

    name = "tool.ended"
    operation: str = otel("gen_ai.operation.name", default="execute_tool")
    tool: str = otel("gen_ai.tool.name")
    call_id: str | None = otel("gen_ai.tool.call.id", default=None)
    args_digest: str
    result_digest: str
    result_chars: int
    status: str
    pattern_digest: str | None = None
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolInterrupted(Traced):
    """A tool asked a question before it answered."""

    name = "tool.interrupted"
    tool: str = otel("gen_ai.tool.name")
    call_id: str | None = otel("gen_ai.tool.call.id", default=None)
    args_digest: str
    reason: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFailed(Traced):
    """A tool raised."""

    name = "tool.failed"
    level = logging.ERROR
    tool: str = otel("gen_ai.tool.name")
    call_id: str | None = otel("gen_ai.tool.call.id", default=None)
    args_digest: str
    error_type: str = otel("error.type")
    error: str
    duration_ms: float
