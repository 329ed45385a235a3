"""Escaped fragments of HTML, so that any value can show itself in a notebook or a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


class Safe(str):
    """Text that is HTML already; everything else is escaped when it is put into a fragment."""

    __slots__ = ()


def text(value: Any) -> Safe:
    """Any value as HTML: escaped unless it is `Safe`; nothing for `None`."""
    if value is None:
        return Safe("")
    return value if isinstance(value, Safe) else Safe(escape(str(value)))


def tag(name: str, *content: Any, **attributes: Any) -> Safe:
    """An element with its content escaped; `class_` stands for `class`, `None` leaves out."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Safe(f"<{name}{told}>{''.join(text(each) for each in content)}</{name}>")


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
