"""`plumbgraph up`, `status` and `down`: the embedded PostgreSQL and Valkey."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph.cli.console import OK, UNAVAILABLE, Json, Out

if TYPE_CHECKING:
    from plumbgraph.servers import Endpoints, ServerStatus, Status

app = typer.Typer()

_MIB = 1024 * 1024
_EXPORTS = {"postgres_url": "PLUMBGRAPH_POSTGRES_URL", "redis_url": "PLUMBGRAPH_REDIS_URL"}


@app.command()
def up(
    tcp: Annotated[bool, typer.Option(help="Listen on 127.0.0.1 too, with a password.")] = False,
    json: Json = False,
) -> None:
    """Start the embedded PostgreSQL and Valkey and let them stay until `plumbgraph down`.

    Servers named by PLUMBGRAPH_POSTGRES_URL and PLUMBGRAPH_REDIS_URL are asked whether they are
    there, and nothing is started in their place.
    """
    from plumbgraph import servers  # noqa: PLC0415 - quick start

    out = Out(json=json)
    with out.working("starting the servers"), servers.up(keep=True, tcp=tcp) as endpoints:
        answer = _answer(endpoints)
        out.show(answer, lambda: _tell(out, endpoints))


@app.command()
def status(json: Json = False) -> None:
    """Show the servers of this home: versions, sockets, users, sizes.

    Exit code 3 when they do not run, which is no fault: commands start them as they need them.
    """
    from plumbgraph import servers  # noqa: PLC0415 - quick start

    found = servers.status()
    out = Out(json=json)
    out.show(asdict(found), lambda: _show_status(out, found))
    ready = found.phase == "ready" and all(each.answers for each in found.servers)
    raise typer.Exit(OK if ready else UNAVAILABLE)


@app.command()
def down(json: Json = False) -> None:
    """Stop the embedded servers of this home, also when something uses them."""
    from plumbgraph import servers  # noqa: PLC0415 - quick start

    out = Out(json=json)
    with out.working("stopping the servers"):
        left = servers.down()
    out.show(asdict(left), lambda: out.text(f"stopped; the data stays in {left.home}"))


def _answer(endpoints: Endpoints) -> dict[str, Any]:
    return {
        "postgres_url": endpoints.postgres_url,
        "redis_url": endpoints.redis_url,
        "tcp_urls": dict(endpoints.tcp_urls),
        "home": endpoints.home,
        "supervisor_pid": endpoints.pid,
        "versions": dict(endpoints.versions),
        "sources": dict(endpoints.sources),
    }


def _tell(out: Out, endpoints: Endpoints) -> None:
    for name, version in endpoints.versions.items():
        source = endpoints.sources.get(name)
        out.text(f"{name} {version}" + (f"  ({source})" if source else ""), style="green")
    out.text(f"data in {endpoints.home}" if endpoints.home else "no embedded server is needed")
    out.text()
    for field, variable in _EXPORTS.items():
        out.text(f"export {variable}='{getattr(endpoints, field)}'")
    for name, url in endpoints.tcp_urls.items():
        out.text(f"# over TCP, {name}: {url}")
    out.text()
    out.text("They stay until `plumbgraph down`.", style="dim")


def _show_status(out: Out, found: Status) -> None:
    good = found.phase == "ready"
    phase = "never started" if found.phase == "never" else found.phase
    out.text(f"{phase}: {found.home}", style="bold green" if good else "bold")
    if found.servers:
        rows = [_server_row(each) for each in found.servers]
        out.table(("server", "version", "answers", "pid", "data", "from", "socket"), rows)
        out.text(f"used by {len(found.leases)} processes; rights: {found.mode}")
        stay = "they stay until `plumbgraph down`" if found.keep else "they stop when unused"
        out.text(stay)
    elif found.data_bytes:
        out.text(f"{found.data_bytes / _MIB:.0f} MiB of data; started when something needs them")
    if found.orphans:
        out.text(f"orphans: {', '.join(map(str, found.orphans))}; `plumbgraph down` stops them")
    if found.error:
        out.text(f"last start failed: {found.error}", style="red")


def _server_row(each: ServerStatus) -> tuple[Any, ...]:
    answers = "yes" if each.answers else "NO"
    size = f"{each.data_bytes / _MIB:.0f} MiB"
    return each.kind, each.version, answers, str(each.pid), size, each.source, each.socket
