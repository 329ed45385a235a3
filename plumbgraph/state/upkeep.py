"""Plans that take content away or copy it: delete, copy by reference, prune, collect."""

from __future__ import annotations

from collections.abc import Sequence

from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state.ids import tag
from plumbgraph.state.statements import array

# Whoever takes content away locks the thread and raises its generation, so that a write which
# still relies on that content is noticed: see the gate in statements.py.
LOCK = """
UPDATE {schema}.thread SET generation = generation + 1
WHERE tenant = %(tenant)s AND thread_id = ANY(%(threads)s::text[]) AND deleted_at IS NULL"""

_TOMBSTONE = """
UPDATE {schema}.thread
SET deleted_at = now(), generation = generation + 1, secret = NULL, owner = NULL,
    lease_until = NULL
WHERE tenant = %(tenant)s AND thread_id = ANY(%(threads)s::text[])"""

CLEAR = """
WITH t AS (
    SELECT id FROM {schema}.thread
    WHERE tenant = %(tenant)s AND thread_id = ANY(%(threads)s::text[])
), s AS (
    DELETE FROM {schema}.stream s USING t WHERE s.thread = t.id RETURNING s.id
), c AS (
    DELETE FROM {schema}.checkpoint c USING s WHERE c.stream = s.id
), w AS (
    DELETE FROM {schema}.write w USING s WHERE w.stream = s.id
), r AS (
    DELETE FROM {schema}.run r USING s WHERE r.stream = s.id
), u AS (
    DELETE FROM {schema}.log_user u USING t WHERE u.thread = t.id RETURNING u.log, u.thread
)
DELETE FROM {schema}.element e USING u WHERE e.log = u.log AND NOT EXISTS (
    SELECT FROM {schema}.log_user o WHERE o.log = u.log AND o.thread NOT IN (SELECT id FROM t))"""

_COPY = """
WITH old AS (
    SELECT id, secret FROM {schema}.thread
    WHERE tenant = %(tenant)s AND thread_id = %(source)s AND deleted_at IS NULL
), target AS (
    -- A copy shares the data key, because it shares the elements that are sealed with it.
    INSERT INTO {schema}.thread (tenant, thread_id, secret)
    SELECT %(tenant)s, %(target)s, secret FROM old
    ON CONFLICT (tenant, thread_id) DO UPDATE SET generation = thread.generation + 1
    WHERE thread.deleted_at IS NULL AND thread.secret IS NOT DISTINCT FROM excluded.secret
    RETURNING id
), streams AS (
    INSERT INTO {schema}.stream (thread, ns, head)
    SELECT target.id, s.ns, s.head FROM old JOIN {schema}.stream s ON s.thread = old.id, target
    ON CONFLICT (thread, ns) DO UPDATE SET head = excluded.head RETURNING id, ns
), pairs AS (
    SELECT s.id AS source, streams.id AS target FROM old
    JOIN {schema}.stream s ON s.thread = old.id JOIN streams ON streams.ns = s.ns
), c AS (
    INSERT INTO {schema}.checkpoint (stream, step, id, parent, branch, tags, spans, body)
    SELECT p.target, c.step, c.id, c.parent, c.branch, c.tags, c.spans, c.body
    FROM pairs p JOIN {schema}.checkpoint c ON c.stream = p.source ON CONFLICT DO NOTHING
), w AS (
    INSERT INTO {schema}.write (stream, slot, n, checkpoint, task, path, spans, body)
    SELECT p.target, w.slot, w.n, w.checkpoint, w.task, w.path, w.spans, w.body
    FROM pairs p JOIN {schema}.write w ON w.stream = p.source ON CONFLICT DO NOTHING
), r AS (
    INSERT INTO {schema}.run (run, stream)
    SELECT r.run, p.target FROM pairs p JOIN {schema}.run r ON r.stream = p.source
    ON CONFLICT DO NOTHING
), u AS (
    INSERT INTO {schema}.log_user (log, thread)
    SELECT u.log, target.id FROM old JOIN {schema}.log_user u ON u.thread = old.id, target
    ON CONFLICT DO NOTHING
)
SELECT target.id FROM target"""

_SHARE = """
SELECT id FROM {schema}.thread WHERE tenant = %(tenant)s AND thread_id = %(source)s FOR UPDATE"""

_RUN_THREADS = """
SELECT DISTINCT t.thread_id FROM {schema}.run r JOIN {schema}.stream s ON s.id = r.stream
JOIN {schema}.thread t ON t.id = s.thread
WHERE t.tenant = %(tenant)s AND r.run = ANY(%(runs)s::bigint[])"""


def delete(tenant: str, threads: Sequence[str]) -> SqlPlan[None]:
    """Remove threads and leave a tombstone for each, so that late writes resurrect nothing."""
    if threads:
        params = {"tenant": tenant, "threads": list(threads)}
        yield Statement(_TOMBSTONE, params), Statement(CLEAR, params)


def copy(tenant: str, source: str, target: str) -> SqlPlan[bool]:
    """Copy a thread's rows; elements are named by both and stored once."""
    params = {"tenant": tenant, "source": source, "target": target}
    replies = yield Statement(_SHARE, params), Statement(_COPY, params)
    return bool(replies[1])


def run_tags(run_ids: Sequence[str], secret: bytes) -> str:
    """The stored hashes of runs' ids, as an array."""
    found = (tag("run_id", run_id, secret) for run_id in run_ids)
    return array(sorted(each for each in found if each is not None))


_DROP_RUNS = """
WITH t AS (
    SELECT id FROM {schema}.thread WHERE tenant = %(tenant)s AND thread_id = ANY(%(threads)s)
), s AS (
    SELECT s.id FROM {schema}.stream s JOIN t ON s.thread = t.id
    JOIN {schema}.run r ON r.stream = s.id AND r.run = ANY(%(runs)s::bigint[])
), c AS (
    DELETE FROM {schema}.checkpoint c USING s
    WHERE c.stream = s.id AND c.tags && %(runs)s::bigint[] RETURNING c.stream, c.id
), w AS (
    DELETE FROM {schema}.write w USING c WHERE w.stream = c.stream AND w.checkpoint = c.id
), r AS (
    DELETE FROM {schema}.run r USING s WHERE r.stream = s.id AND r.run = ANY(%(runs)s::bigint[])
)
UPDATE {schema}.stream o SET head = (
    SELECT k.id FROM {schema}.checkpoint k
    WHERE k.stream = o.id AND NOT (k.tags && %(runs)s::bigint[]) ORDER BY k.id DESC LIMIT 1)
FROM (SELECT DISTINCT stream, id FROM c) AS gone
WHERE o.id = gone.stream AND o.head = gone.id"""

COLLECT = """
WITH mine AS (
    SELECT u.log FROM {schema}.thread t JOIN {schema}.log_user u ON u.thread = t.id
    WHERE t.tenant = %(tenant)s AND t.thread_id = ANY(%(threads)s::text[])
), users AS (
    SELECT DISTINCT s.id FROM mine JOIN {schema}.log_user u ON u.log = mine.log
    JOIN {schema}.stream s ON s.thread = u.thread
), named AS (
    SELECT c.spans FROM users JOIN {schema}.checkpoint c ON c.stream = users.id
    UNION ALL SELECT w.spans FROM users JOIN {schema}.write w ON w.stream = users.id
), live AS (
    SELECT spans[i] AS log, min(spans[i + 1]) AS start, max(spans[i + 2]) AS stop
    FROM named, generate_series(1, cardinality(spans), 3) AS i GROUP BY 1
)
DELETE FROM {schema}.element e USING mine LEFT JOIN live ON live.log = mine.log
WHERE e.log = mine.log AND (live.log IS NULL OR e.slot / 2 < live.start
    OR e.slot / 2 - CASE WHEN e.slot %% 2 = 1 THEN 31 ELSE 0 END >= live.stop)"""


def clear(tenant: str, threads: Sequence[str]) -> SqlPlan[None]:
    """Remove all checkpoints of threads, which may be used again."""
    if threads:
        params = {"tenant": tenant, "threads": list(threads)}
        yield Statement(LOCK, params), Statement(CLEAR, params)


def run_threads(tenant: str, runs: str) -> SqlPlan[list[str]]:
    """The threads that these runs made checkpoints in."""
    found = (yield (Statement(_RUN_THREADS, {"tenant": tenant, "runs": runs}),))[0]
    return sorted(row[0] for row in found)


def drop_runs(tenant: str, threads: Sequence[str], runs: str) -> SqlPlan[None]:
    """Remove the checkpoints that these runs made in threads."""
    params = {"tenant": tenant, "threads": list(threads), "runs": runs}
    yield Statement(LOCK, params), Statement(_DROP_RUNS, params), Statement(COLLECT, params)
