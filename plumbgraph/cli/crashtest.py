"""`plumbgraph crashtest GRAPH`: kill a graph at every bad moment, and say what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from plumbgraph.errors import SettingsError

app = typer.Typer(add_completion=False)

_POINTS = (
    "random, before-effect, after-effect, effect-recorded, blobs-stored, restoring, "
    "between-writes-and-put, before-put, after-put, server-restart."
)


@app.command()
def crashtest(
    graph: Annotated[str, typer.Argument(help="path.py:name or module:name.")],
    *,
    input: Annotated[str, typer.Option(help="The graph's input, as JSON.")] = "{}",  # noqa: A002
    kills: Annotated[int, typer.Option(help="How many trials.")] = 20,
    seed: Annotated[str, typer.Option(help="Names the series.")] = "1",
    first: Annotated[int, typer.Option(help="Number of the first trial, to replay one.")] = 0,
    durability: Annotated[str, typer.Option(help="sync, async or exit.")] = "async",
    asynchronous: Annotated[bool, typer.Option("--async", help="Use ainvoke.")] = False,
    delay_ms: Annotated[float, typer.Option(help="Added to every save.")] = 0,
    points: Annotated[str, typer.Option(help=f"Comma-separated: {_POINTS}")] = "",
    restart: Annotated[
        str, typer.Option(help="Command for the point server-restart; else a server of its own.")
    ] = "",
    double_resume: Annotated[bool, typer.Option(help="Two processes resume at once.")] = False,
    saver: Annotated[str, typer.Option(help="plumb, or postgres for LangGraph's own.")] = "plumb",
    database: Annotated[str, typer.Option(help="URL; else the configured one.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data.")] = False,
) -> None:
    """Kill a graph at every bad moment, resume it, and compare with a run that nobody killed.

    GRAPH is a graph (the test compiles it with a checkpointer of its own), or a function that
    takes any of saver, database, schema, folder and ledger by name and returns one. Its model
    should be scripted, so that two runs ask for the same.
    """
    crash: Any = import_module("plumbgraph.testing.crash")  # heavy, and beside this layer
    chosen = tuple(points.split(",")) if points else crash.EVERYWHERE
    if unknown := set(chosen) - set(crash.KNOWN):
        raise SettingsError(
            f"Unknown points: {', '.join(sorted(unknown))}.",
            hint=f"Known are {', '.join(crash.KNOWN)}.",
        )
    if durability not in {"sync", "async", "exit"} or saver not in {"plumb", "postgres"}:
        raise SettingsError(f"{durability!r} or {saver!r} is not known.", hint="See --help.")
    told: dict[str, Any] = {
        "graph": graph, "input": _parsed(input), "kills": kills, "seed": seed, "first": first,
        "durability": durability, "asynchronous": asynchronous, "save_delay_s": delay_ms / 1000,
        "points": chosen, "double_resume": double_resume, "saver": saver, "restart": restart,
    }  # fmt: skip
    _run(crash.Setting(database=database, **told), crash.crashtest, as_json=as_json)


def _run(setting: Any, test: Callable[[Any], Any], *, as_json: bool) -> None:
    from dataclasses import replace  # noqa: PLC0415 - with the rest

    from plumbgraph import servers  # noqa: PLC0415 - heavy
    from plumbgraph.settings import Settings  # noqa: PLC0415 - heavy

    url = setting.database or Settings().postgres_url
    if url:
        report = test(replace(setting, database=str(url)))
    else:
        with servers.up() as up:
            report = test(replace(setting, database=up.postgres_url))
    _show(report, as_json=as_json)
    if report.verdict != "sound":
        raise typer.Exit(1)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingsError(f"The input is not JSON: {error}") from error


def _show(report: Any, *, as_json: bool) -> None:
    facts = report.facts()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if name != "damaged":
            typer.echo(f"{name.replace('_', ' '):22} {value}")
    for trial in [trial for trial in report.trials if not trial.sound][:10]:
        typer.echo(f"\ntrial {trial.number}: killed at {', '.join(trial.kills)}")
        typer.echo(f"  {trial.failed or trial.messages_invalid or ''}".rstrip())
        typer.echo(f"  replay with {report.replay(trial)}")
