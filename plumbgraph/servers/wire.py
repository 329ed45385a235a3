"""Just enough of both protocols to ask a server on a Unix socket a real question.

The supervisor uses it, so that it stays a few megabytes without a database driver.
"""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT_S = 5.0
_PROTOCOL = 196608


class NotReady(Exception):
    """The server does not answer yet, or answered with a fault."""


def _connected(path: str) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(_TIMEOUT_S)
    try:
        link.connect(path)
    except OSError as fault:
        link.close()
        raise NotReady(f"{path}: {fault.strerror or fault}") from fault
    return link


def redis(path: str, *commands: tuple[str, ...]) -> list[str]:
    """The replies of a Redis or Valkey server: simple strings, bulks and integers as text."""
    asked = b"".join(
        b"*%d\r\n" % len(command)
        + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in command)
        for command in commands
    )
    with closing(_connected(path)) as link, link.makefile("rb") as stream:
        try:
            link.sendall(asked)
            return [_reply(stream.readline(), stream.read) for _ in commands]
        except OSError as fault:
            raise NotReady(f"{path}: {fault}") from fault


def _reply(line: bytes, read: Callable[[int], bytes]) -> str:
    mark, rest = line[:1], line[1:].strip().decode("utf-8", "replace")
    if mark in {b"+", b":"}:
        return rest
    if mark == b"$":
        return _whole(read, int(rest) + 2)[:-2].decode("utf-8", "replace")
    raise NotReady(rest or "the server closed the connection")


def postgres(path: str, *queries: str, database: str = "postgres") -> list[list[tuple[str, ...]]]:
    """The rows of each query, run one by one as user `postgres` over a trusted Unix socket."""
    hello = b"user\0postgres\0database\0" + database.encode() + b"\0\0"
    with closing(_connected(path)) as link, link.makefile("rb") as stream:
        try:
            link.sendall(struct.pack("!ii", 8 + len(hello), _PROTOCOL) + hello)
            _until_idle(stream.read)
            rows = []
            for query in queries:
                text = query.encode() + b"\0"
                link.sendall(b"Q" + struct.pack("!i", 4 + len(text)) + text)
                rows.append(_until_idle(stream.read))
            link.sendall(b"X" + struct.pack("!i", 4))
        except OSError as fault:
            raise NotReady(f"{path}: {fault}") from fault
        return rows


def _until_idle(read: Callable[[int], bytes]) -> list[tuple[str, ...]]:
    """Rows up to ReadyForQuery."""
    rows: list[tuple[str, ...]] = []
    while True:
        head = _whole(read, 5)
        body = _whole(read, struct.unpack("!i", head[1:])[0] - 4)
        kind = head[:1]
        if kind == b"Z":
            return rows
        if kind == b"E":
            fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0")}
            raise NotReady(fields.get(b"M", "unknown fault"))
        if kind == b"R" and body[:4] != b"\0\0\0\0":
            raise NotReady("the server asks for a password on its Unix socket")
        if kind == b"D":
            rows.append(_row(body))


def _whole(read: Callable[[int], bytes], size: int) -> bytes:
    got = read(size)
    if len(got) < size:
        raise NotReady("the server closed the connection")
    return got


def _row(body: bytes) -> tuple[str, ...]:
    (count,), at, values = struct.unpack("!h", body[:2]), 2, []
    for _ in range(count):
        (size,) = struct.unpack("!i", body[at : at + 4])
        at += 4
        values.append(body[at : at + size].decode() if size >= 0 else "")
        at += max(size, 0)
    return tuple(values)
