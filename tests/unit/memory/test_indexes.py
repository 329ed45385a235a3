"""Indexes of namespaces in one process stay within their bytes, whoever asks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from plumbgraph.memory.indexes import Indexes


def test_empty_ones_weigh_something_too() -> None:
    indexes = Indexes(language="english", max_bytes=100_000)
    first = indexes.of("t", ("users", "0"))
    for number in range(1, 1000):
        indexes.uses("t", ("users", str(number)))
        indexes.of("t", ("users", str(number)))
    assert len(indexes) <= 10
    assert len(indexes._uses) <= 10
    last = indexes.of("t", ("users", "999"))
    assert indexes.of("t", ("users", "999")) is last
    assert indexes.of("t", ("users", "0")) is not first


def test_the_one_that_is_asked_for_stays_however_big() -> None:
    indexes = Indexes(language="english", max_bytes=1)
    held = indexes.of("t", ("a",))
    assert indexes.of("t", ("a",)) is held


def test_many_threads_may_ask_at_once() -> None:
    indexes = Indexes(language="english", max_bytes=50_000)

    def ask(number: int) -> None:
        for step in range(500):
            indexes.of("t", (str((number * 7 + step) % 40),))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert len(indexes) <= 5
    assert indexes._total == sum(indexes._weighed.values())
