"""Numbered migrations: read from the package, applied once, decided inside the database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from psycopg import errors

from plumbgraph.errors import SchemaMismatch
from plumbgraph.postgres.statement import SqlPlan, Statement

_HEAD = """
SELECT pg_advisory_xact_lock(hashtextextended('plumbgraph:' || '{schema}', 0));
DO $plumb_schema$ BEGIN
    IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA {schema}; END IF;
END $plumb_schema$;
CREATE TABLE IF NOT EXISTS {schema}.migrations (
    number int PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""

_ONE = """
DO $plumb_migration$ BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.migrations WHERE number = <number>) THEN
        EXECUTE $plumb_body$
<body>
        $plumb_body$;
        INSERT INTO {schema}.migrations (number, name) VALUES (<number>, '<name>');
    END IF;
END $plumb_migration$;
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema."""

    number: int
    name: str
    sql: str


@cache
def known() -> tuple[Migration, ...]:
    """Every migration of this plumbgraph, in order."""
    folder = files("plumbgraph.postgres") / "migrations"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    return tuple(
        Migration(int(name[:4]), name[5:-4], (folder / name).read_text(encoding="utf-8"))
        for name in names
    )


known()  # read now: tables may be set up inside an event loop


def script(schema: str, migrations: tuple[Migration, ...] | None = None) -> str:
    """The SQL that brings a database up to date, as one transaction's text.

    It may be run any number of times and by several sessions at once: each step is applied only
    where it is missing, behind a transaction-level advisory lock.
    """
    parts = [_HEAD]
    parts += [
        _ONE.replace("<number>", str(step.number))
        .replace("<name>", step.name)
        .replace("<body>", step.sql.rstrip().rstrip(";"))
        for step in (known() if migrations is None else migrations)
    ]
    text = "".join(parts).replace("'{schema}'", f"'{schema}'")
    return text.replace("{schema}", f'"{schema}"')  # quoted, as it may be a word of SQL's own


def missing(schema: str) -> SqlPlan[tuple[Migration, ...] | None]:
    """The migrations a database lacks, or None where it has no schema of ours at all.

    Raises:
        SchemaMismatch: It has migrations this plumbgraph does not know.
    """
    try:
        replies = yield (Statement("SELECT number FROM {schema}.migrations"),)
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return None
    applied = {int(row[0]) for row in replies[0]}
    newer = applied - {step.number for step in known()}
    if newer:
        raise SchemaMismatch(
            f"Schema {schema!r} holds migrations {sorted(newer)}, unknown to this plumbgraph.",
            hint="Upgrade plumbgraph on this machine.",
            schema=schema,
        )
    return tuple(step for step in known() if step.number not in applied)


def setup(schema: str) -> SqlPlan[tuple[Migration, ...]]:
    """Apply what is missing and return it; two round trips at most, one when up to date."""
    lacking = yield from missing(schema)
    if lacking == ():
        return ()
    steps = known() if lacking is None else lacking
    yield (Statement(script(schema, steps), binary=False),)
    return steps
