"""The events of a graph run as the callback handler sees it: runs, nodes, models, tools.

Where OpenTelemetry's GenAI conventions have a name, the record carries that name. The place
(thread, run, step, node, namespace, checkpoint, attempt) comes from the handler, since callbacks
run outside nodes; with it `span_id`, the id of the chain, model or tool call itself, and
`parent_span_id`, that of the one it was called from: the ids that LangSmith shows too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from plumbgraph.tracing.events import Event, otel


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A graph was called."""

    name = "run.started"
    graph: str
    input_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed(Event):
    """The run goes on from a checkpoint."""

    name = "run.resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInterrupted(Event):
    """The run pauses and waits for an answer."""

    name = "run.interrupted"
    reason: str
    interrupts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """The call of the graph returned; `status` is `done` or `interrupted`."""

    name = "run.ended"
    status: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(Event):
    """The call of the graph raised."""

    name = "run.failed"
    level = logging.ERROR
    error_type: str = otel("error.type")
    error: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStarted(Event):
    """A node began."""

    name = "node.started"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEnded(Event):
    """A node finished; `result_digest` is equal for equal updates."""

    name = "node.ended"
    duration_ms: float
    result_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInterrupted(Event):
    """A node asked a question, or handed control upwards."""

    name = "node.interrupted"
    reason: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed(Event):
    """A node raised; it may be tried again."""

    name = "node.failed"
    level = logging.ERROR
    error_type: str = otel("error.type")
    error: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStarted(Event):
    """A chat model was called; `last_digest` stands for the last message sent."""

    name = "model.started"
    operation: str = otel("gen_ai.operation.name", default="chat")
    provider: str | None = otel("gen_ai.provider.name", default=None)
    model: str | None = otel("gen_ai.request.model", default=None)
    messages: int
    last_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnded(Event):
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
class ModelFailed(Event):
    """A chat model raised."""

    name = "model.failed"
    level = logging.ERROR
    model: str | None = otel("gen_ai.request.model", default=None)
    error_type: str = otel("error.type")
    error: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Event):
    """A tool was called."""

    name = "tool.started"
    operation: str = otel("gen_ai.operation.name", default="execute_tool")
    tool: str = otel("gen_ai.tool.name")
    call_id: str | None = otel("gen_ai.tool.call.id", default=None)
    args_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnded(Event):
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
class ToolInterrupted(Event):
    """A tool asked a question before it answered."""

    name = "tool.interrupted"
    tool: str = otel("gen_ai.tool.name")
    call_id: str | None = otel("gen_ai.tool.call.id", default=None)
    args_digest: str
    reason: str
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFailed(Event):
    """A tool raised."""

    name = "tool.failed"
    level = logging.ERROR
    tool: str = otel("gen_ai.tool.name")
    call_id: str | None = otel("gen_ai.tool.call.id", default=None)
    args_digest: str
    error_type: str = otel("error.type")
    error: str
    duration_ms: float
