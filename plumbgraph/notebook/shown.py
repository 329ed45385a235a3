"""`show`: any of plumbgraph's values as HTML, also those that are plain dataclasses or lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from plumbgraph.html import Safe, facts, table, text

_CHARS = 300
_COLUMNS = 8


class Shown:
    """HTML that a notebook displays; `str()` of it is the HTML."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html

    def __str__(self) -> str:
        return self._html


def show(value: Any) -> Shown:
    """A value as a table: a fact, a decision, a hit, a list of versions or changes, a report.

    What has `_repr_html_` of its own is shown by that; everything is escaped.
    """
    own = getattr(value, "_repr_html_", None)
    if callable(own):
        return Shown(str(own()))
    if is_dataclass(value) and not isinstance(value, type):
        return Shown(facts({name: _cell(each) for name, each in _named(value).items()}))
    if isinstance(value, Mapping):
        return Shown(facts({str(name): _cell(each) for name, each in value.items()}))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Shown(_rows(value))
    return Shown(text(_short(value)))


def _rows(values: Sequence[Any]) -> Safe:
    rows = [_named(value) for value in values]
    if not rows or any(not row for row in rows):
        return table(["#", "value"], [(index, _short(v)) for index, v in enumerate(values)])
    columns = [name for name in rows[0] if any(row.get(name) not in (None, (), "") for row in rows)]
    kept = columns[:_COLUMNS]
    return table(kept, [[_cell(row.get(name)) for name in kept] for row in rows])


def _named(value: Any) -> dict[str, Any]:
    if is_dataclass(value) and not isinstance(value, type):
        told = {each.name: getattr(value, each.name) for each in fields(value)}
        kind = getattr(value, "kind", None)
        return {"kind": kind, **told} if isinstance(kind, str) else told
    return dict(value) if isinstance(value, Mapping) else {}


def _cell(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        if all(is_dataclass(each) for each in value):
            return _rows(value)
        return _short(", ".join(map(str, value)))
    return None if value is None else _short(value)


def _short(value: Any) -> str:
    line = str(value)
    return line if len(line) <= _CHARS else f"{line[: _CHARS - 1]}…"
