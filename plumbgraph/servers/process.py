"""Start a server so that it dies with its supervisor, and find those that did not."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from plumbgraph.errors import ServerStartFailed
from plumbgraph.servers import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plumbgraph.servers.identity import Identity

_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 4 * 1024 * 1024
_TAIL_BYTES = 1500
_PROGRAMS = ("postgres", "valkey-server", "redis-server")
_PAUSE_S = 0.005
_LEFTOVER_S = 20.0


def dying_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What the child runs before its program, so that the kernel ends it when its parent dies."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return arrange


def environment() -> dict[str, str]:
    """The caller's environment without what would steer a server behind our back."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG", "PLUMBGRAPH_", "PYTHON"))
    }
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def spawn(
    argv: list[str],
    *,
    identity: Identity,
    log: Path,
    dies_by: signal.Signals,
    life: int | None = None,
    stdin: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program with the identity's rights; call it from the main thread only.

    The kernel binds the death signal to the thread that forks. `life` is a lock's descriptor
    that the program and its children keep open.
    """
    _rotate(log)
    with log.open("ab") as sink:
        child = subprocess.Popen(  # noqa: S603 - argv is built from found binaries
            identity.command(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=identity.place,
            env=environment(),
            pass_fds=() if life is None else (life,),
            preexec_fn=dying_with_parent(dies_by),  # noqa: PLW1509 - the supervisor has one thread
            **identity.rights(),
        )
    if stdin is not None and child.stdin is not None:
        with suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(stdin.encode())
    return child


def _rotate(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))


def tail(log: Path, *, since: int = 0) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as source:
            end = source.seek(0, os.SEEK_END)
            source.seek(max(since, end - _TAIL_BYTES) if end > since else max(0, end - _TAIL_BYTES))
            return source.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def owned(needles: Mapping[str, str], *, proc: Path = Path("/proc")) -> dict[str, list[int]]:
    """The server processes whose folder or command line names one of the paths, by its key.

    A name alone is not enough, nor is a folder: somebody's shell may stand in it.
    """
    found: dict[str, list[int]] = {kind: [] for kind in needles}
    for entry in proc.iterdir() if proc.is_dir() else ():
        if not entry.name.isdigit():
            continue
        words = _command(entry)
        if not words or not any(name in words[0] for name in _PROGRAMS):
            continue
        places = {_folder(entry), *words}
        for kind, needle in needles.items():
            if needle in places:
                found[kind].append(int(entry.name))
    return found


def _command(entry: Path) -> list[str]:
    try:
        return (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def _folder(entry: Path) -> str:
    try:
        return str((entry / "cwd").readlink())
    except OSError:
        return ""


def take_life(
    path: Path, *, needle: Callable[[], list[int]], by: signal.Signals, patience_s: float
) -> int:
    """The lock that a server's processes hold; waits for, then ends, what an earlier one left.

    Raises:
        ServerStartFailed: A process that cannot be ended still holds the folder.
    """
    fd = locks.opened(path)
    begun, asked, killed = time.monotonic(), False, False
    while not locks.take(fd):
        waited = time.monotonic() - begun
        if not asked and waited > patience_s:
            asked = send(needle(), by)
        if not killed and waited > _LEFTOVER_S / 2:
            killed = send(needle(), signal.SIGKILL)
        if waited > _LEFTOVER_S:
            os.close(fd)
            raise ServerStartFailed(
                f"An earlier server still holds {str(path)!r} and cannot be ended.",
                hint=f"End the processes {needle()} by hand.",
                path=str(path),
            )
        time.sleep(_PAUSE_S)
    return fd


def send(pids: list[int], number: signal.Signals) -> bool:
    """Signal each process that still exists; whether there was one."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return bool(pids)
