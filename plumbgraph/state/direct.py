"""Rebuild messages straight from their stored fields, without validating what was valid before.

Only for exact classes whose stored keys equal the class's present fields; everything else takes
the validating way. Each class is compared once with its validated twin and left to validation
if they differ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.base import BaseMessage

Build = Callable[[dict[str, Any]], Any]

_SAMPLES: dict[type[BaseMessage], tuple[dict[str, Any], ...]] = {
    HumanMessage: ({"content": "a", "id": "1"}, {"content": [{"type": "text", "text": "a"}]}),
    SystemMessage: ({"content": "a", "name": "n"},),
    AIMessage: (
        {"content": "a", "id": "1", "response_metadata": {"model": "m"}},
        {
            "content": "",
            "tool_calls": [{"name": "f", "args": {"x": [1]}, "id": "c", "type": "tool_call"}],
            "usage_metadata": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        },
    ),
    ToolMessage: ({"content": "a", "tool_call_id": "c", "artifact": {"rows": [1]}},),
}
_NAMES = {(cls.__module__, cls.__name__): cls for cls in _SAMPLES}


@cache
def builder(name: str, module: str) -> Build | None:
    """What builds a message of this class from its stored fields, or None for any other class.

    It returns None where the fields are not exactly those of the class today.
    """
    cls = _NAMES.get((module, name))
    if cls is None:
        return None
    build = _build(cls)
    return build if all(_same(cls, build, sample) for sample in _SAMPLES[cls]) else None


def is_direct(cls: type) -> bool:
    """Whether this is exactly one of the classes that can be built directly."""
    return cls in _SAMPLES


class Mold:
    """A flat message's fields, from which equal messages are cast that share texts alone.

    Casting is several times faster than decoding; texts cannot be changed, so what is cast
    belongs to its reader alone like anything decoded.
    """

    __slots__ = ("_cls", "_empty", "_fields", "_names")

    def __init__(self, message: BaseMessage) -> None:
        self._cls = type(message)
        self._fields = dict(message.__dict__)
        self._names = set(message.model_fields_set)
        self._empty = tuple(
            (name, type(field)) for name, field in self._fields.items() if field in ([], {})
        )

    def cast(self) -> Any:
        """A message of its own."""
        fields = self._fields.copy()
        for name, make in self._empty:
            fields[name] = make()
        message, put = self._cls.__new__(self._cls), object.__setattr__
        put(message, "__dict__", fields)
        put(message, "__pydantic_fields_set__", self._names.copy())
        put(message, "__pydantic_extra__", {})
        put(message, "__pydantic_private__", None)
        return message


def mold(value: Any) -> Mold | None:
    """The mold of a message that can be built directly and holds nothing but texts."""
    if not is_direct(type(value)) or value.__pydantic_extra__ or not is_flat(value.__dict__):
        return None
    return Mold(value) if builder(type(value).__name__, type(value).__module__) else None


def is_flat(fields: dict[str, Any]) -> bool:
    """Whether these fields are texts, None and empty containers alone."""
    for field in fields.values():
        kind = type(field)
        if kind is str or field is None:
            continue
        if (kind is list or kind is dict) and not field:
            continue
        return False
    return True


def _build(cls: type[BaseMessage]) -> Build:
    new, put = cls.__new__, object.__setattr__
    names = set(cls.model_fields)
    order = list(cls.model_fields)

    def build(fields: dict[str, Any]) -> Any:
        if list(fields) != order:
            return None
        message = new(cls)
        put(message, "__dict__", fields)
        put(message, "__pydantic_fields_set__", names.copy())
        put(message, "__pydantic_extra__", {})
        put(message, "__pydantic_private__", None)
        return message

    return build


def _same(cls: type[BaseMessage], build: Build, sample: dict[str, Any]) -> bool:
    first = cls(**sample)
    validated = cls(**first.model_dump())
    built = build(first.model_dump())
    return (
        type(built) is type(validated)
        and built == validated
        and built.__dict__ == validated.__dict__
        and list(built.__dict__) == list(validated.__dict__)
        and built.__pydantic_extra__ == validated.__pydantic_extra__
        and built.__pydantic_private__ == validated.__pydantic_private__
        and built.model_fields_set == validated.model_fields_set
    )
