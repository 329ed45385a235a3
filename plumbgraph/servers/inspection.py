"""What runs in a home, read without changing anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from plumbgraph.servers import locks, process, wire
from plumbgraph.servers.home import Layout, found, size
from plumbgraph.servers.values import Idle, Running, ServerStatus, State, Status

if TYPE_CHECKING:
    from plumbgraph.servers.values import Kind

_KINDS: tuple[Kind, ...] = ("postgres", "valkey")


def status(home: str | os.PathLike[str] | None = None) -> Status:
    """The supervisor, servers, leases, orphans and sizes of a home; starts nothing.

    Raises:
        SettingsError: The home may not be looked at.
    """
    if home is None:
        from plumbgraph.settings import Settings  # noqa: PLC0415 - the supervisor does without

        home = Settings.load().home
    layout = Layout(Path(os.path.abspath(home)))  # noqa: PTH100 - links stay
    known = found(layout)
    state = State.read(layout.state)
    alive, ready = locks.held(layout.owner), locks.held(layout.ready)
    place = layout.place() if known else None
    idle = Idle.read(layout.idle)
    return Status(
        home=layout.home,
        phase=_phase(state, alive=alive, ready=ready),
        pid=state.pid if state and alive else None,
        mode=state.mode if state else None,
        place=place,
        tune=state.tune if state else None,
        keep=idle.keep,
        grace_s=idle.grace_s,
        servers=tuple(
            _server(layout, one) for one in (state.servers.values() if state and ready else ())
        ),
        leases=tuple(pid for pid in locks.holders(layout.lease) if pid != 0),
        orphans=tuple(sorted({pid for pids in orphans(layout).values() for pid in pids})),
        data_bytes=size(place) if place else 0,
        error=str(state.error["message"]) if state and state.error and not alive else None,
    )


def _phase(state: State | None, *, alive: bool, ready: bool) -> str:
    if ready:
        return "ready"
    if alive:
        return "starting"
    if state is None:
        return "never"
    return "stopped" if state.phase == "ready" else state.phase


def _server(layout: Layout, one: Running) -> ServerStatus:
    return ServerStatus(
        kind=one.kind,
        pid=one.pid,
        version=one.version,
        socket=one.socket,
        binary=one.binary,
        source=one.source,
        answers=answers(one.kind, one.socket),
        data_bytes=size(layout.place() / one.kind),
    )


def answers(kind: Kind, socket: str) -> bool:
    """Whether a server replies to a question on its socket; a demand for a password is a reply."""
    try:
        if kind == "postgres":
            wire.postgres(socket, "SELECT 1")
        else:
            wire.redis(socket, ("PING",))
    except wire.NotReady as fault:
        return str(fault).startswith("NOAUTH")
    return True


def orphans(layout: Layout) -> dict[str, list[int]]:
    """The server processes of a home that no supervisor owns, by kind."""
    if not layout.root.exists() or locks.held(layout.owner):
        return {}
    if not any(locks.held(layout.life(kind)) for kind in _KINDS):
        return {}
    return process.owned({kind: str(layout.place() / kind) for kind in _KINDS})
