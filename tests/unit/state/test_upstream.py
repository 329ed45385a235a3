"""Canaries for the private names of langgraph that the saver rests on."""

from __future__ import annotations

import ormsgpack
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from plumbgraph.upstream import SAFE_MSGPACK_TYPES, DeltaSnapshot


def test_the_safe_types_are_those_a_strict_reader_accepts() -> None:
    assert ("langchain_core.messages.ai", "AIMessage") in SAFE_MSGPACK_TYPES
    assert all(len(name) == 2 for name in SAFE_MSGPACK_TYPES)
    assert ("os", "system") not in SAFE_MSGPACK_TYPES


def test_a_delta_snapshot_has_an_extension_of_its_own() -> None:
    kind, data = JsonPlusSerializer().dumps_typed(DeltaSnapshot(["x"]))
    assert kind == "msgpack"
    seen: list[int] = []
    ormsgpack.unpackb(data, ext_hook=lambda code, _: seen.append(code))
    assert seen == [jsonplus.EXT_DELTA_SNAPSHOT]
    assert JsonPlusSerializer().loads_typed((kind, data)) == DeltaSnapshot(["x"])
