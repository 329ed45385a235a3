"""The one process that owns a home's servers: starts them, heals them, stops them when unused.

Run by `servers.up()` as `python -m plumbgraph.servers.supervisor HOME REPORT_FD` with a `Launch`
on standard input. It imports the standard library only and has a single thread, because the
kernel ties a child's death signal to the thread that started it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from plumbgraph.errors import PlumbError, ServerStartFailed
from plumbgraph.servers import identity, locks
from plumbgraph.servers.home import Layout, unwritable
from plumbgraph.servers.postgres import Postgres
from plumbgraph.servers.service import Service, Stopped
from plumbgraph.servers.valkey import Valkey
from plumbgraph.servers.values import Idle, Launch, State

if TYPE_CHECKING:
    from plumbgraph.servers.values import Kind

_TICK_S = 0.25
_OWNER_S = 0.5
_RESTARTS = 5
_RESTARTS_WITHIN_S = 60.0
_MAKERS: dict[Kind, type[Service]] = {"valkey": Valkey, "postgres": Postgres}


class Supervisor:
    """Owns the servers of one home for as long as it lives."""

    def __init__(self, layout: Layout, launch: Launch, report: int) -> None:
        self.layout = layout
        self.launch = launch
        self.report = report
        self.lease = locks.opened(layout.lease)
        self.ready = locks.opened(layout.ready)
        self.services: dict[Kind, Service] = {}
        self.identity: identity.Identity | None = None
        self.stopping = False
        self._deaths: list[float] = []
        self._idle_since: float | None = None
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)

    def run(self) -> int:
        """Serve until nobody needs it; the exit code."""
        self._listen()
        try:
            self._begin()
            self._serve()
        except Stopped:
            pass
        except (PlumbError, OSError) as fault:
            self._end("failed", fault)
            return 1
        self._end("stopped")
        return 0

    def _listen(self) -> None:
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        for number in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

    def _ask_to_stop(self, *_: object) -> None:
        self.stopping = True

    def _begin(self) -> None:
        self.identity = identity.choose(self.layout, euid=os.geteuid())
        if self.launch.tcp:
            _passwords(self.layout)
        for kind in _MAKERS:
            self.layout.wanted(kind).unlink(missing_ok=True)
        self._start(self.launch.want)
        locks.wait(self.ready)
        self._tell({"ready": True})

    def _start(self, kinds: tuple[Kind, ...]) -> None:
        """Start servers side by side: Valkey comes up while `initdb` still works."""
        assert self.identity is not None
        fresh = []
        for kind in sorted(kinds, reverse=True):
            service = _MAKERS[kind](self.layout, self.identity, self.launch)
            self.services[kind] = service
            service.prepare()
            service.start()
            fresh.append(service)
        for service in fresh:
            service.until_ready(asked_to_stop=lambda: self.stopping)
            service.settle()
        self._publish("ready")

    def _publish(self, phase: Literal["ready", "failed", "stopped"], **error: str) -> None:
        chosen = self.identity
        running = {str(kind): one.running for kind, one in self.services.items() if one.running}
        State(
            pid=os.getpid(),
            phase=phase,
            mode=chosen.mode if chosen else "unknown",
            place=str(chosen.place if chosen else self.layout.root),
            tune=self.launch.tune,
            tcp=self.launch.tcp,
            postgres_settings=self.launch.postgres_settings,
            valkey_settings=self.launch.valkey_settings,
            servers=running,
            error=error or None,
        ).write(self.layout.state)

    def _tell(self, line: dict[str, Any]) -> None:
        """Tell the process that started us; it may be gone."""
        report, self.report = self.report, -1
        if report >= 0:
            with suppress(OSError):
                os.write(report, json.dumps(line).encode() + b"\n")
            os.close(report)

    def _serve(self) -> None:
        while not self.stopping and not self._unused():
            select.select([self._woken], [], [], _TICK_S)
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
            self._add_wanted()
            self._heal()

    def _unused(self) -> bool:
        """Whether the idle grace has passed without a user; then keeps newcomers waiting."""
        idle = Idle.read(self.layout.idle)
        if idle.keep or not locks.take(self.lease):
            self._idle_since = None
            return False
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        if now - self._idle_since >= idle.grace_s:
            return True
        locks.release(self.lease)
        return False

    def _add_wanted(self) -> None:
        for kind in _MAKERS:
            path = self.layout.wanted(kind)
            if not path.exists():
                continue
            asked = Launch.from_json(path.read_text())
            path.unlink(missing_ok=True)
            if kind not in self.services:
                binaries = {**asked.binaries, **self.launch.binaries}
                self.launch = replace(self.launch, binaries=binaries)
                self._start((kind,))

    def _heal(self) -> None:
        for service in self.services.values():
            if not service.alive():
                self._restart(service)

    def _restart(self, service: Service) -> None:
        """Start a dead server again, ever later; a server that keeps dying is a failure."""
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < _RESTARTS_WITHIN_S] + [now]
        service.running = None
        if len(self._deaths) > _RESTARTS:
            raise service.failed(f"died {len(self._deaths)} times within a minute")
        self._publish("ready")
        time.sleep(0.05 * 2 ** (len(self._deaths) - 1) if len(self._deaths) > 1 else 0)
        service.start()
        service.until_ready(asked_to_stop=lambda: self.stopping)
        self._publish("ready")

    def _end(self, phase: Literal["failed", "stopped"], fault: Exception | None = None) -> None:
        """Stop what runs, say why, and let go; the locks fall with the process."""
        for service in self.services.values():
            service.stop()
        for service in self.services.values():
            service.join()
            with suppress(OSError):
                if service.sockets.parent != service.identity.place:
                    service.sockets.rmdir()
        told = _told(fault) if fault else {}
        with suppress(OSError):
            self._publish(phase, **told)
        self._tell({"failed": told} if fault else {"stopped": True})


def _told(fault: Exception) -> dict[str, str]:
    if isinstance(fault, OSError) and not isinstance(fault, PlumbError):
        fault = unwritable(Path(str(fault.filename or "?")), fault)
    if isinstance(fault, PlumbError):
        return {"type": type(fault).__name__, "message": fault.message, "hint": fault.hint}
    return {"type": "ServerStartFailed", "message": str(fault), "hint": ""}


def _passwords(layout: Layout) -> None:
    """Ports and passwords, made once; the file is readable by its owner only from the start."""
    if layout.passwords.exists():
        return
    import secrets  # noqa: PLC0415 - only for TCP, slow to load

    words = {
        "postgres": secrets.token_urlsafe(24),
        "valkey": secrets.token_urlsafe(24),
        "postgres_port": str(_free_port()),
        "valkey_port": str(_free_port()),
    }
    fd = os.open(layout.passwords, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as sink:
        json.dump(words, sink)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def owner_lock(layout: Layout) -> int | None:
    """The lock of the one supervisor; None when another has it for longer than a look."""
    fd = locks.opened(layout.owner)
    deadline = time.monotonic() + _OWNER_S
    while not locks.take(fd):
        if time.monotonic() > deadline:
            os.close(fd)
            return None
        time.sleep(0.005)
    return fd


def main(argv: list[str]) -> int:
    """Leave the starter's process tree, become the owner or give way, then serve."""
    layout, report = Layout(Path(argv[0])), int(argv[1])
    launch = Launch.from_json(sys.stdin.read())
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    owner = owner_lock(layout)
    if owner is None:
        os.write(report, b'{"lost": true}\n')
        return 0
    try:
        return Supervisor(layout, launch, report).run()
    except ServerStartFailed:
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
