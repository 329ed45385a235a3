"""`servers.up()` and `servers.down()`: attach to a home's servers, start and stop them."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from plumbgraph import errors
from plumbgraph.errors import ServerStartFailed, SettingsError
from plumbgraph.servers import locks, process
from plumbgraph.servers.binaries import find_postgres, find_valkey
from plumbgraph.servers.home import DATABASE, Layout, data_major, found, prepare
from plumbgraph.servers.inspection import answers, orphans, status
from plumbgraph.servers.values import (
    Binary,
    Endpoints,
    Idle,
    Kind,
    Launch,
    State,
    Status,
    Tune,
    write_whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plumbgraph.settings import Settings

_log = logging.getLogger("plumbgraph.servers")
_KINDS: tuple[Kind, ...] = ("postgres", "valkey")
_PAUSE_S = 0.005
_NAME = re.compile(r"[a-z][a-z0-9_.-]*", re.IGNORECASE)


def up(
    home: str | os.PathLike[str] | None = None,
    *,
    keep: bool = False,
    grace_s: float | None = None,
    tune: Tune = "safe",
    tcp: bool = False,
    postgres_settings: Mapping[str, str] | None = None,
    valkey_settings: Mapping[str, str] | None = None,
    postgres_bin: str | os.PathLike[str] | None = None,
    valkey_bin: str | os.PathLike[str] | None = None,
    timeout_s: float = 60.0,
    settings: Settings | None = None,
) -> Endpoints:
    """URLs of a running PostgreSQL and Valkey, which stay until the last user is gone.

    A server named by `PLUMBGRAPH_POSTGRES_URL` or `PLUMBGRAPH_REDIS_URL` is asked one question
    and used as it is. The others are attached to when they run in this home, else started from
    the installed wheels or the system's programs; never replaced by something lesser.

    Args:
        home: Folder for the data; else `PLUMBGRAPH_HOME`, else the user's data folder.
        keep: Let the servers stay without a user until `servers.down()`.
        grace_s: Seconds they stay without a user; 5 unless an earlier caller said otherwise.
        tune: `"test"` gives up durability for speed (no fsync); never for data of worth.
        tcp: Listen on 127.0.0.1 too, with generated passwords kept in a file of mode 0600.
        postgres_settings: More settings for PostgreSQL, by name.
        valkey_settings: More settings for Valkey, by name.
        postgres_bin: Folder of `initdb` and `postgres` to use instead of those found.
        valkey_bin: A `valkey-server` or `redis-server` to use instead of the one found.
        timeout_s: How long a start may take; a crash recovery counts.
        settings: Instead of the environment's.

    Raises:
        SettingsError: An unusable argument, or servers already run here with other options.
        ServerStartFailed: A server could not be started; the message shows its log's end.
        StoreUnavailable: A server given by URL does not answer.
    """
    launch = Launch(
        want=(),
        binaries=_given(postgres_bin, valkey_bin),
        tune=_one_of(tune),
        tcp=tcp,
        postgres_settings=_named(postgres_settings, "postgres_settings"),
        valkey_settings=_named(valkey_settings, "valkey_settings"),
        timeout_s=timeout_s,
    )
    return _resolved(home, settings, launch, keep=keep, grace_s=grace_s)


def _resolved(
    home: str | os.PathLike[str] | None,
    settings: Settings | None,
    launch: Launch,
    *,
    keep: bool,
    grace_s: float | None,
) -> Endpoints:
    """Servers named by URL first, the embedded ones for what is left."""
    from plumbgraph.servers import external  # noqa: PLC0415 - brings in pydantic

    told = settings or external.settings(home)
    given = external.ask(told)
    want: tuple[Kind, ...] = tuple(kind for kind in _KINDS if kind not in given)
    if not want:
        return external.only(told, given)
    if sys.platform == "win32":
        raise ServerStartFailed("Embedded servers need Linux or macOS.")
    layout = Layout(_absolute(home) if home is not None else told.home)
    prepare(layout)
    running = _attached(layout, replace(launch, want=want), keep=keep, grace_s=grace_s)
    return external.merged(running, told, given)


def _absolute(home: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(home))  # noqa: PTH100 - resolve() would follow links


def down(home: str | os.PathLike[str] | None = None, *, timeout_s: float = 30.0) -> Status:
    """What is left after stopping the servers of a home, also when they are in use.

    Orphans of an earlier supervisor are stopped too. Stopping what does not run is no error.

    Raises:
        ServerStartFailed: They did not stop in time.
    """
    from plumbgraph.servers import external  # noqa: PLC0415 - brings in pydantic

    layout = Layout(_absolute(home) if home is not None else external.settings().home)
    if not found(layout):
        return status(layout.home)
    if Idle.read(layout.idle).keep:
        replace(Idle.read(layout.idle), keep=False).write(layout.idle)
    deadline, asked = time.monotonic() + timeout_s, False
    while locks.held(layout.owner):
        if not asked:
            asked = process.send(_owners(layout), signal.SIGTERM)
        if time.monotonic() > deadline:
            raise ServerStartFailed(f"The servers of {str(layout.home)!r} did not stop in time.")
        time.sleep(_PAUSE_S)
    _end_orphans(layout, deadline)
    return status(layout.home)


def _owners(layout: Layout) -> list[int]:
    told = locks.holders(layout.owner)
    state = State.read(layout.state)
    return list(told) or ([state.pid] if state else [])


def _end_orphans(layout: Layout, deadline: float) -> None:
    stops = {"postgres": signal.SIGINT, "valkey": signal.SIGTERM}
    for kind, number in stops.items():
        process.send(orphans(layout).get(kind, []), number)
    while any(orphans(layout).values()) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)


def _one_of(tune: Tune) -> Tune:
    if tune not in {"safe", "test"}:
        raise SettingsError(f"tune={tune!r} is unknown.", hint='Use "safe" or "test".')
    return tune


def _named(given: Mapping[str, str] | None, argument: str) -> dict[str, str]:
    settings = {str(name): str(value) for name, value in (given or {}).items()}
    for name, value in settings.items():
        if not _NAME.fullmatch(name) or not value.isprintable():
            raise SettingsError(f"{argument} cannot hold {name!r} = {value!r}.")
    return settings


def _given(
    postgres_bin: str | os.PathLike[str] | None, valkey_bin: str | os.PathLike[str] | None
) -> dict[str, Binary]:
    named: dict[str, Binary] = {}
    if postgres_bin is not None:
        named["postgres"] = find_postgres(os.fspath(postgres_bin), data_major=None)
    if valkey_bin is not None:
        named["valkey"] = find_valkey(os.fspath(valkey_bin))
    return named


def _complete(layout: Layout, launch: Launch) -> Launch:
    """The request with every program found; only a start needs them, attaching does not."""
    binaries = dict(launch.binaries)
    if "postgres" in launch.want:
        given = binaries.get("postgres")
        path = given.path if given else None
        binaries["postgres"] = find_postgres(path, data_major=data_major(layout.place()))
    if "valkey" in launch.want and "valkey" not in binaries:
        binaries["valkey"] = find_valkey(None)
    return replace(launch, binaries=binaries)


def _attached(layout: Layout, launch: Launch, *, keep: bool, grace_s: float | None) -> Endpoints:
    """Take a lease first: while it is held, no supervisor decides to go."""
    deadline = time.monotonic() + launch.timeout_s
    lease = locks.opened(layout.lease)
    try:
        while not locks.take(lease, shared=True):  # one that stops keeps newcomers waiting
            _in_time(layout, deadline)
        Idle.read(layout.idle).asked(keep=keep, grace_s=grace_s).write(layout.idle)
        state = _running(layout, launch, deadline)
    except BaseException:
        os.close(lease)
        raise
    return _endpoints(layout, state, lease)


def _in_time(layout: Layout, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise ServerStartFailed(
            f"The servers of {str(layout.home)!r} did not become ready in time.",
            hint=f"See the logs in {str(layout.root / 'log')!r}.",
        )
    time.sleep(_PAUSE_S)


def _running(layout: Layout, launch: Launch, deadline: float) -> State:
    """The state of servers that answer, started here or by another process at the same time."""
    asked = False
    while True:
        if locks.held(layout.ready):
            state = State.read(layout.state)
            if state is not None and _serves(layout, state, launch, asked=asked):
                return state
            asked = False
        elif not locks.held(layout.owner):
            _log.info("starting the servers of %s", layout.home)
            asked = _spawn(layout, _complete(layout, launch))
            continue
        _in_time(layout, deadline)


def _serves(layout: Layout, state: State, launch: Launch, *, asked: bool) -> bool:
    """Whether all wanted servers answer; `asked`: our own supervisor has just asked them."""
    _refuse_other_options(layout, state, launch)
    for kind in launch.want:
        server = state.servers.get(kind)
        if server is None:
            path = layout.wanted(kind)
            if not path.exists():
                write_whole(path, _complete(layout, launch).to_json())
                process.send([state.pid], signal.SIGHUP)
            return False
        if not asked and not answers(kind, server.socket):
            return False
    return True


def _refuse_other_options(layout: Layout, state: State, launch: Launch) -> None:
    running: dict[str, object] = {"tune": state.tune, "tcp": state.tcp}
    asked: dict[str, object] = {"tune": launch.tune}
    if launch.tcp:
        asked["tcp"] = True
    for name in ("postgres_settings", "valkey_settings"):
        if getattr(launch, name):
            running[name], asked[name] = getattr(state, name), getattr(launch, name)
    for kind, binary in launch.binaries.items():
        server = state.servers.get(kind)
        if binary.source == "given" and server is not None:
            running[f"{kind}_bin"], asked[f"{kind}_bin"] = server.binary, binary.path
    differ = [name for name, value in asked.items() if running[name] != value]
    if differ:
        raise SettingsError(
            f"Servers already run in {str(layout.home)!r} with other options: "
            + ", ".join(f"{name}={running[name]!r}, not {asked[name]!r}" for name in differ)
            + ".",
            hint="Use the same options, another home, or run `plumbgraph down` first.",
            options=differ,
        )


def _spawn(layout: Layout, launch: Launch) -> bool:
    """Whether the supervisor started here is ready; giving way to another is no failure."""
    log = layout.log("supervisor")
    since = log.stat().st_size if log.exists() else 0
    read, write = os.pipe()
    try:
        try:
            _run_supervisor(layout, launch, log=log, report=write)
        finally:
            os.close(write)
        word = _word(read, launch.timeout_s)
    finally:
        os.close(read)
    if not word:
        said = process.tail(log, since=since)
        raise ServerStartFailed(f"The supervisor ended without a word. {said}", log=str(log))
    told = json.loads(word)
    if told.get("failed"):
        while locks.held(layout.owner) and not locks.held(layout.ready):
            time.sleep(_PAUSE_S)  # it has stopped its servers and is about to end
        raise _as_error(told["failed"])
    return bool(told.get("ready"))


def _run_supervisor(layout: Layout, launch: Launch, *, log: Path, report: int) -> None:
    """Start it without site packages, which it does not need and would take time to find."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    argv = [sys.executable, "-S", "-m", "plumbgraph.servers.supervisor", str(layout.home)]
    with log.open("ab") as sink:
        subprocess.run(  # noqa: S603 - our own module under our own interpreter
            [*argv, str(report)],
            input=launch.to_json().encode(),
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**os.environ, "PYTHONPATH": path},
            pass_fds=(report,),
            start_new_session=True,
            check=False,
        )


def _word(read: int, timeout_s: float) -> bytes:
    """The one line the supervisor reports; nothing when it died."""
    heard = b""
    while not heard.endswith(b"\n") and select.select([read], [], [], timeout_s + 5)[0]:
        part = os.read(read, 65536)
        if not part:
            break
        heard += part
    return heard


def _as_error(told: Mapping[str, str]) -> errors.PlumbError:
    kind = getattr(errors, told.get("type", ""), ServerStartFailed)
    error: errors.PlumbError = kind(told["message"], hint=told.get("hint") or None)
    return error


def _endpoints(layout: Layout, state: State, lease: int) -> Endpoints:
    words: Mapping[str, str] = {}
    if state.tcp:
        words = json.loads(layout.passwords.read_text())
    urls = {kind: _url(kind, one.socket, words) for kind, one in state.servers.items()}
    versions = {kind: one.version for kind, one in state.servers.items()}
    for one in state.servers.values():
        if one.pgvector:
            versions["pgvector"] = one.pgvector
    return Endpoints(
        postgres_url=urls.get("postgres", ""),
        redis_url=urls.get("valkey", ""),
        home=layout.home,
        pid=state.pid,
        versions=versions,
        sources={kind: one.source for kind, one in state.servers.items()},
        tcp_urls=_tcp_urls(words),
        lease=lease,
    )


def _url(kind: str, socket: str, words: Mapping[str, str]) -> str:
    path = Path(socket)
    if kind == "postgres":
        port = path.name.rpartition(".")[2]
        tail = "" if port == "5432" else f"&port={port}"
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(path.parent), safe='/')}{tail}"
    login = f":{words['valkey']}@" if words else ""
    return f"unix://{login}{quote(str(path))}"


def _tcp_urls(words: Mapping[str, str]) -> dict[str, str]:
    if not words:
        return {}
    return {
        "postgres": f"postgresql://postgres:{words['postgres']}@127.0.0.1:"
        f"{words['postgres_port']}/{DATABASE}",
        "valkey": f"redis://:{words['valkey']}@127.0.0.1:{words['valkey_port']}/0",
    }
