"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("plumbgraph", "graphs", "benchmarks", "tests")
SOURCES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))
PACKAGE = [p for p in SOURCES if p.is_relative_to(ROOT / "plumbgraph")]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def syntax(path: Path) -> ast.Module:
    """The file's syntax tree, read with the collector off.

    Up to CPython 3.11.7 a parse that starts while another is under way, as a finalizer's formatted
    traceback does, fails the first (https://github.com/python/cpython/issues/106905).
    """
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_small(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= 400, f"{name_of(path)} has {lines} lines: split it by idea"
    for function in functions(syntax(path)):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= 50, f"{name_of(path)}:{function.lineno} {function.name} has {length} lines"


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(syntax(path))


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_private_upstream_names_only_in_upstream(path: Path) -> None:
    if name_of(path) == "plumbgraph/upstream.py":
        return
    for node in ast.walk(syntax(path)):
        modules: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            top, *rest = module.split(".")
            foreign = top in {"langgraph", "langchain", "langchain_core", "langsmith"}
            private = [part for part in rest if part.startswith("_") and part != "__init__"]
            assert not (foreign and private), f"{name_of(path)} imports {module}"


PURE = (
    "content/collect",
    "content/digest",
    "effects/key",
    "effects/repair",
    "effects/values",
    "memory/bm25",
    "memory/conflict",
    "memory/dates",
    "memory/filters",
    "memory/recollection",
    "memory/sleep",
    "memory/timetravel",
    "policy/judge",
    "policy/rules",
    "policy/urls",
    "routing/choose",
    "routing/estimate",
    "routing/filters",
    "routing/learner",
    "routing/outcomes",
    "routing/values",
    "skills/budget",
    "skills/catalog",
    "skills/channel",
    "skills/frontmatter",
    "skills/gate",
    "skills/merge",
    "skills/ranking/search",
    "skills/values",
    "state/direct",
    "state/ids",
    "state/refs",
    "state/spans",
    "timeline/findings",
    "timeline/verdict",
    "tracing/guard",
    "tracing/loops",
    "workspace/compare",
    "workspace/merge",
    "workspace/values",
)
IMPURE = {"asyncio", "os", "psycopg", "random", "redis", "secrets", "socket", "threading", "time"}


@pytest.mark.parametrize("name", PURE)
def test_deciding_files_meet_no_client_loop_or_clock(name: str) -> None:
    for node in ast.walk(syntax(ROOT / "plumbgraph" / f"{name}.py")):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await)
        if isinstance(node, ast.Import):
            assert not IMPURE & {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in IMPURE
            assert node.module not in {"plumbgraph.redis.clients", "plumbgraph.postgres.pool"}
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"now", "utcnow", "today"}, f"{name} reads a clock"


def test_words_that_do_not_belong() -> None:
    banned = ("Manager", "Helper", "Utils")
    for path in PACKAGE:
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.ClassDef):
                assert not node.name.endswith(banned), f"{name_of(path)}: {node.name}"


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("langgraph", "langchain", "langchain_core", "redis", "psycopg", "pydantic", "numpy")
    code = "import sys, plumbgraph; print([m for m in sys.modules if m.split('.')[0] in %r])"
    done = subprocess.run(
        [sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def public_names() -> list[str]:
    import plumbgraph

    return [name for name in plumbgraph.__all__ if not name.startswith("_")]


@pytest.mark.parametrize("name", public_names())
def test_public_names_resolve_and_are_documented(name: str) -> None:
    import plumbgraph

    value = getattr(plumbgraph, name)
    assert inspect.getdoc(value), f"plumbgraph.{name} has no docstring"
    if inspect.isclass(value):
        for member, function in inspect.getmembers(value, inspect.isfunction):
            if not member.startswith("_") and function.__module__.startswith("plumbgraph"):
                assert inspect.getdoc(function), f"plumbgraph.{name}.{member} has no docstring"


def paired_classes() -> list[type]:
    import plumbgraph

    values = [getattr(plumbgraph, name) for name in public_names()]
    classes = [value for value in values if inspect.isclass(value)]
    for module, name in (
        ("plumbgraph.postgres.pool", "Database"),
        ("plumbgraph.redis.clients", "Redis"),
    ):
        classes.append(getattr(importlib.import_module(module), name))
    return classes


@pytest.mark.parametrize("cls", paired_classes(), ids=lambda cls: cls.__name__)
def test_both_colours_have_the_same_signature(cls: type) -> None:
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        twin = getattr(cls, f"a{name}", None)
        if name.startswith("_") or not inspect.isfunction(twin):
            continue
        if not method.__module__.startswith("plumbgraph"):
            continue
        ours, theirs = inspect.signature(method), inspect.signature(twin)
        assert list(ours.parameters.values()) == list(theirs.parameters.values()), name


def test_lock_is_kept_without_addresses() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--hash=sha256:" in lock
    assert not (ROOT / "uv.lock").exists() or "uv.lock" in (ROOT / ".gitignore").read_text()
