"""Our own kit: PlumbSaver passes every probe, and others fail where they are known to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import psycopg
from langgraph.checkpoint.memory import InMemorySaver

from plumbgraph.errors import DataCorrupt
from plumbgraph.state import Encryption, PlumbSaver, Retention
from plumbgraph.state.frames import unwrap
from plumbgraph.testing import check_saver


def test_ours_passes_every_probe(postgres_url: str, schema: str) -> None:
    report = check_saver(lambda: PlumbSaver(postgres_url, schema=schema, adopt="off"))
    assert report.failures == ()
    assert {each.outcome for each in report.findings} == {"pass"}


def test_an_encrypting_saver_that_forgets_whole_threads(postgres_url: str, schema: str) -> None:
    keys = Encryption(keys={"k": bytes(range(32))}, current="k")

    def open_() -> PlumbSaver:
        rules = Retention(ttl_s=60)
        options: Any = {"encryption": keys, "retention": rules, "adopt": "off"}
        return PlumbSaver(postgres_url, schema=schema, **options)

    def expire(saver: Any, thread: str) -> None:
        old = f"UPDATE {schema}.stream SET touched_at = now() - interval '1 hour'"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(old)
        saver.sweep()

    holds = partial(_holds, postgres_url, schema)
    report = check_saver(open_, holds=holds, expire=expire)
    assert report.failures == ()
    assert {"nothing is stored in clear", "expiry takes whole threads"} <= {
        each.probe for each in report.findings
    }
    plain: Any = partial(PlumbSaver, postgres_url, schema=f"{schema}p", adopt="off")
    found = check_saver(plain, holds=partial(_holds, postgres_url, f"{schema}p")).failures
    assert [each.probe for each in found] == ["nothing is stored in clear"]


def _holds(url: str, schema: str, words: bytes) -> bool:
    with psycopg.connect(url) as connection:
        for table in ("thread", "stream", "checkpoint", "write", "element", "accepted", "run"):
            for row in connection.execute(f"SELECT * FROM {schema}.{table}").fetchall():
                if any(words in _readable(value) for value in row):
                    return True
    return False


def _readable(value: Any) -> bytes:
    if not isinstance(value, bytes):
        return repr(value).encode()
    try:
        return value + unwrap(value)
    except DataCorrupt:
        return value


def test_the_kit_can_fail() -> None:
    memory = InMemorySaver()
    open_: Callable[[], AbstractContextManager[Any]] = lambda: nullcontext(memory)  # noqa: E731
    failed = {each.probe for each in check_saver(open_).failures}
    assert failed == {"deletes are final", "second writer is told"}
