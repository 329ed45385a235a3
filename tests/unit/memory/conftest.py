"""A store on a real server for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plumbgraph.memory import Attribute, MemoryStore

ATTRIBUTES = (
    Attribute("home_city", ("lives in", "city of residence")),
    Attribute("languages", ("speaks",), cardinality="many"),
    Attribute("employer", ("works for",), policy="contest"),
    Attribute("age", normalise="number"),
)


@pytest.fixture
def store(redis_url: str) -> Iterator[MemoryStore]:
    with MemoryStore(redis_url, attributes=ATTRIBUTES) as made:
        yield made
