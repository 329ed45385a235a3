"""A PgBouncer in transaction mode before a PostgreSQL, for tests of what a pooler changes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from plumbgraph.errors import ServerStartFailed

_ATTEMPTS = 100
_PAUSE_S = 0.05


@contextmanager
def pgbouncer(url: str, folder: Path, *, pool_size: int = 2, clients: int = 100) -> Iterator[str]:
    """The URL of a PgBouncer with so many server connections before the database of `url`.

    Raises:
        ServerStartFailed: There is no `pgbouncer` on PATH, or it does not start.
    """
    program = shutil.which("pgbouncer")
    if program is None:
        raise ServerStartFailed("There is no pgbouncer.", hint="apt-get install pgbouncer")
    parts = conninfo_to_dict(url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user, name = parts.get("user") or "postgres", parts["dbname"]
    (folder / "users").write_text(f'"{user}" ""\n')
    host = f"host={parts['host']} port={parts.get('port') or 5432}"
    (folder / "ini").write_text(
        f"[databases]\n{name} = {host} dbname={name} user={user}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {folder / 'users'}\npool_mode = transaction\n"
        f"default_pool_size = {pool_size}\nmax_client_conn = {clients}\n"
        f"server_login_retry = 1\nlogfile = {folder / 'log'}\n"
    )
    command = [program, str(folder / "ini")]
    if os.getuid() == 0:  # PgBouncer refuses to run as root
        command = ["unshare", "--user", "--map-user=1000", *command]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - found on PATH
    try:
        through = f"postgresql://{user}@127.0.0.1:{port}/{name}"
        _wait(through, folder / "log")
        yield through
    finally:
        child.terminate()
        child.wait(10)


def _wait(url: str, log: Path) -> None:
    for _ in range(_ATTEMPTS):
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(_PAUSE_S)
        else:
            return
    said = log.read_text() if log.exists() else ""
    raise ServerStartFailed(f"PgBouncer did not start. {said[-500:]}")
