"""Statements that are sent again and again: parsed once a process, prepared once a connection.

A cursor finds out anew at each call what a statement's placeholders are, once it is longer than
psycopg remembers, and builds several objects to send it. Here the wire's own calls are used, with
the same parameter types as a cursor's, for the kinds of values that hot statements have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, Connection, abc, pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute

from plumbgraph.postgres.statement import Row

AnyConnection: TypeAlias = Connection[Any] | AsyncConnection[Any]
Wire: TypeAlias = Generator[Any, Any, pq.abc.PGresult]

PLAN_CALLS = 250
"""After so many calls a statement is prepared anew: PostgreSQL keeps the plan it made when the
tables were small until it looks at them again, which may be late or never."""

_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%%")
_UNKNOWN, _BOOL, _BYTEA = 0, 16, 17  # type numbers of PostgreSQL
_TEXT, _BINARY = pq.Format.TEXT, pq.Format.BINARY
_SPELL: dict[type, tuple[Callable[[Any], bytes | None], int, int]] = {
    str: (str.encode, _TEXT, _UNKNOWN),
    bytes: (bytes, _BINARY, _BYTEA),
    bool: ({True: b"t", False: b"f"}.__getitem__, _TEXT, _BOOL),
    type(None): (lambda _: None, _TEXT, _UNKNOWN),
}
_numbers = count()
_FINE = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)

Values: TypeAlias = tuple[list[bytes | None], list[int], tuple[int, ...]]
"""What a statement is sent with: values, their formats, their type numbers."""


@dataclass(slots=True)
class _Prepared:
    name: bytes
    left: int = 0


_Statements: TypeAlias = dict[tuple[str, tuple[int, ...]], _Prepared]


@dataclass(slots=True)
class _Known:
    """A connection's prepared statements by text and types, and what reads its results."""

    reader: abc.Transformer
    statements: _Statements = field(default_factory=dict)


_known: WeakKeyDictionary[AnyConnection, _Known] = WeakKeyDictionary()


@lru_cache(maxsize=256)
def parsed(sql: str) -> tuple[bytes, tuple[str, ...]]:
    """The text with numbered placeholders, and their names in order."""
    names: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        if found[1] is None:
            return "%"
        return f"${names.setdefault(found[1], len(names) + 1)}"

    text = _PLACEHOLDER.sub(numbered, sql)
    return text.encode(), tuple(names)


def values_of(names: tuple[str, ...], params: Mapping[str, Any]) -> Values | None:
    """The values as they are sent, or None where one of them is for a cursor to spell."""
    values = [params[name] for name in names]
    found = _spelling(tuple(map(type, values)))
    if found is None:
        return None
    spell, formats, types = found
    return [each(value) for each, value in zip(spell, values, strict=True)], formats, types


@lru_cache(maxsize=256)
def _spelling(
    kinds: tuple[type, ...],
) -> tuple[list[Callable[[Any], bytes | None]], list[int], tuple[int, ...]] | None:
    if not _SPELL.keys() >= set(kinds):
        return None
    found = [_SPELL[kind] for kind in kinds]
    return [s for s, _, _ in found], [f for _, f, _ in found], tuple(t for _, _, t in found)


def exchange(
    connection: AnyConnection, sql: str, params: Mapping[str, Any], *, prepare: bool
) -> Wire | None:
    """What sends a statement and gets its result; None where only a cursor can.

    It is run by the connection's own `wait`.
    """
    text, names = parsed(sql)
    values = values_of(names, params)
    if values is None:
        return None
    known = _known.get(connection)
    if known is None:
        if connection.info.encoding != "utf-8":
            return None
        known = _known[connection] = _Known(Transformer(connection))
    return _exchange(connection.pgconn, known.statements if prepare else None, (sql, text), values)


def _exchange(
    wire: pq.abc.PGconn, known: _Statements | None, statement: tuple[str, bytes], sent: Values
) -> Wire:
    values, formats, types = sent
    sql, text = statement
    if known is None:
        wire.send_query_params(text, values, types, formats, _BINARY)
        return _checked((yield from execute(wire))[-1])
    found = known.get((sql, types))
    if found is None or not found.left:
        if found is not None:
            del known[sql, types]  # first, so that whatever fails now is begun anew
            wire.send_query(b"DEALLOCATE " + found.name)
            _checked((yield from execute(wire))[-1])
        name = b"plumb_%d" % next(_numbers)
        wire.send_prepare(name, text, types)
        _checked((yield from execute(wire))[-1])
        found = known[sql, types] = _Prepared(name, PLAN_CALLS)
    found.left -= 1
    wire.send_query_prepared(found.name, values, formats, _BINARY)
    return _checked((yield from execute(wire))[-1])


def _checked(result: pq.abc.PGresult) -> pq.abc.PGresult:
    if result.status not in _FINE:
        raise error_from_result(result)
    return result


def rows_of(connection: AnyConnection, result: pq.abc.PGresult) -> list[Row]:
    """The rows of a binary result."""
    if not result.nfields:
        return []
    reader = _known[connection].reader
    reader.set_pgresult(result)
    rows = reader.load_rows(0, result.ntuples, tuple)
    reader.set_pgresult(None)
    return rows
