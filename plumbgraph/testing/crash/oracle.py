"""The truth about a trial: found without the code under test."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage


def facts_of(folder: Path) -> dict[str, str]:
    """Every entry of a folder with its kind, mode and content."""
    found: dict[str, str] = {}
    for base, folders, names in os.walk(folder, followlinks=False):
        for name in [*folders, *names]:
            path = Path(base) / name
            mode = path.lstat().st_mode
            key = str(path.relative_to(folder))
            if path.is_symlink():
                found[key] = f"link {path.readlink()}"
            elif path.is_dir():
                found[key] = f"dir {mode:o}"
            else:
                found[key] = f"file {mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


def invalid(messages: Sequence[Any]) -> str:
    """Why a model provider would refuse these messages, or nothing."""
    still_open: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in still_open:
                return f"an answer to no call: {message.tool_call_id}"
            still_open.remove(message.tool_call_id)
        elif still_open:
            return f"calls without an answer: {', '.join(still_open)}"
        elif isinstance(message, AIMessage):
            still_open = [str(call["id"]) for call in message.tool_calls]
    return f"calls without an answer: {', '.join(still_open)}" if still_open else ""


def effects(expected: Counter[str], happened: Counter[str]) -> tuple[int, int]:
    """How many effects happened too often, and how many too seldom.

    Lines that begin with `run `, `end ` or `torn ` tell of branches and files, not of effects.
    """
    names = [n for n in {*expected, *happened} if not n.startswith(("run ", "end ", "torn "))]
    doubled = sum(max(0, happened[name] - expected[name]) for name in names)
    missing = sum(max(0, expected[name] - happened[name]) for name in names)
    return doubled, missing


def torn(lines: Sequence[str]) -> int:
    """How often the graph itself found files that do not say what its state says (`torn …`)."""
    return sum(line.startswith("torn ") for line in lines)


def run_again(lines: Sequence[str]) -> int:
    """How often a branch that had ended (`end x`) ran once more (`run x`)."""
    ended: set[str] = set()
    again = 0
    for line in lines:
        kind, _, name = line.partition(" ")
        if kind == "end":
            ended.add(name)
        elif kind == "run" and name in ended:
            again += 1
    return again
