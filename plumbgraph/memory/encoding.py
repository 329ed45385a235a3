"""Values as JSON text, refused when they could not be read back exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from plumbgraph.errors import MemoryInvalid

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encoded(value: Any, *, most_bytes: int, what: str) -> str:
    """A value as JSON text.

    Raises:
        MemoryInvalid: No mapping with string keys, not JSON, or over `most_bytes`.
    """
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        raise MemoryInvalid(
            f"The value of {what} must be a dict with string keys, not {type(value).__name__}."
        )
    try:
        text = _encode(value if isinstance(value, dict) else dict(value))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise MemoryInvalid(f"The value of {what} cannot be written as JSON: {error}.") from error
    if size > most_bytes:
        raise MemoryInvalid(
            f"The value of {what} has {size} bytes; at most {most_bytes} are allowed.",
            hint="Store the content elsewhere and keep a reference, or raise max_value_bytes.",
        )
    return text
