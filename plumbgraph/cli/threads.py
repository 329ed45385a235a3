"""`plumbgraph threads`: the threads of this tenant, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from plumbgraph.cli.console import Json, Out

app = typer.Typer()


@app.command()
def threads(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many to show.")] = 30,
    json: Json = False,
) -> None:
    """List the threads, the one touched last first."""
    from plumbgraph.agents.open import open as open_servers  # noqa: PLC0415 - quick start

    out = Out(json=json)
    with open_servers() as plumbing:
        found = plumbing.saver.threads(limit=limit)
    rows = [(each.thread_id, each.status, each.steps, each.touched_at) for each in found]
    columns = ("thread", "status", "steps", "touched")
    keys = ("thread_id", "status", "steps", "touched_at")
    value = [dict(zip(keys, row, strict=True)) for row in rows]
    nothing = "no threads yet; begin one with `plumbgraph run assistant '…'`"
    out.show(value, lambda: out.table(columns, rows) if rows else out.text(nothing))
