"""A PostgreSQL that crashes and recovers while a run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import psycopg

from plumbgraph import servers
from plumbgraph.errors import SettingsError
from plumbgraph.settings import Settings
from plumbgraph.testing.crash.values import RESTART, Setting

Restart: TypeAlias = Callable[[], None]
_BACK_S = 60.0
_LOOK_S = 0.02


@contextmanager
def restartable(setting: Setting, home: Path) -> Iterator[tuple[Setting, Restart | None]]:
    """The setting to test with, and what restarts its server if a point asks for that.

    Without a command of the user's, a server of the test's own is made to crash: one of its
    processes gets SIGKILL, so that PostgreSQL ends all others and recovers from its log.
    """
    if RESTART not in setting.points:
        yield setting, None
    elif setting.restart:
        yield setting, lambda: _commanded(setting.restart, setting.database)
    else:
        told = Settings.load(home=str(home), postgres_url=None, redis_url=None)
        try:
            with servers.up(home, settings=told) as up:
                url = up.postgres_url
                yield replace(setting, database=url), lambda: _crashed(home, url)
        finally:
            servers.down(home)


def _commanded(command: str, url: str) -> None:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - the user's own command
    if done.returncode:
        raise SettingsError(f"{command!r} failed: {(done.stderr or done.stdout)[-500:]}")
    _until_back(url)


def _crashed(home: Path, url: str) -> None:
    found = next(one for one in servers.status(home).servers if one.kind == "postgres")
    if found.pid is None:
        raise SettingsError("The test's own PostgreSQL does not run.")
    os.kill(_child(found.pid), signal.SIGKILL)
    _until_back(url)


def _child(parent: int) -> int:
    """One of the server's processes: its background writer, by preference."""
    found: dict[str, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if int(fields[1]) == parent and words.startswith("postgres:"):
            found[words] = int(entry.name)
    if not found:
        raise SettingsError(f"PostgreSQL {parent} has no processes that can be seen.")
    return next((pid for words, pid in found.items() if "writer" in words), min(found.values()))


def _until_back(url: str) -> None:
    until = time.monotonic() + _BACK_S
    while True:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK_S)
        else:
            return
