"""Messages for another model than the one that wrote them: foreign marks and thoughts removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

MARK = "plumbgraph"
"""Key in `response_metadata` under which an answer says how it was routed."""

_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})
_SIGNED = frozenset({"signature", "thought_signature", "extras", "encrypted_content"})
_CACHED_BY = {"anthropic": "cache_control", "bedrock_converse": "cachePoint"}
_MARKS = frozenset({*_CACHED_BY.values(), "cache_point"})
_EXTRA = frozenset({"reasoning_content", "reasoning", "thinking", "reasoning_details"})
_EXTRA_SIGNED = frozenset({"__gemini_function_call_thought_signatures__", "thought_signature"})


def author_of(message: BaseMessage) -> str:
    """The `provider:name` that wrote a message, `""` where it does not say."""
    told = message.response_metadata
    if routed := told.get(MARK):
        return str(routed["model"])
    provider, name = told.get("model_provider"), told.get("model_name") or told.get("model")
    return f"{provider}:{name}" if provider and name else ""


def hand_over(messages: Sequence[BaseMessage], model: str) -> list[BaseMessage]:
    """The messages as `model` may see them; the given ones stay as they are.

    Thoughts and their signatures are bound to the model that had them, and cache marks to the
    provider that keeps the cache: another provider refuses them, or the thread breaks. An
    answer of which nothing else is left is dropped.
    """
    return list(_handed(messages, model))


def _handed(messages: Sequence[BaseMessage], model: str) -> Iterator[BaseMessage]:
    mark = _CACHED_BY.get(model.partition(":")[0], "")
    for message in messages:
        if isinstance(message.content, str) and not message.additional_kwargs:
            yield message
            continue
        foreign = isinstance(message, AIMessage) and not _same(author_of(message), model)
        content = message.content
        if not isinstance(content, str):
            content = [b for b in (_block(x, mark, foreign=foreign) for x in content) if b]
        kwargs = {
            key: value
            for key, value in message.additional_kwargs.items()
            if not (foreign and key in _EXTRA | _EXTRA_SIGNED)
        }
        if content == message.content and kwargs == message.additional_kwargs:
            yield message
        elif content or kwargs or not isinstance(message, AIMessage) or message.tool_calls:
            yield message.model_copy(update={"content": content, "additional_kwargs": kwargs})


def _block(block: str | dict[str, Any], mark: str, *, foreign: bool) -> str | dict[str, Any]:
    if isinstance(block, str):
        return block
    if foreign and block.get("type") in _THOUGHTS:
        return {}
    dropped = (_MARKS - {mark}) | (_SIGNED if foreign else frozenset())
    if not dropped & block.keys():
        return block
    kept = {key: value for key, value in block.items() if key not in dropped}
    return {} if not kept.keys() - {"type"} else kept


def _same(author: str, model: str) -> bool:
    """Whether a message's author is the model; providers add dates to their own names."""
    return author == model or (bool(author) and author.startswith(f"{model}-"))
