"""`plumbgraph doctor`: look for what is wrong, before it goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from plumbgraph.cli import checks
from plumbgraph.cli.checks import Check
from plumbgraph.cli.console import FAILED, Json, Out
from plumbgraph.cli.fleet import Fleet

app = typer.Typer()

_MARKS = {"ok": ("✓", "green"), "note": ("·", "cyan"), "warning": ("!", "yellow")}
_FAULT = ("✗", "bold red")


@app.command()
def doctor(
    production: Annotated[
        bool, typer.Option("--production", help="Ask the given servers about production too.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="With --production: processes that will run at a time.")
    ] = 1,
    pool: Annotated[
        int, typer.Option(min=1, help="With --production: pool_max of their savers.")
    ] = 4,
    config: Annotated[
        Path | None, typer.Option(help="The langgraph.json to examine; else the current folder's.")
    ] = None,
    json: Json = False,
) -> None:
    """Look for what is wrong with the set-up: versions, home, servers, log, langgraph.json.

    Starts nothing and changes nothing. langgraph.json and the code it names are read, not run.
    `--production` asks the servers of PLUMBGRAPH_POSTGRES_URL and PLUMBGRAPH_REDIS_URL about
    rights, tables, pooler, connections in total, TLS, durability, eviction, replicas and clocks,
    and looks for the managed policy. Exit code 1 when there is a fault.
    """
    out = Out(json=json)
    found = list(_examine(Fleet(workers, pool) if production else None, config))
    faults = sum(each.verdict == "fault" for each in found)
    told = {"faults": faults, "checks": [asdict(each) for each in found]}
    out.show(told, lambda: _show(out, found))
    if faults:
        raise typer.Exit(FAILED)


def _examine(fleet: Fleet | None, config: Path | None) -> Iterator[Check]:
    from plumbgraph.settings import Settings  # noqa: PLC0415 - quick start

    yield from checks.versions()
    try:
        settings = Settings.load()
    except ValueError as error:
        yield Check("fault", "settings", str(error), "", "settings.invalid")
        return
    if settings.postgres_url is None or settings.redis_url is None:
        yield from checks.guarded("programs", checks.programs)
        yield from checks.guarded("home", lambda: checks.home(settings))
        yield from checks.guarded("servers", lambda: checks.embedded(settings))
    log = settings.log or settings.home / "events.jsonl"
    yield from checks.guarded("event log", lambda: checks.event_log(log))
    yield from _config(config)
    if fleet is not None:
        from plumbgraph.cli.production import production  # noqa: PLC0415 - quick start

        yield from production(settings, fleet)


def _config(path: Path | None) -> Iterator[Check]:
    from plumbgraph.cli.config_traps import examine  # noqa: PLC0415 - quick start

    place = path or Path("langgraph.json")
    if path is not None or place.exists():
        yield from examine(place)


def _show(out: Out, found: list[Check]) -> None:
    width = max(len(each.topic) for each in found)
    for each in found:
        mark, style = _MARKS.get(each.verdict, _FAULT)
        out.text(f"{mark} ", style=style, end="")
        out.text(f"{each.topic:<{width}}  {each.text}")
        if each.hint:
            out.text(f"{'':<{width + 4}}{each.hint}", style="dim")
    counts = Counter(each.verdict for each in found)
    said = ", ".join(f"{counts[kind]} {kind}s" for kind in ("fault", "warning", "note"))
    out.text()
    out.text(said, style="bold red" if counts["fault"] else "bold green")
