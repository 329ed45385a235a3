"""Records as bounded JSON lines, and the digests that stand for content."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any

import orjson

MAX_LINE_BYTES = 64 * 1024
"""Longest line written; longer strings in a record are cut, and say so."""

_CUT_AT = 512
_DEEPEST = 12
_AS_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS
_AS_CANON = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS


def digest_of(value: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """A short digest that is equal for equal content, whatever the order of its keys.

    It is 16 hex digits of BLAKE2b over canonical JSON: enough to compare, not enough to hold
    content, though short or guessable content can be found by trying. `default` says
    what JSON should hold for a value it does not know; see `plain`.
    """
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
    else:
        data = _canon(value, default or plain)
    return blake2b(data, digest_size=8).hexdigest()


def plain(value: Any) -> Any:
    """What JSON can hold in place of `value`: bytes as a digest, the rest by its own name."""
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return {"bytes": len(data), "digest": digest_of(data)}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump()
    return str(value)


def _canon(value: Any, default: Callable[[Any], Any]) -> bytes:
    try:
        return orjson.dumps(value, default=default, option=_AS_CANON)
    except TypeError:  # keys that are no strings, huge integers, lone surrogates
        return _canonical(default).encode(value).encode()


@cache
def _canonical(default: Callable[[Any], Any]) -> json.JSONEncoder:
    return json.JSONEncoder(sort_keys=True, default=default, separators=(",", ":"))


def encode_line(record: Mapping[str, Any], *, max_bytes: int = MAX_LINE_BYTES) -> bytes:
    """One line of UTF-8 JSON with its newline, never longer than `max_bytes`.

    Numbers that JSON does not know become `null`, lone surrogates become escapes, and in an
    overlong record every long string is cut to its beginning, its length and its digest.
    """
    line = _dump(record)
    return line if len(line) <= max_bytes else _cut(record, max_bytes)


def _cut(record: Mapping[str, Any], max_bytes: int) -> bytes:
    line = _dump(_shorten(record))
    if len(line) > max_bytes:
        kept = {key: value for key, value in record.items() if len(_dump({key: value})) < _CUT_AT}
        line = _dump({**kept, "cut": True})
    return line


def _dump(record: Any) -> bytes:
    try:
        return orjson.dumps(record, default=plain, option=_AS_LINE)
    except (TypeError, RecursionError):
        text = json.dumps(_sanitize(record), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _sanitize(value: Any, depth: int = 0) -> Any:
    """A copy that JSON surely takes: string keys, finite numbers, bounded depth."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {str(key): _sanitize(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sanitize(item, depth + 1) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return _sanitize(plain(value), depth + 1)


def _shorten(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _CUT_AT:
        return f"{value[:_CUT_AT]}… ({len(value)} characters, {digest_of(value)})"
    if isinstance(value, Mapping):
        return {key: _shorten(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_shorten(item) for item in value]
    return value
