"""Escaped fragments of HTML, so that any value can show itself in a notebook or a page.

What is not `Safe` is text and gets escaped, so content from models and tools can stand in a
page; links that could run a script and attributes that are one are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, ClassVar

from plumbgraph.errors import SettingsError

_NAME = re.compile(r"(?!script\b)[A-Za-z][A-Za-z0-9]*", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"(?!on)[A-Za-z][A-Za-z0-9-]*", re.IGNORECASE)
_SCHEME = re.compile(r"[^/?#]*:")
_SCHEMES = re.compile(r"(https?|mailto):", re.IGNORECASE)
_LINKS = ("href", "src", "action", "formaction", "data", "xlink-href")
VOID = ("br", "hr", "img", "meta", "col")


class Safe(str):
    """Text that is HTML already; everything else is escaped when it is put into a fragment."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def text(value: Any) -> Safe:
    """Any value as HTML: escaped unless it is `Safe`; nothing for `None`."""
    if value is None:
        return Safe("")
    return value if isinstance(value, Safe) else Safe(escape(str(value)))


def tag(name: str, *content: Any, **attributes: Any) -> Safe:
    """An element with its content escaped; `class_` stands for `class`, `None` leaves out.

    Raises:
        SettingsError: The element or an attribute is a script, or a link could run one.
    """
    if not _NAME.fullmatch(name) or (name == "style" and not all(map(_is_safe, content))):
        raise SettingsError(f"{name!r} is no element a fragment may hold.")
    told = "".join(
        _attribute(key.rstrip("_").replace("_", "-"), str(value))
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Safe(f"<{name}{told}>")
    return Safe(f"<{name}{told}>{''.join(text(each) for each in content)}</{name}>")


def _is_safe(value: Any) -> bool:
    return isinstance(value, Safe)


def _attribute(name: str, value: str) -> str:
    if not _ATTRIBUTE.fullmatch(name):
        raise SettingsError(f"{name!r} is no attribute a fragment may hold.")
    # Browsers drop control characters and spaces before they look for the scheme.
    address = re.sub(r"[\x00-\x20]", "", value)
    if name.lower() in _LINKS and _SCHEME.match(address) and not _SCHEMES.match(address):
        raise SettingsError(f"{value!r} is no address a fragment may lead to.")
    return f' {name}="{escape(value, quote=True)}"'


def joined(parts: Iterable[Any]) -> Safe:
    """Several fragments after one another."""
    return Safe("".join(text(part) for part in parts))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "") -> Safe:
    """A table with a head."""
    head = tag("tr", *(tag("th", column) for column in columns))
    body = joined(tag("tr", *(tag("td", cell) for cell in row)) for row in rows)
    title = tag("caption", caption) if caption else ""
    return tag("table", title, tag("thead", head), tag("tbody", body), class_="plumb")


def facts(pairs: Mapping[str, Any]) -> Safe:
    """Names and values under each other; what is `None` is left out."""
    return tag(
        "table",
        *(
            tag("tr", tag("th", key), tag("td", value))
            for key, value in pairs.items()
            if value is not None
        ),
        class_="plumb",
    )


class Rows(list[Any]):
    """A list that a notebook shows as a table, and that is a plain list to everybody else."""

    columns: ClassVar[tuple[str, ...]] = ("#",)

    def cells(self, each: Any) -> Sequence[Any]:
        """What stands in the row of one element."""
        return (each,)

    def _repr_html_(self) -> str:
        return table(self.columns, map(self.cells, self))


def short(value: Any, most: int = 120) -> str:
    """A value as one line of text, cut where it is long."""
    line = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    line = " ".join(line.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def minute(moment: datetime | None) -> str | None:
    """A moment as people read it, in UTC to the second."""
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
