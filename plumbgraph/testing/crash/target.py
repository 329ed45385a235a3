"""The graph under test: found by name, compiled with the trial's own saver."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from plumbgraph.errors import SettingsError
from plumbgraph.testing.crash.values import Bench


def load(name: str) -> Any:
    """The object that `path.py:name` or `module:name` names.

    Raises:
        SettingsError: There is none.
    """
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise SettingsError(f"{name!r} names no graph.", hint="Write path.py:name or module:name.")
    try:
        module = _file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
        return getattr(module, attribute)
    except (ImportError, OSError, AttributeError) as error:
        raise SettingsError(f"The graph {name!r} cannot be loaded: {error}") from error


def _file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"crashtest_{path.stem}", path)
    if spec is None or spec.loader is None or not path.exists():
        raise OSError(f"{path} is not a file of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    spec.loader.exec_module(module)
    return module


def compiled(target: Any, bench: Bench) -> Any:
    """The graph with the trial's checkpointer.

    Raises:
        SettingsError: `target` is no graph and makes none.
    """
    if isinstance(target, CompiledStateGraph):
        return target.builder.compile(checkpointer=bench.saver)
    if isinstance(target, StateGraph):
        return target.compile(checkpointer=bench.saver)
    if callable(target):
        wanted = [n for n in inspect.signature(target).parameters if hasattr(bench, n)]
        made = target(**{name: getattr(bench, name) for name in wanted})
        return made if isinstance(made, CompiledStateGraph) else compiled(made, bench)
    raise SettingsError(f"{target!r} is no graph, and no function that makes one.")
