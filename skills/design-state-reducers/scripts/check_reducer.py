#!/usr/bin/env python3
"""Look for a counterexample to the laws of a reducer.

Usage: check_reducer.py FILE.py:FUNCTION --values JSON_LIST

Tries all orders and groupings of up to four of the values, and repeats of each.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

_MOST = 4

Reducer = Callable[[Any, Any], Any]


def load(where: str) -> Reducer:
    """The function named as FILE.py:NAME."""
    path, _, name = where.rpartition(":")
    spec = importlib.util.spec_from_file_location("reducer_under_test", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"cannot import {path!r}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reducer: Reducer = getattr(module, name)
    return reducer


def counterexamples(reducer: Reducer, values: list[Any]) -> Iterator[str]:
    """Every broken law with the values that break it."""
    for a in values:
        if reducer(a, a) != a:
            yield f"twice is not once: {a!r} with itself gives {reducer(a, a)!r}"
    for a, b in itertools.combinations(values, 2):
        if reducer(a, b) != reducer(b, a):
            yield f"order matters: {a!r}, {b!r} gives {reducer(a, b)!r} or {reducer(b, a)!r}"
        merged = reducer(a, b)
        if reducer(merged, b) != merged:
            yield f"a retry changes the result: {b!r} after {merged!r}"
    for a, b, c in itertools.permutations(values, 3):
        if reducer(reducer(a, b), c) != reducer(a, reducer(b, c)):
            yield f"grouping matters: {a!r}, {b!r}, {c!r}"


def main() -> int:
    """Print the first counterexample of each law; exit code 1 when there is one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reducer")
    parser.add_argument("--values", required=True)
    given = parser.parse_args()
    values = json.loads(given.values)[:_MOST]
    first: dict[str, str] = {}
    for found in counterexamples(load(given.reducer), values):
        first.setdefault(found.split(":")[0], found)
    print("\n".join(first.values()) or f"no counterexample among {len(values)} values")
    return 1 if first else 0


if __name__ == "__main__":
    sys.exit(main())
