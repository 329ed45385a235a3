#!/usr/bin/env python3
"""Where a run's tokens went, from its messages as JSON lines.

Usage: cost_report.py MESSAGES.jsonl [--input USD] [--output USD] [--cached USD]

Prices are dollars for a million tokens. Usage is read from each ai message's `usage_metadata`;
sizes of messages are estimated at four characters a token.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

_CHARS = 4
_LARGEST = 8


def read(path: str) -> list[dict[str, Any]]:
    """The messages of a file, oldest first."""
    lines = (line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip())
    rows = [json.loads(line) for line in lines]
    return [{**row.get("data", {}), "type": row["type"]} if "data" in row else row for row in rows]


def usage(message: dict[str, Any]) -> tuple[int, int, int]:
    """Input, cached input and output tokens of a model call."""
    facts = message.get("usage_metadata") or {}
    cached = (facts.get("input_token_details") or {}).get("cache_read") or 0
    return facts.get("input_tokens") or 0, cached, facts.get("output_tokens") or 0


def carried(messages: list[dict[str, Any]]) -> list[tuple[int, int, int, str]]:
    """Messages by what they cost over the run: tokens times the later calls that carried them."""
    calls = [place for place, message in enumerate(messages) if message["type"] == "ai"]
    rows = []
    for place, message in enumerate(messages):
        tokens = len(json.dumps(message.get("content", ""))) // _CHARS
        times = sum(call > place for call in calls)
        what = f"{message['type']} {message.get('name') or ''}".strip()
        rows.append((tokens * times, tokens, place, what))
    return sorted(rows, reverse=True)[:_LARGEST]


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    for name in ("input", "output", "cached"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    prices = parser.parse_args()
    messages = read(prices.file)
    total = [0, 0, 0]
    print("call   input  cached  output")
    for place, message in enumerate(messages):
        if message["type"] == "ai":
            counts = usage(message)
            total = [a + b for a, b in zip(total, counts, strict=True)]
            print(f"{place:4} {counts[0]:7} {counts[1]:7} {counts[2]:7}")
    fresh = total[0] - total[1]
    usd = (fresh * prices.input + total[1] * prices.cached + total[2] * prices.output) / 1e6
    share = total[1] / total[0] if total[0] else 0.0
    print(f"TOTAL input {total[0]} cached {total[1]} ({share:.0%}) output {total[2]} usd {usd:.4f}")
    print("carried  tokens  at  message")
    for weight, tokens, place, what in carried(messages):
        print(f"{weight:7} {tokens:7} {place:3}  {what}")


if __name__ == "__main__":
    main()
