"""What happened, as a value: the base of every event, and the events of a run itself.

A domain defines its own events beside its code::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class SkillLoaded(Event):
        name = "skill.loaded"
        skill: str
        digest: str

    emit(SkillLoaded(skill="pdf", digest="…"))

The first word of the name is the subject; it is also the logger's (`plumbgraph.skill`). Fields
hold digests and counts rather than content. A field named like a correlation key (`thread_id`,
`run_id`, `step`, …) takes the place of the stamped one unless it is `None`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from dataclasses import field as dataclass_field
from dataclasses import fields as dataclass_fields
from operator import attrgetter
from typing import Any, ClassVar


def otel(name: str, *, default: Any = MISSING) -> Any:
    """A field of an event that stands under `name`, an OpenTelemetry one, in records."""
    return dataclass_field(default=default, metadata={"otel": name})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened once, at one moment, in this process.

    Attributes:
        name: Dotted name, subject first, past tense last: `memory.superseded`.
        level: A level of the `logging` module. `WARNING` and above also reach the stdlib
            logger when no sink is attached.
    """

    name: ClassVar[str] = "event"
    level: ClassVar[int] = logging.INFO

    def fields(self) -> dict[str, Any]:
        """The event's own facts by the name they have in records, without those that are `None`."""
        names, values = shape_of(type(self)).names, _reader(type(self))(self)
        told = zip(names.values(), values, strict=True)
        return {key: value for key, value in told if value is not None}


@dataclass(frozen=True, slots=True)
class Shape:
    """What all events of a class share: their head in records, and the keys of their fields."""

    head: dict[str, Any]
    names: dict[str, str]


_shapes: dict[type[Event], Shape] = {}
_readers: dict[type[Event], Callable[[Any], tuple[Any, ...]]] = {}


def shape_of(kind: type[Event]) -> Shape:
    """The shape of a class of events; looked up once a class."""
    known = _shapes.get(kind)
    if known is None:
        every = dataclass_fields(kind)
        names = {each.name: each.metadata.get("otel", each.name) for each in every}
        told = ((names[each.name], each.default) for each in every)
        defaults = {key: value for key, value in told if value is not MISSING and value is not None}
        level = logging.getLevelName(kind.level)
        known = _shapes[kind] = Shape({"event": kind.name, "level": level, **defaults}, names)
    return known


def _reader(kind: type[Event]) -> Callable[[Any], tuple[Any, ...]]:
    if kind not in _readers:
        names = list(shape_of(kind).names)
        if len(names) > 1:
            _readers[kind] = attrgetter(*names)
        else:
            _readers[kind] = lambda event: tuple(getattr(event, name) for name in names)
    return _readers[kind]
