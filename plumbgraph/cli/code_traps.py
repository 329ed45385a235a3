"""The traps of a graph's source under the LangGraph server, found in its syntax tree."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from plumbgraph.cli.checks import Check

TOPIC = "langgraph.json"
_BLOCKING = (
    "time.sleep",
    "socket.create_connection",
    "socket.socket",
    "urllib.request.urlopen",
    "subprocess.run",
    "subprocess.check_output",
    "subprocess.check_call",
    "os.system",
    "sqlite3.connect",
    "psycopg.connect",
    "psycopg2.connect",
    "redis.Redis",
    "redis.from_url",
    "redis.StrictRedis",
)
_BLOCKING_PREFIXES = ("requests.", "urllib3.", "pymongo.")
_COMPILING = ("compile", "create_agent", "create_react_agent", "create_deep_agent")
_SECRET = re.compile(r"(?:^|_)(?:key|token|secret|password|passwd|credentials?)$")
_OWN = ("checkpointer", "store")
_OPTIONAL_METHODS = ("adelete_thread", "adelete_for_runs", "acopy_thread", "aprune")


def top_level_names(tree: ast.Module) -> set[str]:
    """What the module binds; `*` when it imports everything from somewhere."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(each.asname or each.name.partition(".")[0] for each in node.names)
        waiting.extend(ast.iter_child_nodes(node))
    return names


def in_code(
    tree: ast.Module, file: Path, attribute: str | None, *, bounded: bool
) -> Iterator[Check]:
    """The traps in one module.

    Args:
        tree: The module.
        file: Its file, for the messages.
        attribute: The served graph's name; `None` for a module of factories only.
        bounded: Whether the environment bounds the number of steps.
    """
    known = _imports(tree)
    yield from _blocking_calls(tree, file, known)
    yield from _half_savers(tree, file)
    if attribute is None:
        return
    yield from _own_persistence(tree, file, attribute)
    yield from _typing_typed_dict(tree, file, known)
    yield from _secret_context(tree, file)
    if not bounded and not _binds_limit(tree):
        yield Check(
            "note",
            TOPIC,
            f"{file.name}: no recursion_limit is bound, so the server's 10,011 steps hold",
            "graph.with_config(recursion_limit=…), or LANGGRAPH_DEFAULT_RECURSION_LIMIT in `env`.",
            "code.recursion_limit",
        )


def _imports(tree: ast.Module) -> dict[str, str]:
    """Local name → full dotted name."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                known[each.asname or each.name.partition(".")[0]] = (
                    each.name if each.asname else each.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                known[each.asname or each.name] = f"{node.module}.{each.name}"
    return known


def _dotted(node: ast.expr, known: dict[str, str]) -> str:
    """`a.b.c` as written, its first name resolved; with nothing before the first dot of `f().x`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    first = known.get(node.id, node.id) if isinstance(node, ast.Name) else ""
    return ".".join([first, *reversed(parts)])


def _blocking_calls(tree: ast.Module, file: Path, known: dict[str, str]) -> Iterator[Check]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        for call in _calls_in(function):
            name = _dotted(call.func, known)
            if name in _BLOCKING or name.startswith(_BLOCKING_PREFIXES):
                yield Check(
                    "fault",
                    TOPIC,
                    f"{file.name}:{call.lineno}: {name} blocks in async {function.name!r}; "
                    "`langgraph dev` ends the run with BlockingError",
                    "Await an async client, or use asyncio.to_thread.",
                    "code.blocking",
                )


def _calls_in(function: ast.AsyncFunctionDef) -> Iterator[ast.Call]:
    """Calls of the coroutine itself, not of functions defined in it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


def _own_persistence(tree: ast.Module, file: Path, attribute: str) -> Iterator[Check]:
    """A served graph compiled with a checkpointer or store makes the whole server refuse."""
    for call in _compilations(tree, attribute):
        given = [word.arg for word in call.keywords if word.arg in _OWN and _is_set(word.value)]
        if given:
            yield Check(
                "fault",
                TOPIC,
                f"{file.name}:{call.lineno}: {attribute!r} is compiled with its own "
                f"{' and '.join(map(str, given))}; the server refuses to start",
                "Name the uncompiled graph, and the saver in `checkpointer` of langgraph.json.",
                "code.own_persistence",
            )


def _compilations(tree: ast.Module, attribute: str) -> Iterator[ast.Call]:
    """Calls that compile what the module binds to `attribute`."""
    for statement in tree.body:
        bound = _bound_to(statement, attribute)
        for node in ast.walk(bound) if bound is not None else ():
            if isinstance(node, ast.Call):
                name = _dotted(node.func, {}) or getattr(node.func, "attr", "")
                if name.rpartition(".")[2] in _COMPILING:
                    yield node


def _bound_to(node: ast.stmt, name: str) -> ast.AST | None:
    """What a top-level statement binds to `name`: a value, or the body of a factory."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
        return node
    if isinstance(node, ast.Assign):
        targets = [each.id for each in node.targets if isinstance(each, ast.Name)]
        return node.value if name in targets else None
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.value if node.target.id == name else None
    return None


def _is_set(value: ast.expr) -> bool:
    return not (isinstance(value, ast.Constant) and value.value in {None, False})


def _typing_typed_dict(tree: ast.Module, file: Path, known: dict[str, str]) -> Iterator[Check]:
    """Before Python 3.12 a `typing.TypedDict` state leaves Studio without an input form."""
    if sys.version_info >= (3, 12):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = {_dotted(base, known) for base in node.bases}
            if "typing.TypedDict" in bases:
                yield Check(
                    "warning",
                    TOPIC,
                    f"{file.name}:{node.lineno}: {node.name!r} is a typing.TypedDict; on this "
                    "Python its input schema is null and Studio shows no form",
                    "Import TypedDict from typing_extensions.",
                    "code.typed_dict",
                )


def _secret_context(tree: ast.Module, file: Path) -> Iterator[Check]:
    """The server copies a run's context into the metadata of each of its checkpoints."""
    used = {
        word.value.id
        for word in ast.walk(tree)
        if isinstance(word, ast.keyword)
        and word.arg == "context_schema"
        and isinstance(word.value, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or node.name not in used:
            continue
        for field in node.body:
            name = field.target.id if _is_field(field) else ""  # type: ignore[attr-defined] # told above
            if _SECRET.search(name):
                yield Check(
                    "warning",
                    TOPIC,
                    f"{file.name}:{field.lineno}: the context's {name!r} lands in the metadata of "
                    "every checkpoint",
                    "Read secrets from the environment or from a vault inside the node.",
                    "code.secret_context",
                )


def _is_field(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)


def _half_savers(tree: ast.Module, file: Path) -> Iterator[Check]:
    """A saver class of one's own without the methods the server falls back from."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        methods = {each.name for each in node.body if isinstance(each, ast.AsyncFunctionDef)}
        lacking = [each for each in _OPTIONAL_METHODS if each not in methods]
        if {"aput", "aput_writes"} <= methods and lacking:
            yield Check(
                "warning",
                TOPIC,
                f"{file.name}:{node.lineno}: {node.name!r} lacks {', '.join(lacking)}",
                "Without them rollback and keep_latest fail, and copying a thread is slow.",
                "code.half_saver",
            )


def _binds_limit(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.keyword) and node.arg in {"recursion_limit", "max_steps"}
        for node in ast.walk(tree)
    ) or any(
        isinstance(node, ast.Constant) and node.value == "recursion_limit"
        for node in ast.walk(tree)
    )
