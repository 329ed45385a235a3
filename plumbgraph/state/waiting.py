"""Waiting until a checkpoint is committed, by this process or another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state.context import StreamKey
from plumbgraph.state.core import Core
from plumbgraph.state.ids import pack_id

_EXISTS = """
SELECT t.deleted_at IS NOT NULL, EXISTS (
    SELECT FROM {schema}.stream s JOIN {schema}.checkpoint c ON c.stream = s.id
    WHERE s.thread = t.id AND s.ns = %(ns)s AND c.id = %(id)s)
FROM {schema}.thread t WHERE t.tenant = %(tenant)s AND t.thread_id = %(thread)s"""


ASK_FROM_S = 0.01
"""Before this pause only this process is looked at: its own put is seldom further away."""


def pauses() -> Iterator[float]:
    """Seconds to wait between looks: short at first, then patient."""
    return chain((0.001, 0.002, 0.004, 0.01, 0.02, 0.05, 0.1, 0.2), repeat(0.5))


def exists(core: Core, stream: StreamKey, checkpoint_id: str) -> SqlPlan[bool]:
    """Whether the database holds a checkpoint."""
    tenant, thread, ns = stream
    params = {"tenant": tenant, "thread": thread, "ns": ns, "id": pack_id(checkpoint_id)}
    rows = (yield (Statement(_EXISTS, params),))[0]
    found = bool(rows) and bool(rows[0][1])
    if found:
        core.committed.put((stream, checkpoint_id), True)
    return found
