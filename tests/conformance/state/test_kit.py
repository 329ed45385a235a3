"""Our own kit: PlumbSaver passes every probe, and others fail where they are known to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from plumbgraph.state import PlumbSaver
from plumbgraph.testing import check_saver


def test_ours_passes_every_probe(postgres_url: str, schema: str) -> None:
    report = check_saver(lambda: PlumbSaver(postgres_url, schema=schema, adopt="off"))
    assert report.failures == ()
    assert {each.outcome for each in report.findings} == {"pass"}


def test_the_kit_can_fail() -> None:
    memory = InMemorySaver()
    open_: Callable[[], AbstractContextManager[Any]] = lambda: nullcontext(memory)  # noqa: E731
    failed = {each.probe for each in check_saver(open_).failures}
    assert failed == {"deletes are final", "second writer is told"}
