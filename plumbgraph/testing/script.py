"""The values a scripted model plays: replies, faults, and the calls it received."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from plumbgraph.errors import SettingsError

_CHARS_PER_TOKEN = 4
_ARGS_PIECE_CHARS = 12


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A tool call as a script writes it, its arguments as JSON text; usually made with `call`.

    Arguments that are not JSON are played as they stand: models do write such calls.
    """

    name: str
    args: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a reply.

    Attributes:
        error: Raised to the caller. None ends the stream early without an error and without a
            `finish_reason`, as a truncated HTTP stream does.
        after_chunks: How many chunks a stream yields before the fault. Without streaming an
            error is raised at once.
    """

    error: BaseException | type[BaseException] | None = None
    after_chunks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of a scripted model.

    Attributes:
        text: The content: a string, or a list of content blocks.
        tool_calls: Calls made with `call`.
        usage: Token counts made with `tokens`; None estimates four characters a token.
        latency_s: Seconds before the first chunk.
        chunk_latency_s: Seconds before each further chunk of a stream.
        fault: What goes wrong; None for a good reply.
        finish_reason: None means `tool_calls` or `stop`, whichever fits.
        metadata: Further keys of `response_metadata`.
        id: The message's id; None lets LangChain choose.
    """

    text: str | list[str | dict[str, Any]] = ""
    tool_calls: tuple[PlannedCall, ...] = ()
    usage: UsageMetadata | None = None
    latency_s: float = 0.0
    chunk_latency_s: float = 0.0
    fault: Fault | None = None
    finish_reason: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None


ScriptItem: TypeAlias = (
    Reply | str | AIMessage | PlannedCall | list[PlannedCall] | BaseModel | BaseException
)
"""What a script may hold: a text, calls, a message, a structured value, an error or a `Reply`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call a scripted model received.

    Attributes:
        index: 0 for the first call of this model object.
        messages: What the model was shown.
        tools: The bound tools in OpenAI's form.
        tool_choice: As given to `bind_tools`.
        stop: The stop words.
        options: All other keyword arguments.
        streamed: Whether chunks were asked for.
    """

    index: int
    messages: tuple[BaseMessage, ...]
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: Any = None
    stop: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    streamed: bool = False

    @property
    def tool_names(self) -> list[str]:
        """Names of the bound tools, in order."""
        return [tool["function"]["name"] if "function" in tool else "" for tool in self.tools]


def call(name: str, /, **args: Any) -> PlannedCall:
    """A tool call of the script; its id is given when it is played (see `chunks`)."""
    return PlannedCall(name, json.dumps(args, ensure_ascii=False))


def tokens(
    input_tokens: int, output_tokens: int, *, cached: int = 0, reasoning: int = 0
) -> UsageMetadata:
    """Token counts of a reply; the parts are included in the totals, as providers report them.

    Args:
        input_tokens: Prompt tokens in total, cached ones included.
        output_tokens: Answer tokens in total, reasoning included.
        cached: Prompt tokens read from the provider's cache.
        reasoning: Answer tokens spent on reasoning.
    """
    usage = UsageMetadata(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=input_tokens + output_tokens,
    )
    if cached:
        usage["input_token_details"] = InputTokenDetails(cache_read=cached)
    if reasoning:
        usage["output_token_details"] = OutputTokenDetails(reasoning=reasoning)
    return usage


def as_reply(item: object) -> Reply:
    """The reply a script item stands for."""
    if isinstance(item, Reply):
        return item
    if isinstance(item, str):
        return Reply(text=item)
    if isinstance(item, BaseException):
        return Reply(fault=Fault(item))
    if isinstance(item, AIMessage):
        return _of_message(item)
    if isinstance(item, PlannedCall):
        return Reply(tool_calls=(item,))
    if isinstance(item, BaseModel):
        return Reply(tool_calls=(call(type(item).__name__, **item.model_dump(mode="json")),))
    if isinstance(item, list) and all(isinstance(each, PlannedCall) for each in item):
        return Reply(tool_calls=tuple(item))
    raise SettingsError(
        f"A script cannot play {item!r}.",
        hint="Use a text, call(…), a list of calls, an AIMessage, an exception or a Reply.",
    )


def _of_message(message: AIMessage) -> Reply:
    metadata = dict(message.response_metadata)
    return Reply(
        text=message.content,
        tool_calls=tuple(
            PlannedCall(made["name"], json.dumps(made["args"], ensure_ascii=False), made["id"])
            for made in message.tool_calls
        ),
        usage=message.usage_metadata,
        finish_reason=metadata.pop("finish_reason", None),
        metadata=metadata,
        id=message.id,
    )


def estimated_usage(messages: Sequence[BaseMessage], reply: Reply) -> UsageMetadata:
    """Token counts at four characters a token: the same on every machine, and only a rough size."""
    shown = sum(_tokens_of(message.text) for message in messages)
    said = reply.text if isinstance(reply.text, str) else json.dumps(reply.text)
    made = sum(_tokens_of(planned.name + planned.args) for planned in reply.tool_calls)
    return tokens(shown, (_tokens_of(said) if said else 0) + made)


def _tokens_of(text: str) -> int:
    return 1 + len(text) // _CHARS_PER_TOKEN


def chunks(
    reply: Reply,
    messages: Sequence[BaseMessage],
    *,
    model_name: str,
    provider: str,
    number: int,
    pieces: bool = True,
) -> list[ChatGenerationChunk]:
    """The stream of one reply: content, tool calls, and a last chunk with the usage.

    With `pieces` texts and arguments come in small parts, else each in one. A planned call
    without an id gets `call_{number}_{position}`, so that a script replayed by turn gives the
    same call the same id in a new process.
    """
    spoken = [_chunk(reply, content=part) for part in _content_parts(reply.text, pieces=pieces)]
    asked = [
        _chunk(reply, tool_call_chunks=[piece])
        for position, planned in enumerate(reply.tool_calls)
        for piece in _call_pieces(
            planned if planned.id else replace(planned, id=f"call_{number}_{position}"),
            position,
            size=_ARGS_PIECE_CHARS if pieces else max(1, len(planned.args)),
        )
    ]
    reason = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
    last = _chunk(
        reply,
        usage_metadata=reply.usage or estimated_usage(messages, reply),
        response_metadata={
            "model_provider": provider,
            **reply.metadata,
            "model_name": model_name,
            "finish_reason": reason,
        },
        chunk_position="last",
    )
    return [*spoken, *asked, last]


def _chunk(reply: Reply, **parts: Any) -> ChatGenerationChunk:
    empty: str | list[Any] = "" if isinstance(reply.text, str) else []
    message = AIMessageChunk(**{"content": empty, "id": reply.id, **parts})
    return ChatGenerationChunk(message=message)


def _content_parts(
    content: str | list[str | dict[str, Any]], *, pieces: bool
) -> Iterator[str | list[Any]]:
    if isinstance(content, str) and not pieces:
        yield content
    elif isinstance(content, str):
        yield from re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", content)
    else:
        for index, block in enumerate(content):
            yield [block if isinstance(block, str) else {"index": index, **block}]


def _call_pieces(planned: PlannedCall, index: int, *, size: int) -> Iterator[Any]:
    yield tool_call_chunk(name=planned.name, args="", id=planned.id, index=index)
    for start in range(0, len(planned.args), size):
        yield tool_call_chunk(args=planned.args[start : start + size], index=index)


def perform(reply: Reply, stream: Sequence[ChatGenerationChunk]) -> Iterator[float | Any]:
    """The reply as it happens: a number is a pause in seconds, anything else a chunk.

    Raises:
        BaseException: The reply's fault, at its place in the stream.
    """
    yield reply.latency_s
    fault = reply.fault
    for position, chunk in enumerate(stream):
        if fault and position >= fault.after_chunks:
            break
        if position:
            yield reply.chunk_latency_s
        yield chunk
    if fault and fault.error is not None:
        raise fault.error
