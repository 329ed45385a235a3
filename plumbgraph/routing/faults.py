"""Failures of a provider, told apart by what they mean for the bill and for the next step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from langchain_core.messages import AIMessage
from langgraph.errors import GraphBubbleUp

from plumbgraph.errors import PlumbError

Kind: TypeAlias = Literal[
    "rate_limited", "server", "timeout", "connection", "cut", "malformed", "auth", "context",
]  # fmt: skip

_FINISH = ("finish_reason", "stop_reason", "finishReason", "done_reason", "stopReason", "status")
_FINISHERS = frozenset(
    {"anthropic", "azure_openai", "bedrock_converse", "google_genai", "mistralai", "openai"}
    | {"deepseek", "fireworks", "groq", "ollama", "openrouter", "scripted", "together", "xai"}
)
_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ConnectionRefusedError"})
_CONNECTION = frozenset(
    {"APIConnectionError", "ReadError", "WriteError", "RemoteProtocolError", "ClientConnectorError"}
    | {"ClientPayloadError", "ServerDisconnectedError", "IncompleteRead", "ProtocolError"}
)
_MISTAKES = (TypeError, AttributeError, LookupError, NameError, AssertionError, ArithmeticError)
_CONTEXT_WORDS = (
    *("context length", "context_length", "maximum context", "too many tokens"),
    *("prompt is too long", "input length", "context window", "token count"),
)
_RATE, _TIMEOUT, _OVERLOADED = 429, 408, 529


@dataclass(frozen=True, slots=True)
class Fault:
    """A provider's failure.

    Attributes:
        kind: What happened.
        billed: Whether the call may stand on the provider's bill.
        retry_after_s: How long the provider asks to be left alone.
        breaks: Whether it counts against the model's health; a request that is too long does
            not.
    """

    kind: Kind
    billed: bool
    retry_after_s: float = 0.0
    breaks: bool = True


class CutAnswer(ConnectionError):
    """A provider's answer ended without saying why it ended, so it is not whole."""


def classify(error: BaseException) -> Fault | None:
    """What a failure means; `None` where it is not the provider's.

    A `TypeError`, a wrong argument or any other mistake of one's own gives `None`: another
    model would only hide it. The innermost cause is asked first, as it knows most exactly
    whether anything was sent.
    """
    if isinstance(error, (*_MISTAKES, PlumbError, GraphBubbleUp)):
        return None
    for link in reversed(list(_chain(error))):
        if found := _by_status(link) or _by_name(link):
            return found
    return None


def require_whole(message: AIMessage, provider: str) -> None:
    """Return where the answer says why it ended.

    Raises:
        CutAnswer: It does not, though this provider always does.
    """
    told = message.response_metadata
    if provider in _FINISHERS and not any(told.get(key) for key in _FINISH):
        raise CutAnswer(f"The answer of {provider!r} ended without a finish reason.")


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _by_status(error: BaseException) -> Fault | None:
    response = getattr(error, "response", None)
    for told in (getattr(error, "status_code", None), getattr(response, "status_code", None)):
        if isinstance(told, int):
            return _of_status(told, error, getattr(response, "headers", None) or {})
    code = getattr(error, "code", None)
    if isinstance(code, int) and 400 <= code < 600:  # noqa: PLR2004 - HTTP's error statuses
        return _of_status(code, error, {})
    return None


def _of_status(status: int, error: BaseException, headers: Mapping[str, Any]) -> Fault | None:
    if status == _RATE:
        return Fault("rate_limited", billed=False, retry_after_s=_retry_after(headers))
    if status in (401, 403):
        return Fault("auth", billed=False)
    if status == _TIMEOUT:
        return Fault("timeout", billed=True)
    if status >= 500:  # noqa: PLR2004 - HTTP's server errors
        return Fault("server", billed=False, retry_after_s=_retry_after(headers))
    text = str(error).lower()
    if status in (400, 413) and (status == 413 or any(w in text for w in _CONTEXT_WORDS)):  # noqa: PLR2004 - HTTP: content too large
        return Fault("context", billed=False, breaks=False)
    return None


def _by_name(error: BaseException) -> Fault | None:
    name = type(error).__name__
    if isinstance(error, CutAnswer):
        return Fault("cut", billed=True)
    if isinstance(error, json.JSONDecodeError) or name == "APIResponseValidationError":
        return Fault("malformed", billed=True)
    if name == "ContextOverflowError":
        return Fault("context", billed=False, breaks=False)
    if name == "APIError" and type(error).__module__.startswith(("openai", "anthropic")):
        return Fault("malformed", billed=True)
    if name in _NEVER_SENT:
        return Fault("connection", billed=False)
    if isinstance(error, TimeoutError) or name.endswith(("Timeout", "TimeoutError")):
        return Fault("timeout", billed=True)
    if name in _CONNECTION or isinstance(error, ConnectionError):
        return Fault("connection", billed=True)
    return None


def _retry_after(headers: Mapping[str, Any]) -> float:
    told = headers.get("retry-after-ms")
    try:
        if told is not None:
            return float(told) / 1000
        return max(float(headers.get("retry-after") or 0), 0.0)
    except ValueError:
        return 0.0
