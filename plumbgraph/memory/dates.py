"""Relative dates in a text, made absolute by the day on which the text was true."""

from __future__ import annotations

import re
from datetime import date, timedelta

_DAYS = {"today": 0, "tonight": 0, "this morning": 0, "yesterday": -1, "tomorrow": 1}
_UNITS = {"day": 1, "week": 7}
_NUMBERS = {
    "a": 1,
    "an": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
}
_RELATIVE = re.compile(
    r"\b(?P<plain>today|tonight|this morning|yesterday|tomorrow)\b"
    r"|\b(?P<which>last|this|next) (?P<span>week|month|year)\b"
    r"|\b(?P<count>\d{1,3}|an?|one|two|three|four|five|six|seven) (?P<unit>day|week)s? ago\b",
    re.IGNORECASE,
)


def absolute(text: str, on: date) -> str:
    """The text with the date behind every relative one: `yesterday [2026-05-01]`.

    What is already followed by a bracket stays, so a second pass changes nothing.
    """

    def told(found: re.Match[str]) -> str:
        if text[found.end() : found.end() + 2] == " [":
            return found.group()
        return f"{found.group()} [{_meant(found, on)}]"

    return _RELATIVE.sub(told, text)


def _meant(found: re.Match[str], on: date) -> str:
    if plain := found["plain"]:
        return (on + timedelta(days=_DAYS[plain.lower()])).isoformat()
    if found["unit"]:
        word = found["count"].lower()
        count = int(word) if word.isdigit() else _NUMBERS[word]
        return (on - timedelta(days=count * _UNITS[found["unit"].lower()])).isoformat()
    step = {"last": -1, "this": 0, "next": 1}[found["which"].lower()]
    span = found["span"].lower()
    if span == "week":
        monday = on - timedelta(days=on.weekday()) + timedelta(weeks=step)
        return f"week of {monday.isoformat()}"
    if span == "year":
        return str(on.year + step)
    month = on.year * 12 + on.month - 1 + step
    return f"{month // 12:04d}-{month % 12 + 1:02d}"
