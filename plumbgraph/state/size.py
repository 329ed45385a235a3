"""How much a tenant's threads take, thread by thread and in the tables."""

from __future__ import annotations

from dataclasses import dataclass

from plumbgraph.postgres.statement import SqlPlan, Statement


@dataclass(frozen=True, slots=True)
class ThreadSize:
    """What one thread takes.

    Attributes:
        stored_bytes: Its rows and the elements that only it names.
        shared_bytes: Elements that copies of it name as well.
    """

    thread_id: str
    checkpoints: int
    stored_bytes: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class StateSize:
    """What state takes: the tables of all tenants as they lie on disk, and the largest threads."""

    table_bytes: dict[str, int]
    threads: tuple[ThreadSize, ...]


_THREADS = """
SELECT t.thread_id, coalesce(c.n, 0), coalesce(c.size, 0) + coalesce(w.size, 0)
    + coalesce(e.own, 0), coalesce(e.shared, 0)
FROM {schema}.thread t
LEFT JOIN LATERAL (
    SELECT count(*) AS n, sum(octet_length(c.body))::bigint AS size
    FROM {schema}.stream s JOIN {schema}.checkpoint c ON c.stream = s.id WHERE s.thread = t.id
) c ON true
LEFT JOIN LATERAL (
    SELECT sum(octet_length(w.body))::bigint AS size
    FROM {schema}.stream s JOIN {schema}.write w ON w.stream = s.id WHERE s.thread = t.id
) w ON true
LEFT JOIN LATERAL (
    SELECT sum(octet_length(e.body)) FILTER (WHERE NOT o.others)::bigint AS own,
        sum(octet_length(e.body)) FILTER (WHERE o.others)::bigint AS shared
    FROM {schema}.log_user u JOIN {schema}.element e ON e.log = u.log
    CROSS JOIN LATERAL (SELECT EXISTS (
        SELECT FROM {schema}.log_user v WHERE v.log = u.log AND v.thread <> t.id) AS others) o
    WHERE u.thread = t.id
) e ON true
WHERE t.tenant = %(tenant)s AND t.deleted_at IS NULL
ORDER BY 3 DESC LIMIT %(most)s::int"""

_TABLES = """
SELECT relname, pg_total_relation_size(c.oid) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind = 'r' AND c.relname = ANY(
    '{thread,stream,checkpoint,element,write,log_user,run,accepted}')
ORDER BY 1"""


def size(tenant: str, schema: str, most: int) -> SqlPlan[StateSize]:
    """The sizes of the tables and of the largest threads."""
    tables = (yield (Statement(_TABLES, {"schema": schema}),))[0]
    rows = (yield (Statement(_THREADS, {"tenant": tenant, "most": str(most)}),))[0]
    found = tuple(ThreadSize(row[0], row[1], int(row[2]), int(row[3])) for row in rows)
    return StateSize({name: int(number) for name, number in tables}, found)
