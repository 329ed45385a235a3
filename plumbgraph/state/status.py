"""What a thread is doing, from its checkpoints, pending writes and claim, without its graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME, TASKS

from plumbgraph.errors import ThreadNotFound
from plumbgraph.postgres.statement import SqlPlan, Statement, either
from plumbgraph.state.claims import UPKEEP
from plumbgraph.state.codec import load_item
from plumbgraph.state.core import Core
from plumbgraph.state.frames import loads, place, unwrap
from plumbgraph.state.ids import unpack_id
from plumbgraph.state.refs import Kind

_ASKED, _ANSWERED = WRITES_IDX_MAP[INTERRUPT], WRITES_IDX_MAP[RESUME]

State: TypeAlias = Literal["finished", "interrupted", "runnable", "running", "crashed", "parked"]


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    """A thread as `threads` lists it.

    Attributes:
        touched_at: When something was last stored.
        steps: The number of the latest step; -1 is the input of a first run.
        status: See `RunStatus.state`.
    """

    thread_id: str
    touched_at: datetime
    steps: int
    status: State


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What a thread is doing.

    Attributes:
        state: "finished": nothing is left to do. "interrupted": it waits for a human's answer.
            "runnable": something is left and nobody is at it. "running": `owner` is at it since
            `since`. "crashed": its owner's lease ran out in the middle, or a run was accepted
            and never began. "parked": recovery gave up; `reason` says why.
        next: The nodes that are left to run, as far as the checkpoint names them.
        accepted: How many accepted runs have not begun.
    """

    thread_id: str
    state: State
    next: tuple[str, ...] = ()
    owner: str | None = None
    since: datetime | None = None
    reason: str | None = None
    attempts: int = 0
    retry_at: datetime | None = None
    accepted: int = 0
    checkpoint_id: str | None = None


_COLUMNS = """
SELECT t.thread_id, coalesce(m.touched_at, a.accepted_at, t.claimed_at), c.step, t.owner,
    t.claimed_at, t.lease_until > clock_timestamp(), t.parked, t.attempts, t.retry_at,
    coalesce(a.n, 0), c.body, c.id, t.secret, ARRAY(
        SELECT w.slot FROM {schema}.write w
        WHERE w.stream = c.stream AND w.checkpoint = c.id AND w.slot < 0), 0::bigint
FROM {schema}.thread t
LEFT JOIN LATERAL (
    SELECT max(s.touched_at) AS touched_at FROM {schema}.stream s WHERE s.thread = t.id
) m ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS n, max(accepted_at) AS accepted_at FROM {schema}.accepted a
    WHERE a.thread = t.id
) a ON true
LEFT JOIN {schema}.stream r ON r.thread = t.id AND r.ns = ''
LEFT JOIN {schema}.checkpoint c ON c.stream = r.id AND c.id = r.head
WHERE t.tenant = %(tenant)s AND t.deleted_at IS NULL"""

_ONE = _COLUMNS + " AND t.thread_id = %(thread)s"
_EXPIRED = _COLUMNS + " AND t.owner IS NOT NULL AND t.lease_until <= clock_timestamp() LIMIT 1000"
_FREE = """
UPDATE {schema}.thread t SET owner = NULL, lease_until = NULL
FROM unnest(%(threads)s::text[], %(owners)s::text[]) AS d(thread, owner)
WHERE t.tenant = %(tenant)s AND t.thread_id = d.thread AND t.owner = d.owner
    AND t.lease_until <= clock_timestamp()
RETURNING t.thread_id"""
_MANY = (
    _COLUMNS
    + """ AND (m.touched_at IS NOT NULL OR a.n > 0)
ORDER BY 2 DESC LIMIT %(most)s::int"""
)
# All streams of a minute or none: within it, what was touched last is decided below.
_RECENT = (
    """
WITH recent AS MATERIALIZED (
    SELECT s.thread FROM {schema}.stream s WHERE s.tenant = %(tenant)s
    ORDER BY s.minute DESC FETCH FIRST (%(streams)s::int) ROWS WITH TIES
), waiting AS (
    SELECT a.thread FROM {schema}.accepted a JOIN {schema}.thread t ON t.id = a.thread
    WHERE t.tenant = %(tenant)s ORDER BY a.number DESC LIMIT %(streams)s::int
)"""
    + _COLUMNS.replace("0::bigint", "(SELECT count(*) FROM recent)")
    + """ AND t.id = ANY(ARRAY(SELECT thread FROM recent UNION SELECT thread FROM waiting))
    AND (m.touched_at IS NOT NULL OR a.n > 0)
ORDER BY 2 DESC LIMIT %(most)s::int"""
)
_WIDER = 8
_ALL = 2**31 - 1

# Jumps from one tenant to the next through the index, past all their threads.
_TENANTS = """
WITH RECURSIVE each AS (
    (SELECT tenant FROM {schema}.thread ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT t.tenant FROM {schema}.thread t WHERE t.tenant > each.tenant
        ORDER BY t.tenant LIMIT 1)
    FROM each WHERE each.tenant IS NOT NULL
)
SELECT tenant FROM each WHERE tenant <> %(upkeep)s AND (
    SELECT true FROM {schema}.thread t WHERE t.tenant = each.tenant AND t.deleted_at IS NULL
    LIMIT 1)"""


def tenants() -> SqlPlan[list[str]]:
    """All tenants with a thread that was not deleted, sorted."""
    return sorted(row[0] for row in (yield (Statement(_TENANTS, {"upkeep": UPKEEP}),))[0])


def free_leases(core: Core, tenant: str, serde: SerializerProtocol) -> SqlPlan[tuple[str, ...]]:
    """End the leases that ran out on threads where nothing is left to do; returns those threads.

    A lease that ran out in the middle stays: it is what tells that a run crashed.
    """
    rows = (yield (Statement(_EXPIRED, {"tenant": tenant}),))[0]
    done = ("finished", "interrupted")
    idle = [row for row in rows if _status(core, tenant, row, serde).state in done]
    if not idle:
        return ()
    names = {"threads": [row[0] for row in idle], "owners": [row[3] for row in idle]}
    freed = (yield (Statement(_FREE, {"tenant": tenant, **names}),))[0]
    return tuple(sorted(row[0] for row in freed))


def threads(
    core: Core, tenant: str, limit: int, serde: SerializerProtocol
) -> SqlPlan[list[ThreadInfo]]:
    """The threads that were last active, newest first; reads about as many as it returns."""
    streams, who = limit, {"tenant": tenant, "most": str(limit)}
    while True:
        ask = Statement(_RECENT, {**who, "streams": str(streams)})
        rows = yield from either(ask, Statement(_MANY, who))
        # A thread of many subgraphs has many streams, so that these may be few threads.
        if not rows or len(rows) >= limit or rows[0][-1] < streams:
            break
        streams = min(streams * _WIDER, _ALL)
    return [
        ThreadInfo(
            row[0],
            row[1],
            -1 if row[2] is None else row[2],
            _status(core, tenant, row, serde).state,
        )
        for row in rows
    ]


def run_status(
    core: Core, tenant: str, thread: str, serde: SerializerProtocol, *, ours: bool = False
) -> SqlPlan[RunStatus]:
    """What one thread is doing, or would be without the live claim if that is `ours`.

    Raises:
        ThreadNotFound: There is no such thread.
    """
    rows = (yield (Statement(_ONE, {"tenant": tenant, "thread": thread}),))[0]
    if not rows or (rows[0][10] is None and not rows[0][9] and rows[0][3] is None):
        raise ThreadNotFound(f"There is no thread {thread!r}.", thread_id=thread)
    return _status(core, tenant, rows[0], serde, ours=ours)


def _status(
    core: Core, tenant: str, row: Sequence[Any], serde: SerializerProtocol, *, ours: bool = False
) -> RunStatus:
    thread, _, _, owner, since, live, parked, attempts, retry_at, accepted, *rest = row
    body, found, secret, special, _ = rest
    refs = {}
    if body is not None:
        cipher = core.cipher(tenant, thread, secret)
        refs = loads(unwrap(body, cipher, place("checkpoint", "", found)))[2]
    left = waiting_nodes(refs, serde)
    if live and not ours:
        state: State = "running"
    elif parked is not None and not ours:
        state = "parked"
    elif _ASKED in special and _ANSWERED not in special and left:
        state = "interrupted"
    elif (owner is not None and (left or accepted or body is None)) or accepted:
        state = "crashed"
    else:
        state = "runnable" if left else "finished"
    return RunStatus(
        thread,
        state,
        left,
        owner if live else None,
        since if live else None,
        parked,
        attempts,
        retry_at,
        accepted,
        None if found is None else unpack_id(found),
    )


def waiting_nodes(refs: Mapping[str, Any], serde: SerializerProtocol) -> tuple[str, ...]:
    """The nodes whose trigger channels hold a value, sorted.

    LangGraph empties a trigger when its node has been applied, so one that is full names work
    that is left; `get_state().next == ()` may also mean that a task has written and its step
    was not closed.
    """
    found: set[str] = set()
    for name, ref in refs.items():
        if ref is None:
            continue
        if name.startswith("branch:to:"):
            found.add(name.removeprefix("branch:to:"))
        elif name in ("__start__", TASKS):
            found.add(name)
        elif name.startswith("join:") and _complete(name, ref, serde):
            found.add(name.rpartition(":")[2])
    return tuple(sorted(found))


def _complete(name: str, ref: Sequence[Any], serde: SerializerProtocol) -> bool:
    kind, item = ref
    if kind != Kind.INLINE:
        return True
    starts = name.split(":", 2)[1]
    seen = load_item(serde, tuple(item) if isinstance(item, list) else item)
    seen = seen[0] if isinstance(seen, tuple) else seen
    return isinstance(seen, Collection) and set(starts.split("+")) <= set(seen)
