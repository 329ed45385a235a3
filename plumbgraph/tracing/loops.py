"""Whether a run still makes progress: pure rules over its tool calls and their results.

A repeated call is no loop by itself: polling gets a new result each time. What counts is that
the last calls brought nothing new, call and result taken together. Arguments that drift (a
counter, a nonce, a date) are compared a second time without their volatile parts and without
their echo in the result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

_ARGS = json.JSONEncoder(sort_keys=True, default=str, ensure_ascii=False)
_DIGIT = re.compile(r"\d")
_VOLATILE = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"  # uuid
    r"|(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{5,}"  # a word with a digit in it: nonce, id, key
    r"|\d+(?:[.:,-]\d+)*"  # number, date, time
)


@dataclass(frozen=True, slots=True)
class Call:
    """One finished tool call.

    Attributes:
        name: The tool's name.
        args: Its arguments.
        result: What it returned, as text.
        failed: Whether that was an error.
        progress: Digest of whatever else shows progress (a workspace, a state key), or `""`.
    """

    name: str
    args: Mapping[str, Any]
    result: str
    failed: bool = False
    progress: str = ""


@dataclass(frozen=True, slots=True)
class Print:
    """A call's fingerprints: all that the rules compare, and small enough to keep in state."""

    name: str
    exact: str
    loose: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """When calls without news become a loop; all counts are calls.

    Attributes:
        stale: So many calls in a row, none with a new (call, result) pair.
        cycle: So many calls in a row that repeat, in order, those one period before.
        longest: The longest period looked for.
        within: First round and repeats together are at most so many calls: a long period needs
            fewer repeats, because chance repeats it less.
        drift: So many calls in a row without news once volatile parts are taken out.
        errors: So many failed calls in a row.
        poll: Tools that may repeat with an unchanged result.
    """

    stale: int = 6
    cycle: int = 6
    longest: int = 8
    within: int = 12
    drift: int = 10
    errors: int = 6
    poll: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """A loop: which rule saw it, since which call, and what repeats."""

    code: str
    since: int
    cycle: tuple[str, ...]
    reason: str


def fingerprint(call: Call) -> Print:
    """A call as the rules see it."""
    args = _ARGS.encode(call.args)
    exact = _digest(call.name, args, call.result, call.progress)
    loose = _loose(call.name, args, call.result, call.progress)
    return Print(call.name, exact, loose, call.failed)


def pattern(tool: str, args: Mapping[str, Any], result: str) -> str:
    """A digest that is equal for calls that differ only in their volatile parts."""
    return _loose(tool, _ARGS.encode(args), result)


def _loose(name: str, args: str, result: str, progress: str = "") -> str:
    if _DIGIT.search(args):  # every volatile part has one
        volatile = set(_VOLATILE.findall(args))
        result = _VOLATILE.sub(lambda token: "#" if token[0] in volatile else token[0], result)
        args = _VOLATILE.sub("#", args)
    return _digest(name, args, result, progress)


def examine(prints: Sequence[Print], rules: Rules = Rules()) -> Finding | None:
    """The loop the run is in, or None.

    Args:
        prints: The run's calls, oldest first; a window of the last hundred is enough.
        rules: The limits.
    """
    calls = [each for each in prints if each.name not in rules.poll]
    offset = len(prints) - len(calls)
    for rule in (_cycle, _stale, _errors, _drift):
        found = rule(calls, rules)
        if found:
            return Finding(found.code, found.since + offset, found.cycle, found.reason)
    return None


def _cycle(calls: Sequence[Print], rules: Rules) -> Finding | None:
    for period in range(1, rules.longest + 1):
        repeats = _repeats(calls, period)
        if repeats >= max(1, min(rules.cycle, rules.within - period)):
            since = len(calls) - repeats - period
            names = tuple(each.name for each in calls[since : since + period])
            reason = f"{' → '.join(names)} repeats with unchanged results"
            return Finding("loop.cycle", since, names, reason)
    return None


def _repeats(calls: Sequence[Print], period: int) -> int:
    count = 0
    for index in range(len(calls) - 1, period - 1, -1):
        if calls[index].exact != calls[index - period].exact:
            break
        count += 1
    return count


def _stale(calls: Sequence[Print], rules: Rules) -> Finding | None:
    since = _since_news([each.exact for each in calls])
    return _without_news(calls, since, rules.stale, "loop.stale", "no call brought a new result")


def _drift(calls: Sequence[Print], rules: Rules) -> Finding | None:
    since = _since_news([each.loose for each in calls])
    text = "only numbers or identifiers in the arguments change, the results do not"
    return _without_news(calls, since, rules.drift, "loop.drift", text)


def _without_news(
    calls: Sequence[Print], since: int, limit: int, code: str, text: str
) -> Finding | None:
    if len(calls) - since < limit:
        return None
    names = tuple(dict.fromkeys(each.name for each in calls[since:]))
    return Finding(code, since, names, f"{text} in {len(calls) - since} calls ({', '.join(names)})")


def _since_news(keys: Sequence[str]) -> int:
    """Index of the first call after the last one that was new."""
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    news = [index for key, index in first.items()]
    return max(news, default=-1) + 1


def _errors(calls: Sequence[Print], rules: Rules) -> Finding | None:
    streak = 0
    for each in reversed(calls):
        if not each.failed:
            break
        streak += 1
    if streak < rules.errors:
        return None
    since = len(calls) - streak
    names = tuple(dict.fromkeys(each.name for each in calls[since:]))
    return Finding("loop.errors", since, names, f"{streak} failed calls in a row")


def _digest(*parts: str) -> str:
    return blake2b("\x1f".join(parts).encode(errors="surrogatepass"), digest_size=8).hexdigest()
