"""Canaries: each private name that `plumbgraph/upstream.py` takes still means what we rely on."""

from __future__ import annotations

from langgraph.checkpoint.serde.jsonplus import EXT_DELTA_SNAPSHOT, JsonPlusSerializer

from plumbgraph import upstream


def test_safe_types_are_module_and_name_and_hold_the_everyday_ones() -> None:
    pairs = {entry[:2] for entry in upstream.SAFE_MSGPACK_TYPES}
    assert {("datetime", "datetime"), ("uuid", "UUID"), ("decimal", "Decimal")} <= pairs
    assert ("langchain_core.messages.ai", "AIMessage") in pairs


def test_a_delta_snapshot_is_what_the_serializer_writes_and_reads_as_such() -> None:
    serde = JsonPlusSerializer()
    kind, data = serde.dumps_typed(upstream.DeltaSnapshot(["x"]))
    back = serde.loads_typed((kind, data))
    assert isinstance(back, upstream.DeltaSnapshot)
    assert back.value == ["x"]
    assert EXT_DELTA_SNAPSHOT in data
