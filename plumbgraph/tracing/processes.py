"""Which process wrote a line of the log, and whether it still runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from plumbgraph.clock import SYSTEM

HOST = socket.gethostname()
"""Name of this machine: a process number says nothing on another one."""

QUIET_S = 900.0
"""So long a process of another machine may write nothing and still count as running."""

_SLACK_S = 2.0


class Process(NamedTuple):
    """One process for ever: numbers are given again, but never with the same time of birth.

    Attributes:
        born: Clock ticks from the machine's start to the process's; `None` where nobody tells.
    """

    host: str | None
    pid: int
    born: int | None


def process_of(record: Mapping[str, Any]) -> Process:
    """The process that wrote a line; older lines tell its number alone."""
    return Process(record.get("host"), int(record.get("pid") or 0), record.get("born"))


def lives(process: Process, *, first_at: str, last_at: str = "") -> bool:
    """Whether a process still runs.

    Args:
        process: Which.
        first_at: When it wrote its first line; used where its time of birth is not known.
        last_at: When it wrote its last line: all there is to judge by on another machine.
    """
    if process.host is not None and process.host != HOST:
        at = _seconds(last_at or first_at)
        return at is None or SYSTEM.now() - at < QUIET_S
    try:
        os.kill(process.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it runs, and belongs to somebody else
    state, born = _stat(process.pid)
    if born is None:
        return True
    if process.born is not None:
        return state not in "ZX" and born == process.born
    written, boot = _seconds(first_at), _boot_at()
    if written is None or boot is None:
        return state not in "ZX"
    started = boot + born / os.sysconf("SC_CLK_TCK")
    return state not in "ZX" and started <= written + _SLACK_S


@lru_cache(maxsize=4)
def born_of(pid: int) -> int | None:
    """When a process of this machine began, in clock ticks since the machine did."""
    return _stat(pid)[1]


def _stat(pid: int) -> tuple[str, int | None]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return "", None


def _boot_at() -> float | None:
    try:
        lines = Path("/proc/stat").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("btime"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError:
        return None
