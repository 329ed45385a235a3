"""What `plumbgraph doctor --production` asks the given servers: rights, eviction and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from plumbgraph.cli.checks import Check, Verdict

if TYPE_CHECKING:
    from plumbgraph.settings import Settings

_POSTGRES = 15
_REDIS = (7, 0)
_VALKEY = (7, 2)

_FACTS = """
SELECT current_setting('server_version_num')::int, current_user, pg_is_in_recovery(),
    has_database_privilege(current_database(), 'CREATE'), to_regnamespace(%s) IS NOT NULL,
    current_setting('max_connections')::int, current_setting('fsync'),
    current_setting('synchronous_commit')"""
_RIGHTS = """
SELECT c.relname FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r'
AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
    AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))"""


def given_servers(settings: Settings) -> Iterator[Check]:
    """Both servers must be named, not embedded."""
    for name, url in (("POSTGRES", settings.postgres_url), ("REDIS", settings.redis_url)):
        if url is None:
            yield Check(
                "warning",
                f"{name.lower()} url",
                f"PLUMBGRAPH_{name}_URL is not set: the embedded server is for one machine",
                "Point it at a server that is backed up.",
                "production.embedded",
            )


def postgres(settings: Settings) -> Iterator[Check]:
    """Version, rights, schema, pooler and durability of the given PostgreSQL."""
    from plumbgraph.postgres.migrate import missing  # noqa: PLC0415 - quick start
    from plumbgraph.postgres.pool import Database, Statement  # noqa: PLC0415 - quick start

    if settings.postgres_url is None:
        return
    schema = settings.schema_name
    with Database(settings.postgres_url, schema=schema, auto_setup=False) as database:
        facts, refused = database.send(
            (Statement(_FACTS, (schema,)), Statement(_RIGHTS, (schema,)))
        )
        yield from postgres_facts(facts[0], [str(row[0]) for row in refused], schema)
        lacking = database.run(missing(schema)) if facts[0][4] else None
        if lacking:
            names = ", ".join(f"{step.number:04d}_{step.name}" for step in lacking)
            yield Check(
                "warning",
                "schema",
                f"not applied: {names}",
                "Run `plumbgraph setup`.",
                "schema.old",
            )
    yield _pooler(settings.postgres_url)


def postgres_facts(facts: tuple[Any, ...], refused: list[str], schema: str) -> Iterator[Check]:
    """What the answers of a PostgreSQL mean."""
    number, user, standby, may_create, exists, most, fsync, commit = facts
    old = number // 10_000 < _POSTGRES
    hint = f"Upgrade to {_POSTGRES} or newer." if old else ""
    verdict: Verdict = "fault" if old else "ok"
    yield Check(
        verdict,
        "postgres",
        f"version {number // 10_000}.{number % 10_000}",
        hint,
        "postgres.old" * old,
    )
    if standby:
        hint = "Name the primary in PLUMBGRAPH_POSTGRES_URL."
        yield Check("fault", "postgres", "is a read-only standby", hint, "postgres.standby")
    if refused:
        hint = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user};"
        said = f"{user!r} may not use {', '.join(refused)}"
        yield Check("fault", "rights", said, hint, "postgres.rights")
    elif exists:
        yield Check("ok", "rights", f"{user!r} may read and write schema {schema!r}")
    elif may_create:
        yield Check("ok", "rights", f"{user!r} may make schema {schema!r}")
    else:
        hint = "Let an administrator run `plumbgraph setup --print-sql | psql …`."
        said = f"no schema {schema!r}, and {user!r} may not make it"
        yield Check("fault", "rights", said, hint, "postgres.no_schema")
    if fsync != "on" or commit == "off":
        said = f"fsync={fsync}, synchronous_commit={commit}: a power cut loses checkpoints"
        yield Check("warning", "durability", said, "Turn both on.", "postgres.not_durable")
    yield Check("ok", "connections", f"{most} at most; each process and colour takes up to 4")


def _pooler(url: str) -> Check:
    """A pooler tells its clients a process number that is not the server's."""
    from psycopg import ClientCursor, connect  # noqa: PLC0415 - quick start
    from psycopg.errors import Error  # noqa: PLC0415 - quick start

    try:
        with connect(url, autocommit=True, cursor_factory=ClientCursor) as link:
            real = link.info.backend_pid
            told = link.execute("SELECT pg_backend_pid()").fetchone()
    except Error:
        return Check("note", "pooler", "cannot tell whether one is in between")
    if told and told[0] != real:
        said = "PgBouncer or another pooler is in between; this works in transaction mode"
        return Check("note", "pooler", said, "", "postgres.pooler")
    return Check("ok", "pooler", "none in between")


def redis(settings: Settings) -> Iterator[Check]:
    """Version, eviction and persistence of the given Redis or Valkey."""
    from plumbgraph.redis.clients import Command, Redis  # noqa: PLC0415 - quick start

    if settings.redis_url is None:
        return
    with Redis(settings.redis_url) as client:
        info, policy, aof = client.send(
            (
                Command("INFO", near="doctor"),
                Command("CONFIG", "GET", "maxmemory-policy", near="doctor"),
                Command("CONFIG", "GET", "appendonly", near="doctor"),
            )
        )
    yield from redis_facts(parsed(info), value_of(policy), value_of(aof))


def parsed(info: Any) -> dict[str, str]:
    """The lines of INFO as a mapping, whether the client parsed them or not."""
    if isinstance(info, Mapping):
        return {_text(key): _text(value) for key, value in info.items()}
    lines = _text(info).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def value_of(reply: Any) -> str | None:
    """The value of a CONFIG GET; `None` where CONFIG is forbidden, as on hosted servers."""
    if isinstance(reply, Mapping):
        return next((_text(value) for value in reply.values()), None)
    if isinstance(reply, list | tuple) and len(reply) > 1:
        return _text(reply[1])
    return None


def redis_facts(info: Mapping[str, str], policy: str | None, aof: str | None) -> Iterator[Check]:
    """What the answers of a Redis or Valkey mean."""
    name = "valkey" if "valkey_version" in info else "redis"
    said = info.get(f"{name}_version", "0")
    least = _VALKEY if name == "valkey" else _REDIS
    old = tuple(int(part) for part in said.split(".")[:2]) < least
    hint = f"Use {name} {'.'.join(map(str, least))} or newer." if old else ""
    mode = info.get("redis_mode") or info.get("server_mode") or "standalone"
    verdict: Verdict = "fault" if old else "ok"
    yield Check(verdict, name, f"version {said}, {mode}", hint, "redis.old" * old)
    if info.get("role") == "slave":
        hint = "Name the primary in PLUMBGRAPH_REDIS_URL."
        yield Check("fault", name, "is a replica", hint, "redis.replica")
    policy = policy or info.get("maxmemory_policy")
    if policy is None:
        hint = "Make sure that it is `noeviction`."
        yield Check("note", "eviction", "the server does not tell", hint, "redis.eviction_unknown")
    elif policy == "noeviction":
        yield Check("ok", "eviction", "noeviction")
    else:
        hint = "CONFIG SET maxmemory-policy noeviction: budgets refuse a server that evicts."
        yield Check("fault", "eviction", policy, hint, "redis.evicts")
    if aof == "no" and info.get("role") != "slave":
        hint = "CONFIG SET appendonly yes"
        yield Check("warning", "persistence", "appendonly is off", hint, "redis.not_durable")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
