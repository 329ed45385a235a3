"""Values on their way to a sink, without the secrets and mail addresses in their texts."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

import orjson
from langchain_core.load import dumpd

from plumbgraph.tracing.once import Once
from plumbgraph.tracing.redact import SUSPECT, redact

_CACHED_CHARS = 2048
_MOST_MARKS = 100_000
_SECRET = "[secret]"  # noqa: S105 - what stands in place of one
_SECRET_NAME = re.compile(
    r"(?:.*[-_. ])?(?:api[-_]?key|\w*access[-_]?key|private[-_]?key|passwd|password|pwd|secret"
    r"|\w+secret|token|\w+token|authorization|credentials?)",
    re.IGNORECASE,
)
_LEAST, _MOST = -(2**63), 2**64 - 1
_PLAIN = (float, bool, type(None), orjson.Fragment)
_SAFE = (int, float, datetime, date, time, timedelta, UUID, Decimal, Enum, bytes, bytearray)
_harmless: set[int] = set()


def anonymized(data: Any) -> Any:
    """A payload without secrets and mail addresses, for orjson to write.

    A text under a key that names a secret (`password`, `api_key`, `token`, …) goes as a whole.
    Models and dataclasses become dicts, messages finished JSON, unknown objects their text.
    """
    kind = type(data)
    if kind is str:
        return clean(data)
    if kind is dict:
        return _anonymized_dict(data)
    if kind is list or kind is tuple:
        return [anonymized(value) for value in data]
    if kind is int:  # JSON writers refuse larger ones
        return data if _LEAST <= data <= _MOST else str(data)
    return data if kind in _PLAIN else _anonymized_object(data)


def _anonymized_dict(data: Mapping[Any, Any]) -> dict[Any, Any]:
    if "lc" in data and type(data.get("kwargs")) is dict:  # a message as LangChain dumps it
        return {**data, "kwargs": _anonymized_dict(data["kwargs"])}
    found = {}
    for key, value in data.items():
        name, secret = _named(key) if type(key) is str else (key, False)
        if type(value) is str and not secret:
            found[name] = _cleaned(value) if len(value) <= _CACHED_CHARS else _cleaned_long(value)
        elif secret and isinstance(value, str) and value:
            found[name] = _SECRET
        else:
            found[name] = anonymized(value)
    return found


def _anonymized_object(data: Any) -> Any:
    """What is no plain value, in the form in which LangSmith's SDK would write it."""
    if hasattr(data, "content") and hasattr(data, "additional_kwargs"):
        return _message(data)
    if isinstance(data, _SAFE):
        return data
    if isinstance(data, str):
        return clean(str(data))
    if isinstance(data, AbstractSet | list | tuple | deque) and not hasattr(data, "_asdict"):
        return [anonymized(value) for value in data]
    try:
        told = _as_dict(data)
    except Exception:  # noqa: BLE001 - pydantic's and the user's own code; a sink never raises
        told = None
    return _said(data) if told is None else _anonymized_dict(told)


def _said(data: Any) -> str:
    try:
        return clean(str(data))
    except Exception:  # noqa: BLE001 - the user's own code; a sink never raises
        return f"<{type(data).__name__}>"


def _fragment(make: Callable[[Any], Any], message: Any) -> orjson.Fragment:
    options = orjson.OPT_NON_STR_KEYS
    return orjson.Fragment(orjson.dumps(anonymized(make(message)), default=str, option=options))


def _parts(message: Any) -> tuple[Any, ...]:
    return message.content, message.usage_metadata if message.type == "ai" else None


def _plain_message(message: Any) -> dict[str, Any]:
    try:
        told: dict[str, Any] = message.model_dump(mode="json", exclude_none=True)
    except Exception:  # noqa: BLE001 - pydantic refuses lone surrogates; a sink never raises
        return {"type": getattr(message, "type", ""), "content": message.content}
    return told


_message = Once(partial(_fragment, _plain_message), _parts)
"""A message as finished JSON; a state shows the same ones step after step."""

dumped = Once(partial(_fragment, dumpd), _parts)
"""A message as finished JSON in LangChain's own form; a model is sent the same ones again."""


def _as_dict(data: Any) -> Mapping[Any, Any] | None:
    if isinstance(data, type):
        return None
    if isinstance(data, Mapping):
        return data
    if hasattr(data, "_asdict"):
        data = data._asdict()
    elif hasattr(data, "model_dump"):
        data = data.model_dump(mode="json", exclude_none=True)
    elif is_dataclass(data):
        data = {each.name: getattr(data, each.name) for each in fields(data)}
    return data if isinstance(data, Mapping) else None


@lru_cache(maxsize=4096)
def _named(key: str) -> tuple[str, bool]:
    """A key without secrets in itself, and whether it names one."""
    return clean(key), _SECRET_NAME.fullmatch(key) is not None


def clean(text: str) -> str:
    """One text without secrets and mail addresses."""
    # A thread's messages come again with every step; looking once at each is enough.
    return _cleaned(text) if len(text) <= _CACHED_CHARS else _cleaned_long(text)


@lru_cache(maxsize=8192)
def _cleaned(text: str) -> str:
    if not text.isascii():  # lone surrogates are no UTF-8
        text = text.encode(errors="replace").decode()
    return redact(text) if SUSPECT.search(text) else text


def _cleaned_long(text: str) -> str:
    """Like `_cleaned`, remembering of long texts only that nothing was in them."""
    mark = hash(text)
    if mark in _harmless:
        return text
    found = _cleaned.__wrapped__(text)
    if found == text:
        if len(_harmless) >= _MOST_MARKS:
            _harmless.clear()
        _harmless.add(mark)
    return found
