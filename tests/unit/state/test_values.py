"""What survives, with which type, and what is refused when it is written."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import ormsgpack
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Send
from pydantic import BaseModel

from plumbgraph.errors import DataCorrupt, SettingsError, TypeRefused
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver, PlumbSerializer


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Plan(BaseModel):
    steps: list[str]
    due: datetime


@dataclass
class Point:
    x: int
    y: Any


ALLOWED = (Color, Level, Plan, Point)
TOOL_CALL = {"name": "f", "args": {"a": [1, {"b": None}]}, "id": "c", "type": "tool_call"}
VALUES: list[Any] = [
    "NUL \0 in a text",
    "lone \ud800 surrogate",
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
    True,
    1,
    1.0,
    2**63 - 1,
    -(2**63),
    None,
    b"\0\xff",
    bytearray(b"abc"),
    [],
    {},
    (1, 2),
    {1: "int key", -5: {2: [3]}},
    {"nested": {"deep": [{"x": {7: 1.5}}]}},
    {1, 2, 3},
    frozenset({"a"}),
    deque([1, 2], maxlen=5),
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    date(2026, 1, 2),
    timedelta(days=1, microseconds=3),
    Decimal("1.10"),
    UUID(int=5),
    Path("/tmp/x"),
    Color.RED,
    Level.LOW,
    Plan(steps=["a"], due=datetime(2026, 1, 1, tzinfo=UTC)),
    Point(1, Point(2, Color.RED)),
    [Plan(steps=[], due=datetime(2026, 1, 1, tzinfo=UTC)), Point(1, 2)],
    HumanMessage("hi", id="1", name="ann", additional_kwargs={"k": [1, True, 1.0]}),
    AIMessage(
        "",
        tool_calls=[TOOL_CALL],
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    ),
    AIMessageChunk(content="part", id="2"),
    ToolMessage("done", tool_call_id="c", artifact={"rows": [1, 2]}, status="error"),
    ToolMessage([{"type": "text", "text": "x"}], tool_call_id="c", artifact=Point(1, 2)),
    Document("text", metadata={"page": 1}),
    Send("node", {"x": Point(1, 2)}),
    [HumanMessage("a" * 600, id="x"), "text", 3, None, {"k": "v"}, HumanMessage("b", id="y")],
    {"a.txt": {"content": ["x" * 700], "at": "now"}, "b.txt": None, 3: "three"},
    ["x" * 700] * 40,
    [[1, 2, ["y" * 600]]],
    "z" * 5000,
    {"big": "q" * 5000},
]


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema, allow=ALLOWED) as made:
        yield made


CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def _put(saver: BaseCheckpointSaver[Any], values: dict[str, Any]) -> RunnableConfig:
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = values
    checkpoint["channel_versions"] = dict.fromkeys(values, 1)
    config = saver.put(CONFIG, checkpoint, {"source": "loop", "step": 0}, dict.fromkeys(values, 1))
    saver.put_writes(config, list(values.items()), "task-1")
    return config


def _shape(value: Any) -> Any:
    """A value with the type of everything in it; NaN equals itself and -0.0 is not 0.0."""
    if isinstance(value, BaseModel):
        return type(value), _shape(value.__dict__), _shape(value.__pydantic_extra__)
    if isinstance(value, dict):
        return dict, [(_shape(k), _shape(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple, deque)):
        return type(value), [_shape(each) for each in value]
    if isinstance(value, Send):
        return Send, value.node, _shape(value.arg)
    return type(value), repr(value)


def test_every_value_comes_back_as_from_memory(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    memory = InMemorySaver(serde=PlumbSerializer(allow=ALLOWED))
    values = {f"v{at}": value for at, value in enumerate(VALUES)}
    config, other = _put(saver, values), _put(memory, values)
    expected = memory.get_tuple(other)
    with PlumbSaver(postgres_url, schema=schema, allow=ALLOWED) as cold:
        for each in (saver, cold):
            found = each.get_tuple(config)
            assert found is not None
            assert expected is not None
            for name, value in expected.checkpoint["channel_values"].items():
                got = found.checkpoint["channel_values"][name]
                assert _shape(got) == _shape(value), name
            assert _shape(found.pending_writes) == _shape(expected.pending_writes)


def test_readers_own_what_they_get(saver: PlumbSaver) -> None:
    _put(saver, {"messages": [HumanMessage("a" * 600, id="x", additional_kwargs={"k": [1]})]})
    first = saver.get_tuple(CONFIG)
    assert first is not None
    first.checkpoint["channel_values"]["messages"][0].additional_kwargs["k"].append(2)
    again = saver.get_tuple(CONFIG)
    assert again is not None
    assert again.checkpoint["channel_values"]["messages"][0].additional_kwargs == {"k": [1]}


@dataclass
class Stranger:
    x: int


@pytest.mark.parametrize(
    "value",
    [
        Stranger(1),
        [Stranger(1)],
        {"k": {"deep": (Stranger(1),)}},
        Send("n", Stranger(1)),
    ],
)
def test_a_strange_type_is_refused_when_written(saver: PlumbSaver, value: Any) -> None:
    line = rf"allow=\[\('{__name__}', 'Stranger'\)\]".replace(".", r"\.")
    with pytest.raises(TypeRefused, match=line):
        _put(saver, {"v": value})
    assert saver.get_tuple(CONFIG) is None
    with PlumbSaver(saver._core.db, allow=[(__name__, "Stranger")]) as allowing:
        _put(allowing, {"v": value})
    with pytest.raises(TypeRefused, match=line):
        saver.get_tuple(CONFIG)


def test_what_cannot_be_read_back_is_refused(saver: PlumbSaver) -> None:
    class Local(BaseModel):
        x: int

    with (
        PlumbSaver(saver._core.db, allow=[Local]) as allowing,
        pytest.raises(TypeRefused, match="top level of a module"),
    ):
        _put(allowing, {"v": Local(x=1)})
    with pytest.raises(TypeRefused, match="cannot be stored"):
        _put(saver, {"v": 2**70})
    with pytest.raises(TypeRefused, match="cannot be stored"):
        _put(saver, {"v": object()})


def test_any_type_on_request(saver: PlumbSaver) -> None:
    with PlumbSaver(saver._core.db, serde=PlumbSerializer(types="any")) as lax:
        _put(lax, {"v": Stranger(1)})
        found = lax.get_tuple(CONFIG)
    assert found is not None
    assert found.checkpoint["channel_values"]["v"] == Stranger(1)


def test_with_allowlist_shares_everything_but_the_serializer(saver: PlumbSaver) -> None:
    wider = saver.with_allowlist([(__name__, "Stranger")])
    assert wider is not saver
    assert isinstance(wider, PlumbSaver)
    assert wider._core is saver._core
    _put(wider, {"v": Stranger(1)})
    assert saver.with_allowlist([("uuid", "UUID")]) is saver


def test_a_stored_name_never_runs_code(saver: PlumbSaver) -> None:
    for code in range(6):
        inner = ormsgpack.packb(("os", "system", ("true",), "x"))
        with pytest.raises(TypeRefused, match=r"os\.system"):
            saver.serde.loads_typed(("msgpack", ormsgpack.packb(ormsgpack.Ext(code, inner))))


def test_a_damaged_row_is_a_typed_error(saver: PlumbSaver, postgres_url: str, schema: str) -> None:
    _put(saver, {"messages": ["x" * 700] * 3})
    for table in ("element", "checkpoint"):
        sql = f"UPDATE {{schema}}.{table} SET body = overlay(body PLACING 'zz' FROM 9)"
        saver._core.db.send((Statement(sql),))
        with PlumbSaver(postgres_url, schema=schema) as cold, pytest.raises(DataCorrupt):
            cold.get_tuple(CONFIG)


def test_a_missing_element_is_a_typed_error(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    _put(saver, {"messages": ["x" * 700 + str(at) for at in range(3)]})
    saver._core.db.send((Statement("DELETE FROM {schema}.element WHERE slot = 2"),))
    with PlumbSaver(postgres_url, schema=schema) as cold, pytest.raises(DataCorrupt):
        cold.get_tuple(CONFIG)


@pytest.mark.parametrize(
    "bad", [{}, {"thread_id": None}, {"thread_id": "a\0b"}, {"thread_id": "\ud800"}]
)
def test_bad_thread_ids(saver: PlumbSaver, bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        saver.get_tuple({"configurable": bad})


def test_bad_arguments(postgres_url: str) -> None:
    with pytest.raises(SettingsError, match="on_stale"):
        PlumbSaver(postgres_url, on_stale="maybe")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="allow"):
        PlumbSaver(postgres_url, serde=PlumbSerializer(), allow=[Point])
    with pytest.raises(SettingsError, match="strategy"):
        PlumbSaver(postgres_url).prune(["t"], strategy="half")
    with pytest.raises(SettingsError, match="ttl_s"):
        PlumbSaver(postgres_url).claim("t", ttl_s=0)
