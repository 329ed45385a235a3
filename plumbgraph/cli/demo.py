"""`plumbgraph demo`: an agent is killed with SIGKILL at work and finishes in a new process."""

from __future__ import annotations

from typing import Annotated

import typer

from plumbgraph.cli.console import FAILED, Json, Out

app = typer.Typer()


@app.command()
def demo(
    kill_step: Annotated[
        int, typer.Option(min=2, max=18, help="The step in which the agent is killed.")
    ] = 9,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with all data.")] = False,
    json: Json = False,
) -> None:
    """Watch an agent survive kill -9 on real servers: offline, without a key, in seconds.

    The assistant reads six incident reports, takes notes and writes a summary. Its model is a
    script; PostgreSQL, Valkey, the files, the processes and the kill are real. Exit code 1 when
    the proof fails.
    """
    from plumbgraph.cli.demo_play import play  # noqa: PLC0415 - quick start
    from plumbgraph.cli.demo_show import Show  # noqa: PLC0415 - quick start

    out = Out(json=json)
    told = play(Show(out), kill_step=kill_step, keep=keep)
    out.show(told, lambda: None)
    if not told["proven"]:
        raise typer.Exit(FAILED)
