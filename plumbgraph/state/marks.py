"""Notice in-place changes: a fingerprint of a value that is equal only if its bytes would be.

An object that is the same and carries the same mark serializes to the same bytes, so a step
looks at a thousand old messages without serializing one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from plumbgraph.state.direct import is_direct, is_flat
from plumbgraph.state.serde import plain

Mark: TypeAlias = bool | int | dict[str, Any] | tuple[int]
"""True: immutable. A dict: the fields of a flat message. A number: hash of its plain content.
A one-tuple: hash of the serialized value. False: unknown, so serialize."""

_IMMUTABLE = frozenset({str, int, float, bool, type(None), bytes})


def mark(value: Any, raw: Any) -> Mark:
    """The mark of a value that was just serialized to `raw`."""
    kind = type(value)
    if kind in _IMMUTABLE:
        return True
    if is_direct(kind):
        if not value.__pydantic_extra__ and is_flat(value.__dict__):
            return dict(value.__dict__)
        packed = plain(value)
        if packed is not None:
            return hash(packed)
    return (hash(raw),)


def unchanged(value: Any, old: Mark, encode: Callable[[], Any]) -> bool:
    """Whether the very same object still serializes to what it was when marked."""
    if old is True:
        return True
    if type(old) is dict:
        # Flat fields are texts, None and empty containers, where equal means equal bytes.
        return bool(value.__dict__ == old) and not value.__pydantic_extra__
    if type(old) is tuple:
        return hash(encode()) == old[0]
    packed = plain(value)
    return packed is not None and hash(packed) == old
