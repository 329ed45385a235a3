"""Spans of time as people write them, and doing something again and again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated

import typer

from plumbgraph.errors import SettingsError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")

Every = Annotated[
    str | None, typer.Option("--every", help="Go on, with this pause between: 10s, 5m, 1h.")
]
Once = Annotated[bool, typer.Option("--once", help="Only once; this is the default.")]


def seconds(text: str) -> float:
    """The seconds in `90`, `10s`, `5m`, `2h`, `30d` or `1w`.

    Raises:
        SettingsError: It is none of these.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise SettingsError(f"{text!r} is no span of time.", hint="Write 10s, 5m, 2h, 30d or 1w.")
    return float(found[1]) * _UNITS[found[2] or "s"]


def maybe_seconds(text: str | None) -> float | None:
    """As `seconds`, for an option that may be left out."""
    return None if text is None else seconds(text)


def repeat(act: Callable[[], None], every: str | None, *, once: bool) -> None:
    """Act once, or again and again until Ctrl-C.

    Raises:
        SettingsError: Both were asked for.
    """
    if every is not None and once:
        raise SettingsError("--every and --once exclude each other.", hint="Choose one.")
    pause = maybe_seconds(every)
    act()
    while pause is not None:
        time.sleep(pause)
        act()
