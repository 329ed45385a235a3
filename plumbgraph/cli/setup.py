"""`plumbgraph setup`: make the database schema, check it, or print its SQL."""

from __future__ import annotations

from typing import Annotated

import typer

from plumbgraph.cli.console import FAILED, Json, Out

app = typer.Typer()


@app.command()
def setup(
    print_sql: Annotated[
        bool, typer.Option("--print-sql", help="Print the SQL and touch nothing.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say what is missing.")] = False,
    json: Json = False,
) -> None:
    """Make the database schema, or bring it up to date; any number of times, in any race.

    Programs do this by themselves on first use. Where the role may not create schemas, let an
    administrator run `plumbgraph setup --print-sql | psql …`. `--check` ends with exit code 1
    when something is missing.
    """
    from plumbgraph.errors import SettingsError  # noqa: PLC0415 - quick start
    from plumbgraph.postgres.migrate import script  # noqa: PLC0415 - quick start
    from plumbgraph.settings import Settings  # noqa: PLC0415 - quick start

    if print_sql and check:
        raise SettingsError("--print-sql and --check exclude each other.", hint="Choose one.")
    schema = Settings.load().schema_name
    out = Out(json=json)
    if print_sql:
        sql = script(schema)
        out.show({"schema": schema, "sql": sql}, lambda: print(sql))  # noqa: T201 - the answer
        return
    before = _apply_or_check(schema, apply=not check)
    names = [f"{number:04d}_{name}" for number, name in before]
    verb = "missing" if check else "applied"
    none = f"schema {schema!r} is up to date"
    text = f"{verb} in schema {schema!r}: {', '.join(names)}" if names else none
    out.show({"schema": schema, verb: names}, lambda: out.text(text))
    if check and names:
        raise typer.Exit(FAILED)


def _apply_or_check(schema: str, *, apply: bool) -> list[tuple[int, str]]:
    from plumbgraph import servers  # noqa: PLC0415 - quick start
    from plumbgraph.postgres.migrate import known, missing  # noqa: PLC0415 - quick start
    from plumbgraph.postgres.pool import Database  # noqa: PLC0415 - quick start

    with (
        servers.up() as endpoints,
        Database(endpoints.postgres_url, schema=schema, auto_setup=False) as database,
    ):
        lacking = database.run(missing(schema))
        if apply:
            database.setup()
    steps = known() if lacking is None else lacking
    return [(step.number, step.name) for step in steps]
