#!/usr/bin/env python3
"""Group facts that speak about the same thing and name how they disagree.

Usage: contested.py FACTS.jsonl [--plural ATTRIBUTE …]

Each line: subject, attribute, value; optional source, valid_from, valid_until, written_at
(ISO 8601 or any text that sorts by time).
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

_FOLDED = re.compile(r"[\W_]+")


def fold(text: object) -> str:
    """Text without case, spaces and punctuation."""
    return _FOLDED.sub("", str(text).casefold())


def kind_of(facts: list[dict[str, Any]], *, plural: bool) -> str:
    """How the facts of one subject and attribute stand to each other."""
    if len({fold(fact["value"]) for fact in facts}) == 1:
        return "duplicate"
    if plural:
        return "plural"
    timed = sorted(facts, key=lambda fact: str(fact.get("valid_from") or ""))
    begins = [str(fact.get("valid_from") or "") for fact in timed]
    if all(begins) and len(set(begins)) == len(begins):
        return "sequence"
    return "conflict"


def main() -> None:
    """Print every group of two facts or more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--plural", nargs="*", default=[])
    given = parser.parse_args()
    plural = {fold(name) for name in given.plural}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in Path(given.file).read_text(encoding="utf-8").splitlines():
        if line.strip():
            fact = json.loads(line)
            groups[fold(fact["subject"]), fold(fact["attribute"])].append(fact)
    counts: dict[str, int] = defaultdict(int)
    for (_, attribute), facts in sorted(groups.items()):
        if len(facts) > 1:
            kind = kind_of(facts, plural=attribute in plural)
            counts[kind] += 1
            print(f"{kind.upper()} {facts[0]['subject']} / {facts[0]['attribute']}")
            for fact in sorted(facts, key=lambda f: str(f.get("written_at") or "")):
                source = fact.get("source") or "unknown source"
                print(
                    f"  {fact['value']!r} by {source}, valid from {fact.get('valid_from') or '?'}"
                )
    print(
        "; ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        or "nothing contested"
    )


if __name__ == "__main__":
    main()
