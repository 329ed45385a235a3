"""PostgreSQL under the supervisor: made by `initdb`, reached over a socket only we can open."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plumbgraph.errors import ServerStartFailed
from plumbgraph.servers import process, wire
from plumbgraph.servers.home import DATABASE, data_major
from plumbgraph.servers.identity import usable_program
from plumbgraph.servers.service import Service
from plumbgraph.servers.values import Kind, Running

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT = 5432
_BUILTIN_LOCALE_SINCE = 17
_HBA = "local all all trust\n"
_HBA_TCP = "host all all 127.0.0.1/32 scram-sha-256\n"
_BASE = {
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "unix_socket_permissions": "0700",
}
_TEST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres(Service):
    """The record of state: nothing acknowledged is lost, whoever is killed."""

    kind: ClassVar[Kind] = "postgres"
    stops_by: ClassVar[signal.Signals] = signal.SIGINT  # fast; SIGTERM would wait for all clients
    gives_up_by: ClassVar[signal.Signals] = signal.SIGQUIT
    _sync: subprocess.Popen[bytes] | None = None
    _has_database = False

    def program(self, name: str) -> str:
        """A program of this installation, where the servers' user can run it."""
        folder = Path(self.binary.path)
        wheel = self.binary.source.startswith("wheel")
        tree = folder.parent
        found = usable_program(
            self.identity, folder / name, tree=tree, package=tree.parent if wheel else None
        )
        return str(found)

    def needle(self) -> str:
        """PostgreSQL runs in its data folder."""
        return str(self.data)

    def prepare(self) -> None:
        """Make a new cluster in one step: an interrupted `initdb` leaves nothing half done."""
        made = (self.data / "PG_VERSION").exists()
        found = data_major(self.identity.place)
        if made and found != self.binary.major:
            raise ServerStartFailed(
                f"The data folder was made by PostgreSQL {found}, this is {self.binary.major}."
            )
        self.folders()
        if not made:
            self._initdb()
        # Rewritten at each start: it decides who may connect, so it follows the request.
        (self.data / "pg_hba.conf").write_text(_HBA + (_HBA_TCP if self.launch.tcp else ""))

    def _initdb(self) -> None:
        fresh = self.data.with_name("postgres.new")
        if fresh.exists():
            import shutil  # noqa: PLC0415 - only after an interrupted start, slow to load

            shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self.identity.hand_over(fresh)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        argv = [self.program("initdb"), "-D", str(fresh), "-U", "postgres", "-A", "trust"]
        argv += ["-E", "UTF8", "--no-sync", "--no-instructions", *self._locale()]
        made = process.spawn(argv, identity=self.identity, log=self.log, dies_by=signal.SIGTERM)
        if made.wait() != 0:
            raise self.failed(f"could not be set up: initdb ended with code {made.returncode}")
        self.data.rmdir()
        fresh.rename(self.data)
        if self.launch.tune == "safe":
            # Runs beside the first start; `settle` waits for it before anybody may write.
            argv = [self.program("initdb"), "-D", str(self.data), "--sync-only"]
            self._sync = process.spawn(
                argv, identity=self.identity, log=self.log, dies_by=signal.SIGTERM
            )

    def _locale(self) -> list[str]:
        if self.binary.major >= _BUILTIN_LOCALE_SINCE:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C.UTF-8"]

    def clear(self) -> None:
        """Remove the dead postmaster's pid file: its number may belong to another process now."""
        for path in (self.data / "postmaster.pid", self.sockets / f".s.PGSQL.{PORT}.lock"):
            path.unlink(missing_ok=True)

    def argv(self) -> list[str]:
        """The command line; later settings win, so the caller's come before what must hold."""
        quoted = str(self.sockets).replace('"', '""')
        must = {
            "port": str(self._port() or PORT),
            "listen_addresses": "127.0.0.1" if self.launch.tcp else "",
            "unix_socket_directories": f'"{quoted}"',
        }
        tuned = _TEST if self.launch.tune == "test" else {}
        asked = _BASE | tuned | dict(self.launch.postgres_settings) | must
        options = [word for name, value in asked.items() for word in ("-c", f"{name}={value}")]
        return [self.program("postgres"), "-D", str(self.data), *options]

    def _port(self) -> int | None:
        return int(_secrets(self)["postgres_port"]) if self.launch.tcp else None

    def socket(self) -> str:
        """The socket file of this server."""
        return str(self.sockets / f".s.PGSQL.{self._port() or PORT}")

    def ask(self) -> Running:
        """Ask for the versions, and whether our database is there."""
        assert self.child is not None
        (version,), vector, known = wire.postgres(
            self.socket(),
            "SELECT current_setting('server_version')",
            "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'",
            f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'",
        )
        self._has_database = bool(known)
        return Running(
            kind=self.kind,
            pid=self.child.pid,
            version=version[0].split()[0],
            socket=self.socket(),
            binary=self.binary.path,
            source=self.binary.source,
            pgvector=vector[0][0] if vector else None,
            port=self._port(),
        )

    def settle(self) -> None:
        """Make the database, set the password for TCP, and wait until a new cluster is on disk."""
        if not self._has_database:
            wire.postgres(self.socket(), f"CREATE DATABASE {DATABASE}")
        if self.launch.tcp:
            word = _secrets(self)["postgres"]
            wire.postgres(self.socket(), f"ALTER ROLE postgres PASSWORD '{word}'")
        sync, self._sync = self._sync, None
        if sync is not None and sync.wait() != 0:
            raise self.failed(f"could not be written to disk: code {sync.returncode}")


def _secrets(service: Service) -> Mapping[str, str]:
    words: Mapping[str, str] = json.loads(service.layout.passwords.read_text())
    return words
