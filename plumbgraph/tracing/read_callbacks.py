"""What a callback's arguments say, as the fields of events: tokens, costs, digests, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from plumbgraph.tracing.encode import digest_of, plain
from plumbgraph.tracing.loops import pattern
from plumbgraph.tracing.redact import redact

_ERROR_CHARS = 500
_PATTERN_CHARS = 4_000
_ANSWERS = {"ai", "AIMessageChunk"}
_DATA = (str, int, float, bool, list, tuple, dict, type(None))


def essence(value: Any) -> Any:
    """What makes a message or update itself, without the ids that differ on every run."""
    if hasattr(value, "content") and hasattr(value, "type"):
        asked = getattr(value, "tool_calls", None) if value.type in _ANSWERS else None
        calls = [(call["name"], call["args"]) for call in asked or ()]
        return {"type": value.type, "content": value.content, "tool_calls": calls}
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return plain(value)


def result_digest(value: Any) -> str:
    """A digest that is equal when two results say the same."""
    try:
        return digest_of(value, default=essence)
    except (TypeError, ValueError, RecursionError):
        return digest_of(str(type(value)))


def usage_fields(generations: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Tokens by kind and cost, summed over the generated messages that tell them."""
    totals: dict[str, Any] = {}
    for generation in (each for row in generations for each in row):
        usage = getattr(getattr(generation, "message", None), "usage_metadata", None) or {}
        for field, value in _usage_values(usage).items():
            if value is not None:
                totals[field] = totals.get(field, 0) + value
    return totals


def _usage_values(usage: Mapping[str, Any]) -> dict[str, Any]:
    inputs = usage.get("input_token_details") or {}
    outputs = usage.get("output_token_details") or {}
    return {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cache_read": inputs.get("cache_read"),
        "cache_creation": inputs.get("cache_creation"),
        "reasoning": outputs.get("reasoning"),
        "cost_usd": usage.get("total_cost"),
    }


def answer_fields(generations: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Model name, finish reason, tool names and digest of the first generated message."""
    first = next((each for row in generations for each in row), None)
    message = getattr(first, "message", None)
    if message is None:
        return {"result_digest": digest_of(getattr(first, "text", "") or "")}
    about = message.response_metadata or {}
    calls = getattr(message, "tool_calls", None)
    found = {
        "finish_reason": about.get("finish_reason") or about.get("stop_reason"),
        "tool_calls": tuple(call["name"] for call in calls) if calls else None,
        "result_digest": result_digest(message),
    }
    model = about.get("model_name") or about.get("model")
    return {**found, "model": model} if model else found


def tool_result_fields(output: Any) -> dict[str, Any]:
    """Status, digest and length of what a tool returned."""
    content = getattr(output, "content", output)
    return {
        "status": getattr(output, "status", None) or "success",
        "result_digest": result_digest(content),
        "result_chars": len(content if isinstance(content, str) else str(content)),
    }


def pattern_digest(tool: str, args: Any, output: Any) -> str:
    """A digest that is equal for calls of a tool that differ only in numbers and identifiers.

    Of long results the first few thousand characters count.
    """
    content = getattr(output, "content", output)
    text = content if isinstance(content, str) else str(content)
    kept = args if isinstance(args, Mapping) else {"input": args}
    known = {key: value for key, value in kept.items() if isinstance(value, _DATA)}
    return pattern(tool, known, text[:_PATTERN_CHARS])


def error_fields(error: BaseException) -> dict[str, Any]:
    """Type and redacted message of an error."""
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return {
        "error_type": f"{module}{kind.__qualname__}",
        "error": redact(str(error)[: 4 * _ERROR_CHARS])[:_ERROR_CHARS],
    }
