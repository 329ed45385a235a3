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
        keys, values = _keys(type(self))
        return {k: v for k, v in zip(keys, values(self), strict=True) if v is not None}


_known: dict[type, tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]] = {}


def _keys(cls: type[Event]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Record keys of the fields and what reads their values; looked up once a class."""
    if cls not in _known:
        every = dataclass_fields(cls)
        names = [each.name for each in every]
        keys = tuple(each.metadata.get("otel", each.name) for each in every)
        if len(names) > 1:
            _known[cls] = keys, attrgetter(*names)
        else:
            _known[cls] = keys, lambda event: tuple(getattr(event, name) for name in names)
    return _known[cls]
