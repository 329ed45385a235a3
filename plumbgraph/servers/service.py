"""What PostgreSQL and Valkey are to the supervisor: a command line, a question, a way to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from plumbgraph.errors import ServerStartFailed
from plumbgraph.servers import process
from plumbgraph.servers.home import own_folder, socket_folder, unwritable
from plumbgraph.servers.identity import NOBODY
from plumbgraph.servers.wire import NotReady

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plumbgraph.servers.home import Layout
    from plumbgraph.servers.identity import Identity
    from plumbgraph.servers.values import Binary, Kind, Launch, Running

_PAUSE_S = 0.004
_STOP_S = 10.0


class Stopped(Exception):
    """The supervisor was asked to stop while it waited."""


class Service(ABC):
    """One server: prepared once, started any number of times."""

    kind: ClassVar[Kind]
    stops_by: ClassVar[signal.Signals]
    gives_up_by: ClassVar[signal.Signals]

    def __init__(self, layout: Layout, identity: Identity, launch: Launch) -> None:
        self.layout = layout
        self.identity = identity
        self.launch = launch
        self.binary: Binary = launch.binaries[self.kind]
        self.data: Path = identity.place / self.kind
        self.sockets: Path = socket_folder(identity.place, euid=os.geteuid())
        self.log: Path = layout.log(self.kind)
        self.child: subprocess.Popen[bytes] | None = None
        self.running: Running | None = None
        self._log_start = 0

    @abstractmethod
    def prepare(self) -> None:
        """Make what must be there before the first start."""

    @abstractmethod
    def argv(self) -> list[str]:
        """The command line."""

    @abstractmethod
    def ask(self) -> Running:
        """Put a real question to the server; raises NotReady until it answers."""

    @abstractmethod
    def needle(self) -> str:
        """The path by which a process is recognized as this server."""

    def config(self) -> str | None:
        """What the server reads from its standard input."""
        return None

    def settle(self) -> None:  # noqa: B027 - most servers need nothing
        """What is left to do once the server answers for the first time."""

    def folders(self) -> None:
        """Make the data's and the sockets' folders, owned by the servers' user."""
        nobody = (NOBODY,) if self.identity.mode == "uid 65534" else ()
        for path in (self.data, self.sockets):
            try:
                fresh = not path.exists()
                own_folder(path, owners=(os.geteuid(), *nobody))
                if fresh:
                    self.identity.hand_over(path)
            except OSError as fault:
                raise unwritable(path, fault) from fault

    def start(self, *, patience_s: float = 3.0) -> None:
        """Start the server, after whatever an earlier supervisor left behind has ended."""
        life = process.take_life(
            self.layout.life(self.kind),
            needle=lambda: process.owned({self.kind: self.needle()})[self.kind],
            by=self.stops_by,
            patience_s=patience_s,
        )
        try:
            self.clear()
            self._log_start = self.log.stat().st_size if self.log.exists() else 0
            self.child = process.spawn(
                self.argv(),
                identity=self.identity,
                log=self.log,
                dies_by=self.stops_by,
                life=life,
                stdin=self.config(),
            )
        except OSError as fault:
            raise ServerStartFailed(
                f"{self.kind} ({self.binary.path}) could not be started: {fault}."
            ) from fault
        finally:
            os.close(life)

    def clear(self) -> None:  # noqa: B027 - most servers need nothing
        """Remove marks of a dead server, now that the life lock says it is gone."""

    def until_ready(self, *, asked_to_stop: Callable[[], bool]) -> Running:
        """Wait for the first true answer.

        Raises:
            ServerStartFailed: The server ended, or did not answer in time; shows its log's tail.
            Stopped: The supervisor is to stop.
        """
        deadline = time.monotonic() + self.launch.timeout_s
        last = "no answer"
        while time.monotonic() < deadline:
            if asked_to_stop():
                raise Stopped
            if not self.alive():
                code = self.child.returncode if self.child else None
                raise self.failed(f"ended at once with code {code}")
            try:
                self.running = self.ask()
            except NotReady as fault:
                last = str(fault)
                time.sleep(_PAUSE_S)
            else:
                return self.running
        raise self.failed(f"did not answer within {self.launch.timeout_s:g} s: {last}")

    def failed(self, what: str) -> ServerStartFailed:
        """The error for a server that did not come up, with what it said."""
        said = process.tail(self.log, since=self._log_start)
        full = "No space left on device" in said
        return ServerStartFailed(
            f"{self.kind} {what}. Its log {str(self.log)!r} ends with:\n{said or '(nothing)'}\n",
            hint="Free some space, or set PLUMBGRAPH_HOME to a folder on another disk."
            if full
            else None,
            server=self.kind,
            log=str(self.log),
        )

    def alive(self) -> bool:
        """Whether the started process still runs."""
        return self.child is not None and self.child.poll() is None

    def stop(self) -> None:
        """Ask the server to stop, without waiting; what ran stays on record."""
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(self.stops_by)

    def join(self) -> None:
        """Wait until the server has stopped, ever less politely."""
        if self.child is None:
            return
        for number in (self.gives_up_by, signal.SIGKILL):
            with suppress(subprocess.TimeoutExpired):
                self.child.wait(_STOP_S)
                return
            self.child.send_signal(number)
        self.child.wait()
