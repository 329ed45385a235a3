#!/usr/bin/env python3
"""Name what keeps a thread from moving on, from its messages as JSON lines.

Usage: read_history.py MESSAGES.jsonl

Each line is a message as `langchain_core.messages.message_to_dict` gives it, or its `data` part:
`type` (human, ai, tool), `content`, for ai `tool_calls`, for tool `tool_call_id`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

_SHOWN = 160
_LEAST_REPEATS = 3


def read(path: str) -> list[dict[str, Any]]:
    """The messages of a file, oldest first."""
    lines = (line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip())
    rows = [json.loads(line) for line in lines]
    return [{**row.get("data", {}), "type": row["type"]} if "data" in row else row for row in rows]


def unanswered(messages: list[dict[str, Any]]) -> list[str]:
    """Tool calls that no tool message answers."""
    answered = {m.get("tool_call_id") for m in messages if m["type"] == "tool"}
    return [
        f"{call['name']}({json.dumps(call.get('args', {}), sort_keys=True)}) id {call['id']}"
        for message in messages
        for call in message.get("tool_calls") or ()
        if call["id"] not in answered
    ]


def signatures(messages: list[dict[str, Any]]) -> list[str]:
    """Every tool call as name and arguments, in order."""
    return [
        f"{call['name']}({json.dumps(call.get('args', {}), sort_keys=True)})"
        for message in messages
        for call in message.get("tool_calls") or ()
    ]


def cycle(calls: list[str]) -> tuple[list[str], int]:
    """The calls that repeat at the end, and how often; the shortest cycle wins."""
    for length in range(1, len(calls) // 2 + 1):
        tail, times = calls[-length:], 1
        while calls[-length * (times + 1) : -length * times] == tail:
            times += 1
        if times >= _LEAST_REPEATS:
            return tail, times
    return [], 0


def main(path: str) -> int:
    """Print the findings; exit code 1 when something is wrong."""
    messages = read(path)
    pending, calls = unanswered(messages), signatures(messages)
    repeated, times = cycle(calls)
    print(f"{len(messages)} messages, {len(calls)} tool calls")
    for call in pending:
        print(f"UNANSWERED {call}")
    if repeated:
        print(f"LOOP {times} times: {' -> '.join(repeated)}")
    for call, count in Counter(calls).most_common(5):
        if count >= _LEAST_REPEATS:
            print(f"REPEATED {count} times: {call}")
    for kind in ("human", "ai", "tool"):
        last = next((m for m in reversed(messages) if m["type"] == kind), None)
        if last is not None:
            print(f"last {kind}: {str(last.get('content', ''))[:_SHOWN]!r}")
    return 1 if pending or repeated else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else print(__doc__))  # noqa: PLR2004 - one argument
