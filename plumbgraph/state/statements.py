"""The SQL of the saver's hot paths: one statement each, which decides and says what it decided.

Placeholders that are whole numbers or lists of them travel as texts with a cast, so that a
statement has the same parameter types, and therefore one prepared plan, whatever the values are.
What is looked up is looked up once by a value, not for each row: else PostgreSQL takes one plan
for all calls to be dearer than a new one for each, and planning takes longer than the statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

_GATE = """
WITH held AS MATERIALIZED (
    SELECT id, epoch, generation, lease_until, owner, deleted_at FROM {schema}.thread
    WHERE tenant = %(tenant)s AND thread_id = %(thread)s FOR SHARE
), made AS (
    INSERT INTO {schema}.thread (tenant, thread_id) SELECT %(tenant)s, %(thread)s
    WHERE NOT EXISTS (SELECT FROM held) ON CONFLICT DO NOTHING
    RETURNING id, epoch, generation, lease_until, owner, deleted_at
), gate AS (
    SELECT *,
        CASE WHEN %(epoch)s::bigint IS NULL
            THEN coalesce(lease_until <= clock_timestamp(), true)
            ELSE epoch = %(epoch)s::bigint AND lease_until > clock_timestamp() END AS owned,
        coalesce(generation = %(generation)s::bigint, true) AS fresh
    FROM (SELECT * FROM held UNION ALL SELECT * FROM made) AS both_kinds
), fit AS (
    SELECT id FROM gate WHERE deleted_at IS NULL AND owned AND fresh
), here AS MATERIALIZED (
    -- OFFSET 0 keeps the planner on the index, however small the table was when it planned.
    SELECT s.id, s.head FROM gate CROSS JOIN LATERAL (
        SELECT s.id, s.head FROM {schema}.stream s
        WHERE s.thread = gate.id AND s.ns = %(ns)s OFFSET 0) AS s
)"""

_CONTENT = """, logs AS (
    INSERT INTO {schema}.log_user (log, thread)
    SELECT n, ok.thread FROM ok, unnest(%(new_logs)s::bigint[]) AS n ON CONFLICT DO NOTHING
), elements AS (
    INSERT INTO {schema}.element (log, slot, body)
    SELECT e.log, e.slot, substr(%(bodies)s::bytea, e.start, e.size) FROM ok,
        unnest(%(logs)s::bigint[], %(slots)s::int[], %(starts)s::int[], %(sizes)s::int[])
            AS e(log, slot, start, size)
)"""

_VERDICT = """
SELECT ok.id, ok.thread, gate.generation, gate.deleted_at IS NOT NULL AS deleted, gate.owned,
    gate.fresh, gate.owner, here.head"""

_MOVE = """, moved AS (
    UPDATE {schema}.stream s SET head = %(id)s, touched_at = now() FROM fit, here
    WHERE s.id = (SELECT id FROM here) AND s.head IS NOT DISTINCT FROM here.head AND (
        here.head IS NULL OR here.head = %(parent)s::bytea OR here.head = %(id)s
        OR (%(fork)s::boolean AND (
            SELECT k.stream FROM {schema}.checkpoint k
            WHERE k.stream = (SELECT id FROM here) AND k.id = %(id)s) IS NULL))
    RETURNING s.id, s.thread,
        here.head <> %(id)s AND here.head IS DISTINCT FROM %(parent)s::bytea AS forked
), opened AS (
    INSERT INTO {schema}.stream (thread, ns, head) SELECT fit.id, %(ns)s, %(id)s FROM fit
    WHERE NOT EXISTS (SELECT FROM here) ON CONFLICT DO NOTHING
    RETURNING id, thread, false AS forked
), ok AS (SELECT * FROM moved UNION ALL SELECT * FROM opened)"""

_BESIDE = """, sealed AS (
    DELETE FROM {schema}.element e USING ok,
        unnest(%(drop_logs)s::bigint[], %(drop_slots)s::int[]) AS d(log, slot)
    WHERE e.log = d.log AND e.slot = d.slot
), begun AS (
    DELETE FROM {schema}.accepted a USING ok
    WHERE a.thread = ok.thread AND a.number = %(accepted)s::bigint
), runs AS (
    INSERT INTO {schema}.run (run, stream)
    SELECT %(run)s::bigint, ok.id FROM ok WHERE %(run)s::bigint IS NOT NULL ON CONFLICT DO NOTHING
)"""

_NOTE = """, noted AS (
    INSERT INTO {schema}.write (stream, slot, n, checkpoint, task, path, spans, body)
    SELECT ok.id, w.slot, w.n, %(base)s, %(task)s, %(path)s, w.spans::bigint[],
        substr(%(bodies)s::bytea, w.start, w.size)
    FROM ok, unnest(%(at)s::smallint[], %(counts)s::smallint[], %(row_spans)s::text[],
        %(row_starts)s::int[], %(row_sizes)s::int[]) AS w(slot, n, spans, start, size)
    -- A row begins where those its writer saw end, so of two that saw the same one is too late.
    WHERE w.slot < 0 OR w.slot >= coalesce((
        SELECT max(h.slot) FROM {schema}.write h
        WHERE h.stream = (SELECT id FROM ok) AND h.checkpoint = %(base)s AND h.task = %(task)s), 0)
    ON CONFLICT (stream, checkpoint, task, slot) DO UPDATE
    SET body = excluded.body, spans = excluded.spans WHERE write.slot < 0
    RETURNING slot
)"""

_KEEP = """, kept AS (
    INSERT INTO {schema}.checkpoint (stream, step, id, parent, branch, tags, spans, body)
    SELECT ok.id, %(step)s::int, %(id)s, %(parent)s,
        CASE WHEN ok.forked THEN %(mint)s::bytea ELSE (
            SELECT k.branch FROM {schema}.checkpoint k
            WHERE k.stream = ok.id AND k.id = %(parent)s::bytea) END,
        %(tags)s::bigint[], %(spans)s::bigint[], %(body)s FROM ok
    ON CONFLICT (stream, id) DO UPDATE
    SET step = excluded.step, tags = excluded.tags, spans = excluded.spans, body = excluded.body
    RETURNING branch
)"""

_TOLD = """, ok.forked, (SELECT branch FROM kept) AS branch,
    ok.id IS NULL AND (
        SELECT k.stream FROM {schema}.checkpoint k
        WHERE k.stream = (SELECT id FROM here) AND k.id = %(id)s) IS NOT NULL AS again"""

_SLOTS = ", ARRAY(SELECT slot FROM noted) AS slots"

_FROM = """
FROM (VALUES (1)) AS one LEFT JOIN gate ON true LEFT JOIN here ON true LEFT JOIN ok ON true"""


@cache
def put_of(*, content: bool, beside: bool, writes: bool) -> str:
    """The statement of a put; each part that is left out saves its set-up.

    Args:
        content: It stores elements.
        beside: It seals blocks, starts an accepted run or names a run.
        writes: It stores writes of its parent's only task too.
    """
    parts = (_GATE, _MOVE, _CONTENT * content, _BESIDE * beside, _NOTE * writes, _KEEP)
    return "".join(parts) + _VERDICT + _TOLD + _SLOTS * writes + _FROM


PUT_WRITES = (
    _GATE
    + """, opened AS (
    INSERT INTO {schema}.stream (thread, ns) SELECT fit.id, %(ns)s FROM fit
    WHERE NOT EXISTS (SELECT FROM here) ON CONFLICT DO NOTHING RETURNING id
), ok AS (
    SELECT s.id, fit.id AS thread
    FROM fit, (SELECT id FROM here UNION ALL SELECT id FROM opened) AS s
)"""
    + _CONTENT
    + _NOTE
    + _VERDICT
    + _SLOTS
    + _FROM
)

STORED_WRITES = """
SELECT w.slot, w.n, w.body FROM {schema}.thread t
JOIN {schema}.stream s ON s.thread = t.id AND s.ns = %(ns)s
JOIN {schema}.write w ON w.stream = s.id AND w.checkpoint = %(base)s AND w.task = %(task)s
WHERE t.tenant = %(tenant)s AND t.thread_id = %(thread)s"""

_STREAMS = """
WITH s AS (
    SELECT s.id, s.head, s.ns, t.thread_id, t.generation, t.secret FROM {schema}.thread t
    JOIN {schema}.stream s ON s.thread = t.id
    WHERE t.tenant = %(tenant)s AND t.deleted_at IS NULL"""

_ROWS = """, w AS MATERIALIZED (
    SELECT w.* FROM c JOIN {schema}.write w ON w.stream = c.stream AND w.checkpoint = c.id
), named AS (
    SELECT c.spans FROM c UNION ALL SELECT w.spans FROM w
), ranges AS (
    SELECT spans[i] AS log, min(spans[i + 1]) AS start, max(spans[i + 2]) AS stop
    FROM named, generate_series(1, cardinality(spans), 3) AS i GROUP BY 1
), wanted AS (
    SELECT r.log, r.stop,
        CASE WHEN h.start <= r.start THEN greatest(r.start, h.stop) ELSE r.start END AS start
    FROM ranges r LEFT JOIN unnest(
        %(held_logs)s::bigint[], %(held_starts)s::bigint[], %(held_stops)s::bigint[]
    ) AS h(log, start, stop) ON h.log = r.log
), e AS (
    -- OFFSET 0 keeps the planner on the index, however small the table was when it planned.
    SELECT e.* FROM wanted r CROSS JOIN LATERAL (
        SELECT e.log, e.slot, e.body FROM {schema}.element e
        WHERE e.log = r.log AND e.slot >= 2 * r.start AND e.slot < 2 * ((r.stop + 31) / 32 * 32)
            AND (e.slot < 2 * r.stop OR e.slot %% 2 = 1) OFFSET 0) AS e
    WHERE r.start < r.stop
)
SELECT 0 AS kind, c.stream AS number, NULL::int AS slot, c.id AS a, c.parent AS b, c.body,
    c.spans, c.ns, c.thread_id, c.head, c.branch, c.generation, c.secret FROM c
UNION ALL SELECT 1, w.stream, w.slot, w.checkpoint, w.task, w.body,
    w.spans, w.path, NULL, NULL, NULL, NULL, NULL FROM w
UNION ALL SELECT 2, e.log, e.slot, NULL, NULL, e.body,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM e"""

_COLUMNS = """c.stream, c.id, c.parent, c.branch, c.spans, c.body, s.ns, s.thread_id, s.head,
        s.generation, s.secret"""

GET = (
    _STREAMS
    + """ AND t.thread_id = %(thread)s AND s.ns = %(ns)s
), c AS MATERIALIZED (
    SELECT """
    + _COLUMNS
    + """ FROM s JOIN {schema}.checkpoint c
    ON c.stream = s.id AND c.id = coalesce(%(id)s::bytea, s.head)
)"""
    + _ROWS
)

LIST = (
    _STREAMS
    + """ AND (%(thread)s::text IS NULL OR t.thread_id = %(thread)s)
        AND (%(ns)s::text IS NULL OR s.ns = %(ns)s)
), c AS MATERIALIZED (
    SELECT """
    + _COLUMNS
    + """ FROM s JOIN {schema}.checkpoint c ON c.stream = s.id
    WHERE (%(id)s::bytea IS NULL OR c.id = %(id)s)
        AND (%(before)s::bytea IS NULL OR c.id < %(before)s)
        AND (%(after_id)s::bytea IS NULL
            OR (c.id, c.stream) < (%(after_id)s, %(after_stream)s::bigint))
        AND (%(tags)s::bigint[] IS NULL OR c.tags @> %(tags)s::bigint[])
    ORDER BY c.id DESC, c.stream DESC LIMIT %(most)s::int
)"""
    + _ROWS
)

STEPS = (
    _STREAMS
    + """ AND t.thread_id = %(thread)s AND s.ns = %(ns)s
), c AS MATERIALIZED (
    SELECT """
    + _COLUMNS
    + """ FROM s JOIN {schema}.checkpoint c ON c.stream = s.id
    WHERE %(before)s::bytea IS NULL OR c.id < %(before)s
    ORDER BY c.id DESC LIMIT %(most)s::int
)
SELECT 0 AS kind, c.stream AS number, NULL::int AS slot, c.id AS a, c.parent AS b, c.body,
    c.spans, c.ns, c.thread_id, c.head, c.branch, c.generation, c.secret FROM c
UNION ALL SELECT 1, w.stream, w.slot, w.checkpoint, w.task, w.body,
    w.spans, w.path, NULL, NULL, NULL, NULL, NULL
FROM c JOIN {schema}.write w ON w.stream = c.stream AND w.checkpoint = c.id"""
)

CHAIN = (
    _STREAMS.replace("WITH s AS", "WITH RECURSIVE s AS")
    + """ AND t.thread_id = %(thread)s AND s.ns = %(ns)s
), way AS (
    SELECT c.*, 0 AS far FROM s JOIN {schema}.checkpoint c
    ON c.stream = s.id AND c.id = coalesce(%(id)s::bytea, s.head)
    UNION ALL
    SELECT c.*, way.far + 1 FROM way JOIN {schema}.checkpoint c
    ON c.stream = way.stream AND c.id = way.parent WHERE way.far < %(most)s::int
), c AS MATERIALIZED (
    SELECT """
    + _COLUMNS
    + """ FROM s JOIN way c ON c.stream = s.id
)"""
    + _ROWS.replace(
        "SELECT c.spans FROM c UNION ALL SELECT w.spans FROM w", "SELECT w.spans FROM w"
    )
)

ELEMENTS = """
SELECT 2, e.log, e.slot, NULL::bytea, NULL::bytea, e.body
FROM unnest(%(logs)s::bigint[], %(starts)s::bigint[], %(stops)s::bigint[]) AS r(log, start, stop)
JOIN {schema}.element e ON e.log = r.log AND e.slot >= 2 * r.start
    AND e.slot < 2 * ((r.stop + 31) / 32 * 32) AND (e.slot < 2 * r.stop OR e.slot %% 2 = 1)"""


def array(numbers: object) -> str:
    """Whole numbers as PostgreSQL spells an array of them."""
    return "{" + ",".join(map(str, numbers)) + "}" if numbers else "{}"  # type: ignore[call-overload]


def arrays(texts: Sequence[str]) -> str:
    """Arrays that are spelled already as PostgreSQL spells an array of them."""
    return '{"' + '","'.join(texts) + '"}' if texts else "{}"
