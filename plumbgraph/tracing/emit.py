"""Hand an event to every attached sink, stamped with where and when it happened.

`emit` never raises and never waits for a network. Without a sink it returns after two lookups.
A sink that raises is counted and named once in the stdlib log; the run goes on.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Protocol

from plumbgraph.clock import SYSTEM
from plumbgraph.tracing import context
from plumbgraph.tracing.events import Event, shape_of
from plumbgraph.tracing.processes import HOST, born_of

VERSION = 1
"""Version of the record's envelope, its first key `v`."""


class Sink(Protocol):
    """Somewhere records go. It may drop, but it neither raises nor blocks for long."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Take one record; it belongs to all sinks and is not to be changed."""


_ROOT = logging.getLogger("plumbgraph")
_attached: tuple[Sink, ...] = ()
_scoped: ContextVar[tuple[Sink, ...]] = ContextVar("plumbgraph_sinks", default=())
_lock = threading.Lock()
_faulty: dict[int, int] = {}
_stamps: dict[type[Event], dict[str, Any]] = {}
os.register_at_fork(after_in_child=_stamps.clear)
_second: tuple[int, str] = (0, "1970-01-01T00:00:00")


def attach(sink: Sink) -> None:
    """Send every event of this process to `sink`, from any thread, until `detach`."""
    global _attached  # noqa: PLW0603 - the process-wide list of sinks
    with _lock:
        if sink not in _attached:
            _attached = (*_attached, sink)


def detach(sink: Sink) -> None:
    """Stop sending to `sink`; one that is not attached is ignored."""
    global _attached  # noqa: PLW0603 - the process-wide list of sinks
    with _lock:
        _attached = tuple(other for other in _attached if other is not sink)


@contextmanager
def scoped(sinks: Iterable[Sink]) -> Iterator[None]:
    """Send events to `sinks` too while inside the block, in this context and its children."""
    token = _scoped.set((*_scoped.get(), *sinks))
    try:
        yield
    finally:
        _scoped.reset(token)


def emit(event: Event) -> None:
    """Write `event` through to the attached sinks.

    Sinks are those of the process (`attach`), of this context (`trace` as a block) and of the
    running graph (`trace` among its callbacks), each once.
    """
    config = context.running_config()
    sinks = _attached + _scoped.get()
    run = context.RUN.get()
    if run is not None:
        sinks += run.sinks
    if config is not None:
        for tracer in context.tracers(config):
            sinks += tuple(tracer.plumb_sinks)
    if sinks:
        deliver(record_of(event, correlation_of(config)), sinks)
    if sinks or event.level >= logging.WARNING:
        _log(type(event), event.fields())


def tell(
    kind: type[Event], facts: Mapping[str, Any], place: Mapping[str, Any], sinks: tuple[Sink, ...]
) -> None:
    """Write the event `kind(**facts)` of a known place, without making the object."""
    record = stamped(kind, place)
    names = shape_of(kind).names
    for name, value in facts.items():
        if value is not None:
            record[names[name]] = value
    others = _attached + _scoped.get()
    deliver(record, (*others, *sinks) if others else sinks)
    if _ROOT.hasHandlers():
        _log(kind, {**place, **facts})


def write(event: Event, sinks: Iterable[Sink]) -> None:
    """Write an event that happened outside of any run to `sinks` and to those of the process."""
    deliver(record_of(event, {}), (*_attached, *_scoped.get(), *sinks))
    if _ROOT.hasHandlers():
        _log(type(event), event.fields())


def correlation_of(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The correlation of `config`, or nothing when it cannot be read."""
    try:
        return context.correlation(config)
    except Exception:  # noqa: BLE001 - a config of an unknown shape must not end the run
        return {}


def record_of(event: Event, place: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an event: envelope, correlation, then the event's own fields."""
    return {**stamped(type(event), place), **event.fields()}


def stamped(kind: type[Event], place: Mapping[str, Any]) -> dict[str, Any]:
    """The beginning of a record: when, what, on which machine, and where in which run."""
    stamp = _stamps.get(kind) or _stamp_of(kind)
    record = {**stamp, **place}
    record["ts"] = timestamp(SYSTEM.now())
    return record


def _stamp_of(kind: type[Event]) -> dict[str, Any]:
    """What is the same in all records of a kind that this process writes."""
    pid = os.getpid()
    who = {"host": HOST, "pid": pid, "born": born_of(pid)}
    stamp = _stamps[kind] = {"v": VERSION, "ts": "", **shape_of(kind).head, **who}
    return stamp


def timestamp(seconds: float) -> str:
    """UTC in ISO 8601 with milliseconds: `2026-01-31T09:30:00.125Z`."""
    global _second  # noqa: PLW0603 - many records share a second, and its text is the dear part
    whole, ms = divmod(math.floor(seconds * 1000), 1000)
    known = _second
    if known[0] != whole:
        moment = datetime.fromtimestamp(whole, UTC)
        known = _second = (whole, f"{moment:%Y-%m-%dT%H:%M:%S}")
    return f"{known[1]}.{ms:03d}Z"


def deliver(record: Mapping[str, Any], sinks: Sequence[Sink]) -> None:
    """Give `record` to each sink once; a sink that raises is counted, and named the first time."""
    for sink in sinks if len(sinks) == 1 else {id(each): each for each in sinks}.values():
        try:
            sink.write(record)
        except Exception as error:  # noqa: BLE001 - a sink never raises into the run
            _count_fault(sink, error)


def faults() -> int:
    """How many records a sink of this process failed to take by raising."""
    return sum(_faulty.values())


def _count_fault(sink: Sink, error: Exception) -> None:
    with _lock:
        first = id(sink) not in _faulty
        _faulty[id(sink)] = _faulty.get(id(sink), 0) + 1
    if first:
        logging.getLogger("plumbgraph.tracing").warning(
            "sink %r failed; the run goes on, further failures are only counted",
            sink,
            exc_info=error,
        )


def _log(kind: type[Event], facts: Mapping[str, Any]) -> None:
    logger = logging.getLogger(f"plumbgraph.{kind.name.partition('.')[0]}")
    if logger.isEnabledFor(kind.level):
        told = " ".join(f"{key}={value!r}" for key, value in facts.items() if value is not None)
        logger.log(kind.level, "%s %s", kind.name, told)
