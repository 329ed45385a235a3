"""Which items a filter keeps and which namespaces a condition matches: LangGraph's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langgraph.store.base import MatchCondition

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory.keys import Namespace

_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


def keeps(wanted: Mapping[str, Any] | None, value: Mapping[str, Any]) -> bool:
    """Whether a value passes a filter.

    Plain values ask for equality, nested dicts for their parts, dicts of operators (`$eq $ne
    $gt $gte $lt $lte`) for comparisons. `a.b` reaches into nested dicts.
    Things that have no order, such as a text and a number, do not match an ordering operator.

    Raises:
        MemoryInvalid: An unknown operator.
    """
    return all(_matches(_at(value, key), part) for key, part in (wanted or {}).items())


def _at(value: Mapping[str, Any], key: str) -> Any:
    """What a key names: itself, or, where there is no such key, a path with dots."""
    if key in value or "." not in key:
        return value.get(key)
    found: Any = value
    for label in key.split("."):
        found = found.get(label) if isinstance(found, Mapping) else None
    return found


def _matches(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if any(str(key).startswith("$") for key in wanted):
            return all(_compare(found, operator, part) for operator, part in wanted.items())
        return isinstance(found, Mapping) and keeps(wanted, found)
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(wanted)
            and all(map(_matches, found, wanted))
        )
    return _same(found, wanted)


def _compare(found: Any, operator: str, wanted: Any) -> bool:
    if operator == "$eq":
        return _same(found, wanted)
    if operator == "$ne":
        return not _same(found, wanted)
    if operator not in _ORDERINGS:
        raise MemoryInvalid(
            f"The filter operator {operator!r} is unknown.",
            hint="Use $eq, $ne, $gt, $gte, $lt or $lte.",
        )
    if isinstance(found, str) and isinstance(wanted, str):
        return _ORDERINGS[operator](found, wanted)
    pair = _number(found), _number(wanted)
    if pair[0] is None or pair[1] is None:
        return False
    return _ORDERINGS[operator](*pair)


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool) is not isinstance(wanted, bool):
        return False
    return bool(found == wanted)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def fits(namespace: Namespace, conditions: Iterable[MatchCondition] | None) -> bool:
    """Whether a namespace meets every prefix and suffix condition; `*` stands for any label."""
    return all(_fits_one(namespace, condition) for condition in conditions or ())


def _fits_one(namespace: Namespace, condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if condition.match_type not in {"prefix", "suffix"}:
        raise MemoryInvalid(
            f"The match type {condition.match_type!r} is neither prefix nor suffix."
        )
    if len(namespace) < len(path):
        return False
    if condition.match_type == "prefix":
        labels = namespace[: len(path)]
    else:
        labels = namespace[len(namespace) - len(path) :]
    return all(part in ("*", label) for label, part in zip(labels, path, strict=True))


def known_prefix(conditions: Iterable[MatchCondition] | None) -> Namespace:
    """The longest run of plain labels that every match must begin with."""
    best: Namespace = ()
    for condition in conditions or ():
        if condition.match_type == "prefix":
            path = tuple(condition.path)
            plain = path[: path.index("*")] if "*" in path else path
            best = max(best, plain, key=len)
    return best
