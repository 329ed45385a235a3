"""The public kit: our store passes all of it, and a bad store does not."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from plumbgraph.memory import MemoryStore
from plumbgraph.testing.store_kit import check_store


@pytest.mark.parametrize("shard_by", ["tenant", "namespace_root"])
def test_the_memory_store_passes_everything(redis_url: str, shard_by: Any) -> None:
    def make() -> BaseStore:
        return MemoryStore(redis_url, tenant=secrets.token_hex(4), shard_by=shard_by)

    report = check_store(make)
    assert report.failed == (), report.table()
    assert report.count()[2] == 0


def test_langgraphs_own_store_is_judged_fairly() -> None:
    report = check_store(InMemoryStore)
    assert {check.name for check in report.failed} == {
        "created at survives an overwrite",
        "an emptied namespace is not listed",
    }
    assert report.count("ttl") == (0, 0, 3)
    assert "contract" in report.table()


def test_a_bad_store_is_found_out() -> None:
    class Folding(InMemoryStore):
        def batch(self, ops: Any) -> Any:
            lower = [
                op._replace(namespace=tuple(label.lower() for label in op.namespace))
                if hasattr(op, "namespace")
                else op
                for op in ops
            ]
            return super().batch(lower)

    failed = {check.name for check in check_store(Folding, only=["namespaces"]).failed}
    assert "namespaces are case sensitive" in failed
