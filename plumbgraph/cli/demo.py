"""`plumbgraph demo`: an agent is killed with SIGKILL at work, and what else it can do is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plumbgraph.cli.console import FAILED, Json, Out

app = typer.Typer()


@app.command()
def demo(
    html: Annotated[
        Path | None, typer.Option(help="Where the report goes; else the temporary folder.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with all data.")] = False,
    json: Json = False,
) -> None:
    """Watch an agent survive kill -9 on real servers: offline, without a key, in seconds.

    The assistant reads incident reports, takes notes and alerts people. It is killed when a note
    and an alert went out and no checkpoint knows of them, and finishes in a new process: files,
    messages, effects and the bill agree. Then memory, skills, routing and the guard are shown.
    Models are scripts; PostgreSQL, Valkey, the files, the processes and the kill are real. Exit
    code 1 when any check disagrees.
    """
    from plumbgraph.cli.demo_play import play  # noqa: PLC0415 - quick start
    from plumbgraph.cli.demo_show import Show  # noqa: PLC0415 - quick start

    out = Out(json=json)
    told = play(Show(out), html=html, keep=keep)
    out.show(told, lambda: None)
    if not told["proven"]:
        raise typer.Exit(FAILED)
