"""What `plumbgraph doctor --production` asks the given PostgreSQL, and what the answers mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from plumbgraph.cli.checks import Check, Verdict
from plumbgraph.cli.fleet import Fleet, clock_check, is_local

if TYPE_CHECKING:
    from psycopg import Connection

    from plumbgraph.settings import Settings

_OLDEST = 15
_WRAPAROUND = 1_500_000_000
_ASKED = {
    "version": "current_setting('server_version_num')::int",
    "user": "current_user",
    "superuser": "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
    "standby": "pg_is_in_recovery()",
    "read_only": "current_setting('default_transaction_read_only')",
    "may_create": "has_database_privilege(current_database(), 'CREATE')",
    "schema": "to_regnamespace(%(schema)s) IS NOT NULL",
    "may_use": "has_schema_privilege(to_regnamespace(%(schema)s)::oid, 'USAGE')",
    "may_change": "has_schema_privilege(to_regnamespace(%(schema)s)::oid, 'CREATE')",
    "refused": """ARRAY(SELECT c.relname::text FROM pg_class c
        WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind = 'r'
        AND NOT (has_table_privilege(c.oid, 'SELECT') AND (c.relname = 'migrations' OR
            has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
            AND has_table_privilege(c.oid, 'DELETE'))) ORDER BY 1)""",
    "most": "current_setting('max_connections')::int",
    "reserved": """current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true), '0')::int""",
    "in_use": "(SELECT sum(numbackends)::int FROM pg_stat_database)",
    "role_limit": "(SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)",
    "database_limit": "(SELECT datconnlimit FROM pg_database WHERE datname = current_database())",
    "fsync": "current_setting('fsync')",
    "synchronous_commit": "current_setting('synchronous_commit')",
    "full_page_writes": "current_setting('full_page_writes')",
    "archive": "current_setting('archive_mode')",
    "replicas": "(SELECT count(*)::int FROM pg_stat_replication)",
    "autovacuum": "current_setting('autovacuum')",
    "age": "(SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database())",
    "encoding": "getdatabaseencoding()",
    "now": "extract(epoch FROM clock_timestamp())::float8",
}


def postgres(settings: Settings, fleet: Fleet | None = None) -> Iterator[Check]:
    """The findings about the PostgreSQL of the settings; none where it is embedded."""
    from plumbgraph.postgres.faults import faults, target_of  # noqa: PLC0415 - quick start

    url, fleet = settings.postgres_url, fleet or Fleet()
    if url is None:
        return
    with faults(target_of(url)):
        facts, pooled, secure, skew_s = _asked(url, settings.schema_name)
        yield from postgres_facts(facts, settings.schema_name)
        if facts["may_use"] and "migrations" not in facts["refused"]:
            yield from _migrations(url, settings.schema_name, facts)
    yield pooler_check(pooled=pooled)
    yield connections_check(facts, fleet, pooled=pooled)
    yield from encryption_checks(url, secure=secure)
    yield clock_check("postgres", skew_s)


def _asked(url: str, schema: str) -> tuple[dict[str, Any], bool, bool, float]:
    from psycopg import ClientCursor, connect  # noqa: PLC0415 - quick start
    from psycopg.rows import dict_row  # noqa: PLC0415 - quick start

    from plumbgraph.clock import SYSTEM  # noqa: PLC0415 - quick start

    columns = ", ".join(f'{text} AS "{name}"' for name, text in _ASKED.items())
    with connect(url, autocommit=True, cursor_factory=ClientCursor, connect_timeout=15) as link:
        before = SYSTEM.now()
        with link.cursor(row_factory=dict_row) as cursor:
            facts = cursor.execute(f"SELECT {columns}", {"schema": schema}).fetchone()
        after = SYSTEM.now()
        secure = bool(link.pgconn.ssl_in_use)
        pooled = _is_pooled(link)
    assert facts is not None
    return facts, pooled, secure, float(facts["now"]) - (before + after) / 2


def _is_pooled(link: Connection[Any]) -> bool:
    """A pooler tells its clients a process number that is not the server's."""
    told = link.execute("SELECT pg_backend_pid()").fetchone()
    return told is not None and told[0] != link.info.backend_pid


def _migrations(url: str, schema: str, facts: Mapping[str, Any]) -> Iterator[Check]:
    from plumbgraph.postgres.migrate import missing  # noqa: PLC0415 - quick start
    from plumbgraph.postgres.pool import Database  # noqa: PLC0415 - quick start

    with Database(url, schema=schema, auto_setup=False, pool_max=1) as database:
        lacking = database.run(missing(schema))
    yield schema_check(
        schema,
        None if lacking is None else [f"{step.number:04d}_{step.name}" for step in lacking],
        may_change=bool(facts["may_change"]),
    )


def schema_check(schema: str, lacking: list[str] | None, *, may_change: bool) -> Check:
    """Whether the tables are those of this plumbgraph, and what `auto_setup` will do about it."""
    if lacking == []:
        return Check("ok", "schema", f"{schema!r} is up to date")
    said = f"not applied: {', '.join(lacking)}" if lacking else f"{schema!r} holds no tables yet"
    if may_change:
        hint = "Run `plumbgraph setup` before the workers start; else the first of them does it."
        return Check("warning", "schema", said, hint, "schema.old")
    hint = "Let an administrator run `plumbgraph setup --print-sql | psql …`."
    return Check("fault", "schema", f"{said}, and the role may not", hint, "schema.old")


def postgres_facts(facts: Mapping[str, Any], schema: str) -> Iterator[Check]:
    """What the answers of a PostgreSQL mean."""
    number, old = facts["version"], facts["version"] // 10_000 < _OLDEST
    yield Check(
        "fault" if old else "ok",
        "postgres",
        f"version {number // 10_000}.{number % 10_000}",
        f"Upgrade to {_OLDEST} or newer." if old else "",
        "postgres.old" * old,
    )
    if facts["standby"] or facts["read_only"] == "on":
        hint = "Name the primary in PLUMBGRAPH_POSTGRES_URL."
        yield Check("fault", "postgres", "takes no writes (a standby?)", hint, "postgres.standby")
    yield from _rights(facts, schema)
    yield from _durability(facts)
    yield from _health(facts)


def _rights(facts: Mapping[str, Any], schema: str) -> Iterator[Check]:
    user, refused = facts["user"], facts["refused"]
    if not facts["schema"]:
        yield _no_schema(facts, schema)
    elif not facts["may_use"] or refused:
        hint = (
            f"GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT, INSERT, UPDATE, DELETE "
            f"ON ALL TABLES IN SCHEMA {schema} TO {user};"
        )
        said = f"{user!r} may not use {', '.join(refused) or f'schema {schema!r}'}"
        yield Check("fault", "rights", said, hint, "postgres.rights")
    else:
        yield Check("ok", "rights", f"{user!r} may read and write schema {schema!r}")
    if facts["superuser"]:
        hint = "Give the workers a role of their own; see docs/operations.md."
        yield Check("warning", "rights", f"{user!r} is a superuser", hint, "postgres.superuser")
    elif facts["may_change"]:
        hint = "A role that may only read and write rows is enough once the tables are there."
        yield Check("note", "rights", f"{user!r} may change tables", hint, "postgres.may_change")


def _no_schema(facts: Mapping[str, Any], schema: str) -> Check:
    user = facts["user"]
    if facts["may_create"]:
        return Check("ok", "rights", f"{user!r} may make schema {schema!r}")
    hint = "Let an administrator run `plumbgraph setup --print-sql | psql …`."
    said = f"no schema {schema!r}, and {user!r} may not make it"
    return Check("fault", "rights", said, hint, "postgres.no_schema")


def _durability(facts: Mapping[str, Any]) -> Iterator[Check]:
    names = ("fsync", "synchronous_commit", "full_page_writes")
    off = [name for name in names if facts[name] == "off"]
    if off:
        said = f"off: {', '.join(off)}; a power cut loses what was acknowledged"
        yield Check("fault", "durability", said, "Turn them on.", "postgres.not_durable")
    else:
        yield Check("ok", "durability", "each commit is on the disk before it is acknowledged")
    if facts["archive"] == "off":
        hint = "Unless the provider does it: see backup and restore in docs/operations.md."
        said = "archive_mode is off, so no restore to a point in time"
        yield Check("note", "backup", said, hint, "postgres.no_archive")
    if not facts["replicas"]:
        hint = "Unless the provider keeps one out of sight: add one."
        yield Check("note", "replicas", "no standby is seen", hint, "postgres.no_replica")


def _health(facts: Mapping[str, Any]) -> Iterator[Check]:
    if facts["encoding"] != "UTF8":
        hint = "Make the database with ENCODING 'UTF8'."
        yield Check("fault", "encoding", facts["encoding"], hint, "postgres.encoding")
    if facts["autovacuum"] == "off":
        hint = "Turn it on: deleted checkpoints free no space without it."
        yield Check("warning", "autovacuum", "off", hint, "postgres.no_autovacuum")
    if facts["age"] > _WRAPAROUND:
        said = f"the oldest transaction is {facts['age']:,} transactions old"
        hint = "Find what keeps VACUUM back (pg_stat_activity, replication slots) at once."
        yield Check("fault", "autovacuum", said, hint, "postgres.wraparound")


def pooler_check(*, pooled: bool) -> Check:
    """Whether PgBouncer or the like is in between."""
    if pooled:
        said = "PgBouncer or another pooler is in between; this works in transaction mode"
        return Check("note", "pooler", said, "", "postgres.pooler")
    return Check("ok", "pooler", "none in between")


def connections_check(facts: Mapping[str, Any], fleet: Fleet, *, pooled: bool) -> Check:
    """Whether the pools of all workers together fit into what the server admits."""
    wanted = fleet.postgres_connections
    limits = [facts["most"] - facts["reserved"], facts["role_limit"], facts["database_limit"]]
    room = min(limit for limit in limits if limit >= 0)
    used = facts["in_use"] or 0
    said = (
        f"{fleet.workers} workers of {fleet.colors} colors with pool_max={fleet.pool} "
        f"may want {wanted}; "
        f"{room} are allowed, {used} in use"
    )
    if pooled:
        hint = "The pooler queues what is too much; its max_client_conn must hold them all."
        return Check("note", "connections", said, hint, "postgres.connections")
    verdict: Verdict = "fault" if wanted > room else "ok"
    if verdict == "ok":
        return Check("ok", "connections", said)
    hint = "Lower pool_max, raise max_connections, or put PgBouncer (transaction mode) in between."
    return Check(verdict, "connections", said, hint, "postgres.connections")


def encryption_checks(url: str, *, secure: bool) -> Iterator[Check]:
    """Whether strangers on the way can read along, or stand in for the server."""
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - quick start

    parts = conninfo_to_dict(url)
    if is_local(str(parts.get("host") or parts.get("hostaddr") or "")):
        return
    if not secure:
        hint = "Add sslmode=verify-full and sslrootcert=… to the URL."
        said = "the connection is not encrypted"
        yield Check("warning", "postgres TLS", said, hint, "postgres.plain")
    elif parts.get("sslmode") not in {"verify-full", "verify-ca"}:
        hint = "Write sslmode=verify-full and sslrootcert=… into the URL."
        said = "encrypted, but the server's name is not verified"
        yield Check("note", "postgres TLS", said, hint, "postgres.unverified")
    else:
        yield Check("ok", "postgres TLS", f"encrypted, {parts['sslmode']}")
