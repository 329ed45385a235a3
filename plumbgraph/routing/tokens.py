"""Tokens: what an answer used, by kind, and how many a request may need before it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from plumbgraph.tracing.once import Once

_PER_MESSAGE = 12
_PER_ATTACHMENT = 6_000
_WITH_TOOLS = 700
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call. `input` holds the cached ones and `output` the reasoning ones.

    This is the convention of `AIMessage.usage_metadata`. OpenAI reports that way itself;
    Anthropic reports uncached input only, and its LangChain package adds the cached tokens.

    Attributes:
        input: All input tokens.
        cache_read: Input tokens read from the provider's prompt cache.
        cache_write: Input tokens written to a cache that lives minutes.
        cache_write_1h: Input tokens written to a cache that lives an hour.
        output: All output tokens.
        reasoning: Output tokens of the model's reasoning.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many input tokens a request may have: about, and at most."""

    expected: int
    worst: int


def usage_of(message: BaseMessage) -> Usage | None:
    """What the provider says the answer used, `None` where it does not say."""
    told = getattr(message, "usage_metadata", None) if isinstance(message, AIMessage) else None
    if not told:
        return None
    read = told.get("input_token_details") or {}
    made = told.get("output_token_details") or {}
    short = _count(read, "cache_creation") + _count(read, "ephemeral_5m_input_tokens")
    return Usage(
        input=_count(told, "input_tokens"),
        cache_read=_count(read, "cache_read"),
        cache_write=short,
        cache_write_1h=_count(read, "ephemeral_1h_input_tokens"),
        output=_count(told, "output_tokens"),
        reasoning=_count(made, "reasoning"),
    )


def bounds_of(messages: Sequence[BaseMessage], tools: Sequence[Any] = ()) -> Bounds:
    """Input tokens of a request, without any tokenizer.

    The upper bound counts a token for every byte of UTF-8, which no byte-level vocabulary
    exceeds, a flat figure for each image or file, and another for the instructions that
    providers add where there are tools. The expected figure is a quarter of the
    characters.
    """
    described = "".join(map(_tool_text, tools))
    chars, size, attached = len(described), len(described.encode()), 0
    for message in messages:
        own_chars, own_size, own_attached = _measured(message)
        chars, size, attached = chars + own_chars, size + own_size, attached + own_attached
    flat = _PER_MESSAGE * (len(messages) + len(tools)) + _PER_ATTACHMENT * attached
    flat += _WITH_TOOLS if tools else 0
    return Bounds(expected=chars // _CHARS_PER_TOKEN + flat // 2, worst=size + flat)


def text_bounds(text: str) -> Bounds:
    """Input tokens of a request that is one text; see `bounds_of`."""
    return Bounds(
        expected=len(text) // _CHARS_PER_TOKEN + _PER_MESSAGE // 2,
        worst=len(text.encode()) + _PER_MESSAGE,
    )


def needs_of(messages: Sequence[BaseMessage]) -> frozenset[str]:
    """The capabilities that the messages' attachments ask for, such as `image_inputs`."""
    kinds = {
        str(block.get("type", ""))
        for message in messages
        if isinstance(message.content, list)
        for block in message.content
        if isinstance(block, Mapping)
    }
    return frozenset(_KINDS[kind] for kind in kinds if kind in _KINDS)


_KINDS = {
    "image": "image_inputs",
    "image_url": "image_inputs",
    "input_image": "image_inputs",
    "audio": "audio_inputs",
    "input_audio": "audio_inputs",
    "video": "video_inputs",
    "file": "pdf_inputs",
    "document": "pdf_inputs",
    "input_file": "pdf_inputs",
}


def _tool_text(tool: Any) -> str:
    described = tool if isinstance(tool, Mapping) else convert_to_openai_tool(tool)
    return json.dumps(described, ensure_ascii=False, default=str)


def _texts(message: BaseMessage) -> list[str]:
    texts = [message.name or ""]
    for block in [message.content] if isinstance(message.content, str) else message.content:
        if isinstance(block, str):
            texts.append(block)
        elif block.get("type") not in _KINDS:
            texts.append(str(block))
    if isinstance(message, AIMessage) and message.tool_calls:
        texts.append(str(message.tool_calls))
    return texts


def _measure(message: BaseMessage) -> tuple[int, int, int]:
    """Characters, bytes and attachments of one message."""
    texts = _texts(message)
    size = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    return sum(map(len, texts)), size, _attachments(message)


def _parts(message: BaseMessage) -> tuple[Any, ...]:
    calls = message.tool_calls if isinstance(message, AIMessage) else None
    return message.name, message.content, calls


_measured = Once(_measure, _parts)


def _attachments(message: BaseMessage) -> int:
    if isinstance(message.content, str):
        return 0
    blocks = [block for block in message.content if isinstance(block, Mapping)]
    return sum(block.get("type") in _KINDS for block in blocks)


def _count(told: Mapping[str, Any], key: str) -> int:
    return int(told.get(key) or 0)
