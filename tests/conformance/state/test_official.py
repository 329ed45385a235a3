"""LangGraph's own conformance suite, both colours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from plumbgraph.state import PlumbSaver
from plumbgraph.testing.conformance import Factory, conformance


def _factory(url: str, schema: str, on_stale: Literal["raise", "fork"]) -> Factory:
    @asynccontextmanager
    async def make() -> AsyncIterator[Any]:
        async with PlumbSaver(url, schema=schema, on_stale=on_stale) as saver:
            yield saver

    return make


@pytest.mark.parametrize("half", ["async", "blocking"])
async def test_every_test_passes(postgres_url: str, schema: str, half: str) -> None:
    found = await conformance(_factory(postgres_url, schema, "fork"), blocking=half == "blocking")
    assert found.failures == ()
    assert found.passed == 81


async def test_only_parentless_puts_on_a_used_thread_are_refused(
    postgres_url: str, schema: str
) -> None:
    found = await conformance(_factory(postgres_url, schema, "raise"))
    assert {failure.partition(":")[0] for failure in found.failures} == {
        "test_list_metadata_filter_multiple_keys",
        "test_list_metadata_custom_keys",
        "test_delete_for_runs_preserves_other_runs",
    }
    assert found.passed == 78
    assert all("no longer the head" in failure for failure in found.failures)
