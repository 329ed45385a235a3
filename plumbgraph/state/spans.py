"""Ranges of positions in logs: how lists and dicts name the elements they consist of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeAlias

Place: TypeAlias = tuple[int, int]
Span: TypeAlias = tuple[int, int, int]
"""Log, first position, position after the last."""

BLOCK = 32
"""How many elements one sealed chunk holds."""


def length(spans: Iterable[Span]) -> int:
    """How many elements the ranges name."""
    return sum(stop - start for _, start, stop in spans)


def extend(spans: list[Span], more: Iterable[Span]) -> None:
    """Append ranges, joining those that touch."""
    for log, start, stop in more:
        if spans and spans[-1][0] == log and spans[-1][2] == start:
            spans[-1] = (log, spans[-1][1], stop)
        elif stop > start:
            spans.append((log, start, stop))


def joined(places: Iterable[Place]) -> list[Span]:
    """Ranges for places in the order given."""
    spans: list[Span] = []
    extend(spans, ((log, position, position + 1) for log, position in places))
    return spans


def places(spans: Iterable[Span]) -> list[Place]:
    """Each element's place, in order."""
    return list(
        chain.from_iterable(((log, p) for p in range(start, stop)) for log, start, stop in spans)
    )


def cut(spans: Sequence[Span], count: int) -> list[Span]:
    """The ranges of the first `count` elements."""
    out: list[Span] = []
    for log, start, stop in spans:
        if count <= 0:
            break
        out.append((log, start, min(stop, start + count)))
        count -= stop - start
    return out


def covering(spans: Iterable[Span]) -> list[Span]:
    """One range a log that holds all of them, logs in order of first appearance."""
    found: dict[int, tuple[int, int]] = {}
    for log, start, stop in spans:
        low, high = found.get(log, (start, stop))
        found[log] = (min(low, start), max(high, stop))
    return [(log, low, high) for log, (low, high) in found.items()]


def minus(spans: Iterable[Span], known: Sequence[Span]) -> list[Span]:
    """What of the ranges the known ones do not cover."""
    left = list(spans)
    for log, start, stop in known:
        cutting, left = left, []
        for each in cutting:
            if each[0] != log or each[2] <= start or stop <= each[1]:
                left.append(each)
                continue
            left += [(log, each[1], start)] if each[1] < start else []
            left += [(log, stop, each[2])] if stop < each[2] else []
    return left


def worth_merging(spans: Sequence[Span], most: int) -> int:
    """How many trailing ranges to write anew as one, none while there are at most `most`.

    Takes ranges from the end as long as what it has is at least as long as the next, so an
    element is rewritten a logarithmic number of times over a list's life.
    """
    if len(spans) <= most:
        return 0
    taken, size = 1, spans[-1][2] - spans[-1][1]
    while taken < len(spans):
        following = spans[-taken - 1][2] - spans[-taken - 1][1]
        if following > size and len(spans) - taken < most:
            break
        size += following
        taken += 1
    return taken if taken > 1 else 0
