"""Accepted runs, and taking up what crashed: found, claimed, resumed, retried, parked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.errors import GraphBubbleUp

from plumbgraph.errors import ClaimLost, ThreadDeleted
from plumbgraph.plan import Plan
from plumbgraph.postgres.statement import Batch, Replies, SqlPlan, Statement, either
from plumbgraph.state import context, status
from plumbgraph.state.codec import dump_item, load_item
from plumbgraph.state.core import Core
from plumbgraph.state.events import ThreadParked, ThreadRecovered
from plumbgraph.state.frames import pack_items, place, unpack_items, unwrap, wrap
from plumbgraph.tracing import emit

Outcome: TypeAlias = Literal[
    "finished", "interrupted", "stopped", "failed", "parked", "busy", "idle"
]


@dataclass(frozen=True, slots=True)
class Recovered:
    """How taking up one thread ended.

    Attributes:
        outcome: "finished", "interrupted" (it waits for an answer), "stopped" (a breakpoint
            holds it), "failed" (it will be tried again), "parked" (it will not), "busy"
            (another worker was faster), "idle" (there was nothing left to do).
        error: The exception of a run that failed.
    """

    thread_id: str
    outcome: Outcome
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RecoveryRules:
    """How `recover` goes about it.

    Attributes:
        most: How many threads to look at in one go.
        attempts: After so many failures a thread is parked and its last error kept.
        backoff_s: Pause before the second attempt; it doubles with each, up to an hour.
        grace_s: An accepted run younger than this may be starting just now.
        idle_s: Also take up unfinished threads that nobody ever claimed and that were not
            touched for so long. None leaves them, since a live run may be slow.
        ttl_s: Lease of each claim.
        durability: How the runs are stored. "sync" notices a lost claim before the next step.
        config: Merged into the config of each run (recursion limit, callbacks, …).
    """

    most: int = 100
    attempts: int = 5
    backoff_s: float = 1.0
    grace_s: float = 5.0
    idle_s: float | None = None
    ttl_s: float = 30.0
    durability: Literal["sync", "async", "exit"] = "sync"
    config: Mapping[str, Any] = field(default_factory=dict)

    def config_of(self, thread: str) -> dict[str, Any]:
        """The config to run a thread with."""
        configurable = {**self.config.get("configurable", {}), "thread_id": thread}
        return {**self.config, "configurable": configurable}


@dataclass(frozen=True, slots=True)
class Invoke:
    """A step of `take_up` that runs the graph; None resumes."""

    value: Any


Step: TypeAlias = Batch | Invoke
_INPUT = place("accepted")

_ACCEPT = """
WITH made AS (
    INSERT INTO {schema}.thread AS t (tenant, thread_id) VALUES (%(tenant)s, %(thread)s)
    ON CONFLICT (tenant, thread_id) DO UPDATE SET parked = NULL WHERE t.deleted_at IS NULL
    RETURNING id
)
INSERT INTO {schema}.accepted (thread, input) SELECT id, %(input)s FROM made RETURNING number"""

_NEXT_ACCEPTED = """
SELECT a.number, a.input FROM {schema}.accepted a JOIN {schema}.thread t ON t.id = a.thread
WHERE t.tenant = %(tenant)s AND t.thread_id = %(thread)s ORDER BY a.number LIMIT 1"""

_FREE = """
    t.tenant = %(tenant)s AND t.deleted_at IS NULL AND t.parked IS NULL
    AND coalesce(t.lease_until <= clock_timestamp(), true)
    AND coalesce(t.retry_at <= clock_timestamp(), true)"""

_OLDER_CANDIDATES = (
    """
SELECT t.thread_id, NULL::timestamptz FROM {schema}.thread t WHERE"""
    + _FREE
    + """
    AND (t.owner IS NOT NULL OR t.attempts > 0
        OR EXISTS (SELECT FROM {schema}.accepted a WHERE a.thread = t.id
            AND a.accepted_at <= clock_timestamp() - make_interval(secs => %(grace)s::float8))
        OR (%(idle)s::float8 IS NOT NULL AND EXISTS (
            SELECT FROM {schema}.stream s WHERE s.thread = t.id AND s.ns = ''
                AND s.touched_at <= clock_timestamp()
                    - make_interval(secs => %(idle)s::float8)
                AND s.touched_at > coalesce(t.claimed_at, '-infinity'))))
ORDER BY t.retry_at NULLS FIRST LIMIT %(most)s::int"""
)

# Of the threads that nobody claimed only those are looked at that went idle since the last look:
# whatever is touched moves to the end of that order, so that nothing is passed over. The mark
# stays a minute behind, because a write counts from its beginning and shows at its end.
_CANDIDATES = (
    """
WITH bounds AS MATERIALIZED (
    SELECT coalesce((SELECT until FROM {schema}.looked WHERE tenant = %(tenant)s), '-infinity')
        AS since, clock_timestamp() - make_interval(secs => %(idle)s::float8) AS until
), near AS MATERIALIZED (
    SELECT s.thread, s.ns, s.touched_at, s.minute FROM {schema}.stream s
    WHERE s.tenant = %(tenant)s AND %(idle)s::float8 IS NOT NULL
        AND s.minute >= (SELECT date_trunc('minute', since AT TIME ZONE 'UTC') FROM bounds)
    ORDER BY s.minute FETCH FIRST (%(most)s::int) ROWS WITH TIES
), named AS (
    SELECT t.id FROM {schema}.thread t WHERE t.tenant = %(tenant)s AND t.deleted_at IS NULL
        AND (t.owner IS NOT NULL OR t.attempts > 0)
    UNION SELECT a.thread FROM {schema}.accepted a
    WHERE a.accepted_at <= clock_timestamp() - make_interval(secs => %(grace)s::float8)
    UNION SELECT near.thread FROM bounds, near JOIN {schema}.thread t ON t.id = near.thread
    WHERE near.ns = '' AND near.touched_at BETWEEN bounds.since AND bounds.until
        AND near.touched_at > coalesce(t.claimed_at, '-infinity')
), found AS MATERIALIZED (
    SELECT t.thread_id, t.retry_at FROM {schema}.thread t WHERE"""
    + _FREE
    + """ AND t.id = ANY(ARRAY(SELECT id FROM named))
)
SELECT f.thread_id, CASE WHEN (SELECT count(*) FROM found) > %(most)s::int THEN NULL
    WHEN (SELECT count(*) FROM near) < %(most)s::int THEN bounds.until
    ELSE least(bounds.until, (
        SELECT max(minute) AT TIME ZONE 'UTC' + interval '1 minute' FROM near)) END
FROM bounds LEFT JOIN found f ON true ORDER BY f.retry_at NULLS FIRST LIMIT %(most)s::int"""
)

_LOOKED = """
INSERT INTO {schema}.looked AS k (tenant, until)
VALUES (%(tenant)s, least(%(until)s::timestamptz, clock_timestamp() - interval '1 minute'))
ON CONFLICT (tenant) DO UPDATE SET until = greatest(k.until, excluded.until)"""

_SUCCEEDED = """
UPDATE {schema}.thread SET attempts = 0, retry_at = NULL
WHERE tenant = %(tenant)s AND thread_id = %(thread)s AND attempts > 0"""

_FAILED = """
UPDATE {schema}.thread SET attempts = attempts + 1,
    retry_at = clock_timestamp() + make_interval(
        secs => least(%(backoff)s::float8 * power(2, least(attempts, 20)), 3600)),
    parked = CASE WHEN attempts + 1 >= %(most)s::int THEN %(reason)s ELSE parked END
WHERE tenant = %(tenant)s AND thread_id = %(thread)s RETURNING attempts, parked IS NOT NULL"""

_UNPARK = """
UPDATE {schema}.thread SET attempts = least(attempts, 1), retry_at = NULL, parked = NULL
WHERE tenant = %(tenant)s AND thread_id = %(thread)s"""


def accept(
    core: Core, tenant: str, thread: str, value: Any, serde: SerializerProtocol
) -> SqlPlan[int]:
    """Record a run; returns its number.

    Raises:
        ThreadDeleted: The thread was deleted.
    """
    cipher = yield from core.writing_cipher(tenant, thread)
    body = wrap(pack_items([dump_item(serde, value)]), cipher, _INPUT)
    params = {"tenant": tenant, "thread": thread, "input": body}
    rows = (yield (Statement(_ACCEPT, params),))[0]
    if not rows:
        raise ThreadDeleted(f"Thread {thread!r} was deleted.", thread_id=thread)
    return int(rows[0][0])


def _next_accepted(
    core: Core, tenant: str, thread: str, serde: SerializerProtocol
) -> SqlPlan[tuple[int, Any] | None]:
    """Number and input of the oldest accepted run that has not begun."""
    rows = (yield (Statement(_NEXT_ACCEPTED, {"tenant": tenant, "thread": thread}),))[0]
    if not rows:
        return None
    cipher = yield from core.writing_cipher(tenant, thread)
    item = unpack_items(unwrap(rows[0][1], cipher, _INPUT))[0]
    assert item is not None
    return rows[0][0], load_item(serde, item)


def candidates(tenant: str, rules: RecoveryRules) -> SqlPlan[tuple[list[str], datetime | None]]:
    """Threads that look as if they should be taken up.

    Returns:
        The threads, and up to when all idle ones were looked at once these are dealt with.
    """
    params = {
        "tenant": tenant,
        "most": str(rules.most),
        "grace": str(rules.grace_s),
        "idle": None if rules.idle_s is None else str(rules.idle_s),
    }
    older = Statement(_OLDER_CANDIDATES, params)
    rows = yield from either(Statement(_CANDIDATES, params), older)
    return [row[0] for row in rows if row[0] is not None], rows[0][1] if rows else None


def looked(tenant: str, until: datetime | None) -> SqlPlan[None]:
    """Note up to when idle threads were looked at, so that the next look begins there."""
    if until is not None:
        yield (Statement(_LOOKED, {"tenant": tenant, "until": until}),)


def take_up(
    core: Core, tenant: str, thread: str, rules: RecoveryRules, serde: SerializerProtocol
) -> Plan[Step, Replies, Recovered]:
    """Bring a claimed thread to its end; user errors are counted, and park it in the end."""
    worked, scope = False, core.scope(tenant)
    try:
        while True:
            found = yield from status.run_status(core, tenant, thread, serde, ours=True)
            if found.state == "interrupted":
                return (yield from _succeeded(tenant, thread, "interrupted"))
            accepted = None
            if not found.next:
                accepted = yield from _next_accepted(core, tenant, thread, serde)
                if accepted is None:
                    outcome: Outcome = "finished" if worked else "idle"
                    return (yield from _succeeded(tenant, thread, outcome))
            context.starts_accepted(scope, thread, accepted and accepted[0])
            worked = True
            yield Invoke(None if accepted is None else accepted[1])
            after = yield from status.run_status(core, tenant, thread, serde, ours=True)
            if after.checkpoint_id == found.checkpoint_id:
                return (yield from _succeeded(tenant, thread, "stopped"))
    except (GraphBubbleUp, ThreadDeleted, ClaimLost):
        raise
    except Exception as error:  # noqa: BLE001 - a user's graph may raise anything
        return (yield from _failed(tenant, thread, error, rules))
    finally:
        context.starts_accepted(scope, thread, None)


def _succeeded(tenant: str, thread: str, outcome: Outcome) -> SqlPlan[Recovered]:
    yield (Statement(_SUCCEEDED, {"tenant": tenant, "thread": thread}),)
    if outcome != "idle":
        emit(ThreadRecovered(thread_id=thread, outcome=outcome, attempts=0))
    return Recovered(thread, outcome)


def _failed(tenant: str, thread: str, error: Exception, rules: RecoveryRules) -> SqlPlan[Recovered]:
    reason = f"{type(error).__name__}: {error}"[:2000].replace("\0", "")
    params = {
        "tenant": tenant,
        "thread": thread,
        "reason": reason,
        "most": str(rules.attempts),
        "backoff": str(rules.backoff_s),
    }
    rows = (yield (Statement(_FAILED, params),))[0]
    tried, parked = rows[0] if rows else (0, False)
    if parked:
        emit(ThreadParked(thread_id=thread, reason=reason))
    outcome: Outcome = "parked" if parked else "failed"
    emit(ThreadRecovered(thread_id=thread, outcome=outcome, attempts=tried))
    return Recovered(thread, outcome, reason)


def unpark(tenant: str, thread: str) -> SqlPlan[None]:
    """Let recovery try a thread again."""
    yield (Statement(_UNPARK, {"tenant": tenant, "thread": thread}),)
