"""Threads in the tables of LangGraph's PostgresSaver, read as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph.checkpoint.base import (
    Checkpoint,
    CheckpointTuple,
    DeltaChannelHistory,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS

from plumbgraph.postgres.statement import Row, SqlPlan, Statement
from plumbgraph.state.context import StreamKey

_PRESENT = """
SELECT to_regclass(%(name)s || '.checkpoints') IS NOT NULL
    AND to_regclass(%(name)s || '.checkpoint_blobs') IS NOT NULL
    AND to_regclass(%(name)s || '.checkpoint_writes') IS NOT NULL"""

_SELECT = """
SELECT c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.checkpoint,
    c.metadata, (
        SELECT array_agg(ARRAY[b.channel::bytea, b.type::bytea, b.blob])
        FROM jsonb_each_text(c.checkpoint -> 'channel_versions') v
        JOIN "<legacy>".checkpoint_blobs b ON b.thread_id = c.thread_id
            AND b.checkpoint_ns = c.checkpoint_ns AND b.channel = v.key AND b.version = v.value
    ), (
        SELECT array_agg(ARRAY[w.task_id::bytea, w.channel::bytea, w.type::bytea, w.blob,
            convert_to(w.task_path, 'UTF8'), w.idx::text::bytea])
        FROM "<legacy>".checkpoint_writes w WHERE w.thread_id = c.thread_id
            AND w.checkpoint_ns = c.checkpoint_ns AND w.checkpoint_id = c.checkpoint_id
    ), CASE WHEN (c.checkpoint ->> 'v')::int < 4 THEN (
        SELECT array_agg(ARRAY[w.type::bytea, w.blob] ORDER BY w.task_path, w.task_id, w.idx)
        FROM "<legacy>".checkpoint_writes w WHERE w.thread_id = c.thread_id
            AND w.checkpoint_ns = c.checkpoint_ns AND w.channel = '__pregel_tasks'
            AND w.checkpoint_id = c.parent_checkpoint_id
    ) END
FROM "<legacy>".checkpoints c WHERE c.thread_id = %(thread)s"""

_ONE = (
    _SELECT
    + """ AND c.checkpoint_ns = %(ns)s AND (%(id)s::text IS NULL OR c.checkpoint_id = %(id)s)
ORDER BY c.checkpoint_id DESC LIMIT 1"""
)

_PAGE = (
    _SELECT
    + """ AND (%(ns)s::text IS NULL OR c.checkpoint_ns = %(ns)s)
    AND (%(id)s::text IS NULL OR c.checkpoint_id = %(id)s)
    AND (%(before)s::text IS NULL OR c.checkpoint_id < %(before)s)
ORDER BY c.checkpoint_id DESC, c.checkpoint_ns LIMIT %(most)s::int OFFSET %(skip)s::int"""
)

_IDS = """
SELECT checkpoint_ns, checkpoint_id FROM "<legacy>".checkpoints
WHERE thread_id = %(thread)s ORDER BY checkpoint_id, checkpoint_ns"""

_THREADS = """
SELECT c.thread_id, count(*), max(c.checkpoint_id), (
    SELECT coalesce(sum(octet_length(b.blob)), 0)::bigint FROM "<legacy>".checkpoint_blobs b
    WHERE b.thread_id = c.thread_id)
FROM "<legacy>".checkpoints c GROUP BY c.thread_id ORDER BY c.thread_id"""

_NEWEST = 'SELECT max(checkpoint_id) FROM "<legacy>".checkpoints WHERE thread_id = %(thread)s'


@dataclass(frozen=True, slots=True)
class LegacyWrite:
    """One stored write of a task."""

    task: str
    path: str
    index: int
    channel: str
    value: Any


@dataclass(frozen=True, slots=True)
class Legacy:
    """The tables of one schema."""

    schema: str

    def _sql(self, text: str) -> str:
        return text.replace("<legacy>", self.schema.replace('"', '""'))

    def present(self) -> SqlPlan[bool]:
        """Whether the tables are there."""
        return bool((yield (Statement(_PRESENT, {"name": self.schema}),))[0][0][0])

    def newest(self, thread: str) -> SqlPlan[str | None]:
        """The newest checkpoint of a thread, in whatever namespace; None if it has none."""
        rows = (yield (Statement(self._sql(_NEWEST), {"thread": thread}),))[0]
        return None if not rows else rows[0][0]

    def threads(self) -> SqlPlan[list[Row]]:
        """Each thread with its number of checkpoints, its newest, and its bytes."""
        return (yield (Statement(self._sql(_THREADS)),))[0]

    def ids(self, thread: str) -> SqlPlan[list[Row]]:
        """Namespace and id of a thread's checkpoints, oldest first."""
        return (yield (Statement(self._sql(_IDS), {"thread": thread}),))[0]

    def row(self, stream: StreamKey, checkpoint_id: str | None) -> SqlPlan[Row | None]:
        """One checkpoint as it is stored."""
        params = {"thread": stream[1], "ns": stream[2], "id": checkpoint_id}
        rows = (yield (Statement(self._sql(_ONE), params),))[0]
        return rows[0] if rows else None

    def get(
        self, stream: StreamKey, checkpoint_id: str | None, serde: SerializerProtocol
    ) -> SqlPlan[CheckpointTuple | None]:
        """One checkpoint, the latest without an id."""
        row = yield from self.row(stream, checkpoint_id)
        return None if row is None else to_tuple(row, serde)

    def page(
        self, thread: str, wanted: dict[str, str | None], skip: int, most: int
    ) -> SqlPlan[list[Row]]:
        """Some checkpoints of a thread, newest first; `wanted` has ns, id and before."""
        params = {"thread": thread, "most": str(most), "skip": str(skip), **wanted}
        return (yield (Statement(self._sql(_PAGE), params),))[0]

    def history(
        self,
        stream: StreamKey,
        checkpoint_id: str | None,
        channels: Sequence[str],
        serde: SerializerProtocol,
    ) -> SqlPlan[dict[str, DeltaChannelHistory]]:
        """What `get_delta_channel_history` answers, walked ancestor by ancestor."""
        found: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in channels}
        here = yield from self.get(stream, checkpoint_id, serde)
        sought = set(channels)
        while here is not None and here.parent_config is not None and sought:
            parent = here.parent_config["configurable"]["checkpoint_id"]
            here = yield from self.get(stream, parent, serde)
            if here is None:
                break
            for name in tuple(sought):
                mine = [write for write in here.pending_writes or () if write[1] == name]
                found[name]["writes"][:0] = mine
                if name in here.checkpoint["channel_values"]:
                    found[name]["seed"] = here.checkpoint["channel_values"][name]
                    sought.discard(name)
        return found


def to_tuple(row: Row, serde: SerializerProtocol) -> CheckpointTuple:
    """A stored row as LangGraph knows it."""
    thread, ns, checkpoint_id, parent, checkpoint, metadata, blobs, _, sends = row
    values = dict(checkpoint.get("channel_values") or {})
    versions = dict(checkpoint["channel_versions"])
    if sends:
        # Before format 4 what was to be sent lay among the parent's writes alone.
        values[TASKS] = [serde.loads_typed((kind.decode(), blob)) for kind, blob in sends]
        versions[TASKS] = max(versions.values(), default=1)
    for name, kind, blob in blobs or ():
        if kind != b"empty":
            values[name.decode()] = serde.loads_typed((kind.decode(), blob))
    base = {"thread_id": thread, "checkpoint_ns": ns}
    return CheckpointTuple(
        {"configurable": {**base, "checkpoint_id": checkpoint_id}},
        cast("Checkpoint", {**checkpoint, "channel_versions": versions, "channel_values": values}),
        metadata,
        {"configurable": {**base, "checkpoint_id": parent}} if parent else None,
        [(write.task, write.channel, write.value) for write in writes_of(row, serde)],
    )


def writes_of(row: Row, serde: SerializerProtocol) -> list[LegacyWrite]:
    """A stored row's writes, in the order in which a live run applies them."""
    found = [
        LegacyWrite(
            task.decode(),
            path.decode(),
            int(index),
            channel.decode(),
            serde.loads_typed((kind.decode(), blob)),
        )
        for task, channel, kind, blob, path, index in row[7] or ()
    ]
    return sorted(found, key=lambda each: writes_sort_key(each.path, each.task, each.index))
