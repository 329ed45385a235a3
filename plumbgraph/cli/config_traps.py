"""The traps of a `langgraph.json`, found by reading it and its code, without running it."""

from __future__ import annotations

import ast
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from plumbgraph.cli.checks import Check
from plumbgraph.cli.code_traps import in_code, top_level_names

TOPIC = "langgraph.json"
_FACTORIES = ("checkpointer", "store", "auth", "http")
_LIMIT = "LANGGRAPH_DEFAULT_RECURSION_LIMIT"


def examine(path: Path) -> Iterator[Check]:
    """Everything about one `langgraph.json`: its form, its places, the code behind them."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        hint = "Correct the JSON; `langgraph dev` cannot read it either."
        yield Check("fault", TOPIC, f"{path}: {fault}", hint, "config.malformed")
        return
    if not isinstance(config, dict):
        hint = 'Write an object: {"graphs": {…}}.'
        yield Check("fault", TOPIC, f"{path}: not an object", hint, "config.malformed")
        return
    try:
        findings = [
            *_form(config),
            *_factories(config),
            *_graphs(config, path.parent),
            *_surroundings(config, path.parent),
        ]
    except RecursionError:
        said, hint = f"{path}: an entry is nested too deeply", "A place is a text, or one object."
        yield Check("fault", TOPIC, said, hint, "config.malformed")
        return
    yield from findings
    if not any(each.verdict in {"fault", "warning"} for each in findings):
        yield Check("ok", TOPIC, f"{path}: {len(config['graphs'])} graphs")


def _form(config: Mapping[str, Any]) -> Iterator[Check]:
    graphs = config.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        hint = 'Write {"graphs": {"agent": "./agent.py:graph"}}.'
        yield Check("fault", TOPIC, "`graphs` names no graph", hint, "config.no_graphs")
    if not config.get("dependencies"):
        hint = 'Write "dependencies": ["."].'
        yield Check("warning", TOPIC, "`dependencies` is missing", hint, "config.no_dependencies")


def _factories(config: Mapping[str, Any]) -> Iterator[Check]:
    """`pkg.mod:attr` is what the server's own help shows, and what makes it fail at startup."""
    for key in _FACTORIES:
        entry = config.get(key)
        place = entry.get("path", entry.get("app")) if isinstance(entry, dict) else entry
        if not isinstance(place, str) or ":" not in place:
            continue
        source = place.rpartition(":")[0]
        if not source.endswith(".py"):
            hint = f'Write "./{source.replace(".", "/")}.py:{place.rpartition(":")[2]}".'
            said = f"{key}: {place!r} makes the server fail at startup"
            yield Check("fault", TOPIC, said, hint, "config.module_path")


def _graphs(config: Mapping[str, Any], folder: Path) -> Iterator[Check]:
    """Each named place exists, and the code behind it has none of the known traps."""
    entries = config.get("graphs")
    places = [
        *(entries.items() if isinstance(entries, dict) else ()),
        *((key, config[key]) for key in ("checkpointer", "store") if key in config),
    ]
    bounded = _LIMIT in _environment(config, folder)
    for name, entry in places:
        place = entry.get("path") if isinstance(entry, dict) else entry
        if not isinstance(place, str) or ":" not in place:
            if name not in {"checkpointer", "store"}:
                hint = 'Write "./file.py:attribute".'
                yield Check("fault", TOPIC, f"{name}: {place!r} is no place", hint, "config.place")
            continue
        source, _, attribute = place.rpartition(":")
        yield from _place(name, source, attribute, folder, bounded=bounded)


def _place(
    name: str, source: str, attribute: str, folder: Path, *, bounded: bool
) -> Iterator[Check]:
    file = _file_of(source, folder)
    if file is None:
        hint = "Correct the path; it is relative to langgraph.json."
        said = f"{name}: {source!r} does not exist"
        yield Check("fault", TOPIC, said, hint, "config.no_file")
        return
    try:
        tree = _parsed(file)
    except (OSError, SyntaxError, ValueError) as fault:
        yield Check("fault", TOPIC, f"{name}: {file}: {fault}", "Correct it.", "config.no_python")
        return
    except (RecursionError, MemoryError, SystemError) as fault:
        said = f"{name}: {file} was not examined: too deeply nested ({type(fault).__name__})"
        hint = "Move what is generated, or deeply nested, into a module of its own."
        yield Check("warning", TOPIC, said, hint, "config.too_deep")
        return
    names = top_level_names(tree)
    if attribute not in names and "*" not in names:
        hint = f"Known there: {', '.join(sorted(names))[:200]}."
        said = f"{name}: {file.name} has no {attribute!r}"
        yield Check("fault", TOPIC, said, hint, "config.no_attribute")
    served = name not in {"checkpointer", "store"}
    yield from in_code(tree, file, attribute if served else None, bounded=bounded)


def _parsed(file: Path) -> ast.Module:
    """The module's tree, from its bytes: they tell their own encoding.

    Python up to 3.11.7 answers deep nesting with a SystemError
    (https://github.com/python/cpython/issues/106905).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own; what is asked here is whether it is Python
        return ast.parse(file.read_bytes(), filename=str(file))


def _file_of(source: str, folder: Path) -> Path | None:
    if source.endswith(".py"):
        return _file(folder, source)
    near = _file(folder, f"{source.replace('.', '/')}.py")
    return near if near is not None else _installed(source)


def _file(folder: Path, name: str) -> Path | None:
    try:
        return folder / name if (folder / name).is_file() else None
    except (OSError, ValueError):  # longer than a path can be
        return None


def _installed(module: str) -> Path | None:
    """A module's file; unlike `find_spec` alone, without importing the packages it lies in."""
    first, *rest = module.split(".")
    try:
        spec = find_spec(first)
        for part in rest:
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    except (ImportError, ValueError, OSError):
        return None
    return Path(spec.origin) if spec and spec.has_location and spec.origin else None


def _surroundings(config: Mapping[str, Any], folder: Path) -> Iterator[Check]:
    env = config.get("env")
    if isinstance(env, str) and _file(folder, env) is None:
        hint = "Make the file, or remove `env`."
        yield Check("fault", TOPIC, f"env: {env!r} does not exist", hint, "config.no_env")
    if "checkpointer" not in config:
        hint = (
            'Write "checkpointer": {"path": "./graphs/deploy.py:checkpointer"}; see docs/agents.md.'
        )
        said = "no `checkpointer`: `langgraph dev` keeps threads in a pickle, flushed every 10 s"
        yield Check("note", TOPIC, said, hint, "config.no_checkpointer")
    if isinstance(config.get("store"), dict) and {"path", "ttl"} <= config["store"].keys():
        hint = "Give ttl= to the store itself."
        said = "store.ttl: the server's sweeper is skipped for a store of one's own"
        yield Check("warning", TOPIC, said, hint, "config.store_ttl")
    if (folder / ".langgraph_api").is_dir():
        hint = (
            "After kill -9 a thread may be unknown there though its checkpoints are safe: create "
            "it again with the same thread_id and if_exists='do_nothing', then resume."
        )
        said = ".langgraph_api holds the server's own thread rows, flushed every 10 s"
        yield Check("note", TOPIC, said, hint, "config.server_pickle")
    if sys.platform.startswith("linux") and _allows_blocking():
        hint = "Unset it and mend the blocking calls."
        said = "LANGGRAPH_ALLOW_BLOCKING is set: blocking calls go unnoticed"
        yield Check("warning", TOPIC, said, hint, "config.allow_blocking")


def _allows_blocking() -> bool:
    return os.environ.get("LANGGRAPH_ALLOW_BLOCKING", "").lower() in {"1", "true", "yes"}


def _environment(config: Mapping[str, Any], folder: Path) -> set[str]:
    """Names of the variables the server will see."""
    env = config.get("env")
    if isinstance(env, dict):
        return {*os.environ, *env}
    try:
        lines = (folder / str(env or "")).read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):  # not there, a folder, or beyond what a path can be
        return set(os.environ)
    return {*os.environ, *(line.partition("=")[0].strip() for line in lines if "=" in line)}
