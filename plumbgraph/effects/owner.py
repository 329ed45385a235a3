"""Who runs an effect: this process by a name that no other has, and whether another still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path

GONE_AFTER_S = 30.0
"""Seconds without a heartbeat after which an owner on another machine counts as gone."""

BEAT_S = 5.0
"""Seconds between heartbeats of a running effect."""


def me() -> str:
    """This process: machine, boot, process namespace, process id and start time."""
    return _me


def lives(owner: str, quiet_s: float) -> bool:
    """Whether the process that recorded an intent may still be at it.

    Certain for a process of this machine; else a heartbeat younger than half a minute counts.

    Args:
        owner: What `me` said there.
        quiet_s: Seconds since its last heartbeat, by the database's clock.
    """
    place, pid, started = owner.rsplit(":", 2)
    if place == _place() and pid.isdigit() and started:
        return _started(int(pid)) == started
    return quiet_s < GONE_AFTER_S


def _place() -> str:
    boot = _read("/proc/sys/kernel/random/boot_id")
    try:
        names = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - not a file's path
    except OSError:
        names = ""
    return f"{socket.gethostname()}:{boot}:{names.strip('pid:[]')}"


def _started(pid: int) -> str:
    # Fields after the command's name, which may hold anything, even parentheses and spaces.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    zombie = bool(fields) and fields[0] in {"Z", "X"}
    return fields[19] if len(fields) > 19 and not zombie else ""  # noqa: PLR2004 - proc(5)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _name_again() -> None:
    global _me  # noqa: PLW0603 - a fork is another process
    _me = f"{_place()}:{os.getpid()}:{_started(os.getpid())}"


# Read once, here, so that no running loop ever waits for it.
_me = ""
_name_again()
os.register_at_fork(after_in_child=_name_again)
