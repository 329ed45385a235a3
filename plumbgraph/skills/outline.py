"""The headings of a long body, and one section of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from plumbgraph.skills.tokens import TokenCounter, count_tokens

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$")
_LEAD_CHARS = 800


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with all text below it, up to the next heading of its level or above.

    Attributes:
        start: First line, counted from 0.
        stop: Line after the last.
    """

    title: str
    level: int
    start: int
    stop: int


def sections_of(body: str) -> list[Section]:
    """The sections in order; headings inside code fences do not count."""
    lines = body.split("\n")
    heads: list[tuple[str, int, int]] = []
    fence = ""
    for number, line in enumerate(lines):
        if found := _FENCE.match(line):
            mark = found[1]
            fence = mark if not fence else "" if mark.startswith(fence) else fence
        elif not fence and (heading := _HEADING.match(line)):
            heads.append((heading[2], len(heading[1]), number))
    sections = []
    for place, (title, level, start) in enumerate(heads):
        after = (s for _, other, s in heads[place + 1 :] if other <= level)
        sections.append(Section(title, level, start, next(after, len(lines))))
    return sections


def outline_of(body: str, counter: TokenCounter = count_tokens) -> str:
    """The beginning of a body and its headings with the tokens of each section."""
    lines = body.split("\n")
    sections = sections_of(body)
    lead = "\n".join(lines[: sections[0].start if sections else len(lines)]).strip()
    lead = lead[:_LEAD_CHARS] + ("…" if len(lead) > _LEAD_CHARS else "")
    listed = [
        f"{'  ' * (section.level - 1)}- {section.title} "
        f"({counter(chr(10).join(lines[section.start : section.stop]))} tokens)"
        for section in sections
    ]
    return "\n".join([lead, *listed] if lead else listed)


def read_section(body: str, title: str) -> str | None:
    """The text of the section with this title, compared without case; None when there is none."""
    wanted = title.strip().lstrip("#").strip().casefold()
    lines = body.split("\n")
    for section in sections_of(body):
        if section.title.casefold() == wanted:
            return "\n".join(lines[section.start : section.stop]).strip()
    return None
