#!/usr/bin/env python3
"""List places in tools' code that deserve a look. The code is parsed, never run.

Usage: scan_tools.py FILE.py …
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_HTTP = re.compile(r"^(requests|httpx|aiohttp)\.(get|post|put|patch|delete|request|head)$|urlopen$")
_WRITES = re.compile(
    r"^(send|pay|charge|create|delete|remove|post|publish|book|order|transfer|refund)"
)
_SQL = re.compile(r"^\s*(select|insert|update|delete|drop|alter)\b", re.IGNORECASE)
_KEYS = {"key", "idempotency_key", "tool_call_id", "request_id", "runtime"}


def name_of(node: ast.AST) -> str:
    """A dotted name, or an empty string."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def call_findings(node: ast.Call) -> Iterator[tuple[str, str]]:
    """What a call does that deserves a look."""
    name = name_of(node.func)
    words = {keyword.arg: keyword.value for keyword in node.keywords}
    shell = words.get("shell")
    if name in {"os.system", "os.popen"} or (isinstance(shell, ast.Constant) and shell.value):
        yield "shell", name
    if name in {"eval", "exec", "compile"}:
        yield "eval", name
    if name in {"pickle.load", "pickle.loads"} or (name == "yaml.load" and "Loader" not in words):
        yield "pickle", name
    if _HTTP.search(name) and "timeout" not in words:
        yield "no-timeout", name
    if name.endswith(("execute", "executemany")) and node.args and built(node.args[0]):
        yield "sql", name
    if (
        name in {"open", "Path", "pathlib.Path"}
        and node.args
        and not isinstance(node.args[0], ast.Constant)
    ):
        yield "path", name


def built(node: ast.AST) -> bool:
    """Whether an expression puts SQL together from pieces."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        pieces = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        return any(isinstance(piece, str) and _SQL.match(piece) for piece in pieces)
    return isinstance(node, ast.Call) and name_of(node.func).endswith("format")


def tool_findings(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str]]:
    """What a tool's signature lacks."""
    marks = {name_of(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list}
    if not any(mark.split(".")[-1] == "tool" for mark in marks):
        return
    if not ast.get_docstring(node):
        yield "no-doc", node.name
    parameters = {a.arg for a in [*node.args.args, *node.args.kwonlyargs]}
    once = any("effect" in mark for mark in marks) or parameters & _KEYS
    if _WRITES.match(node.name) and not once:
        yield "no-key", node.name


def findings(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Line, code and name of everything found."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from ((node.lineno, *found) for found in call_findings(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ((node.lineno, *found) for found in tool_findings(node))
        elif isinstance(node, ast.ExceptHandler):
            caught = name_of(node.type) if node.type else "everything"
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if caught in {"Exception", "BaseException", "everything"} and not raises:
                yield node.lineno, "swallow", caught


def main(paths: list[str]) -> int:
    """Print findings; exit code 1 when there are any."""
    count = 0
    for path in paths:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"), path)
        for line, code, name in sorted(findings(tree)):
            count += 1
            print(f"{path}:{line}: {code} {name}")
    print(f"{count} findings")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if sys.argv[1:] else print(__doc__))
