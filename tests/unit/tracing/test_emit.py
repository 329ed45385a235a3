from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from plumbgraph.tracing import attach, detach, emit
from plumbgraph.tracing.emit import faults, scoped
from plumbgraph.tracing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Poured(Event):
    name = "test.poured"
    litres: int
    thread_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spilled(Event):
    name = "test.spilled"
    level = logging.WARNING
    litres: int


class Kept:
    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []

    def write(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)


class Broken:
    def write(self, record: Mapping[str, Any]) -> None:
        raise OSError("broken pipe")


@pytest.fixture
def kept() -> Iterator[Kept]:
    sink = Kept()
    attach(sink)
    yield sink
    detach(sink)


def test_without_a_sink_nothing_happens() -> None:
    emit(Poured(litres=1))


def test_an_attached_sink_gets_a_stamped_record(kept: Kept) -> None:
    emit(Poured(litres=3))
    (record,) = kept.records
    assert record["event"] == "test.poured"
    assert record["v"] == 1
    assert record["litres"] == 3
    assert record["ts"].endswith("Z")
    assert "thread_id" not in record


def test_an_events_own_thread_takes_the_place_of_the_stamped_one(kept: Kept) -> None:
    emit(Poured(litres=3, thread_id="mine"))
    assert kept.records[0]["thread_id"] == "mine"


def test_a_sink_attached_twice_gets_each_event_once(kept: Kept) -> None:
    attach(kept)
    with scoped([kept]):
        emit(Poured(litres=1))
    assert len(kept.records) == 1


def test_scoped_sinks_end_with_their_block_and_do_not_reach_other_contexts() -> None:
    sink = Kept()
    with scoped([sink]):
        stranger = threading.Thread(target=lambda: emit(Poured(litres=9)))
        stranger.start()
        stranger.join()
        emit(Poured(litres=1))
    emit(Poured(litres=2))
    assert [record["litres"] for record in sink.records] == [1]


def test_a_raising_sink_is_counted_and_the_others_still_get_the_event(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    before = faults()
    broken = Broken()
    with caplog.at_level(logging.WARNING), scoped([broken]):
        emit(Poured(litres=1))
        emit(Poured(litres=2))
    assert faults() - before == 2
    assert len(kept.records) == 2
    assert caplog.text.count("failed; the run goes on") == 1


def test_a_warning_reaches_the_stdlib_log_without_any_sink(
    caplog: pytest.LogCaptureFixture,
) -> None:
    emit(Spilled(litres=7))
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        ("plumbgraph.test", "test.spilled litres=7")
    ]
