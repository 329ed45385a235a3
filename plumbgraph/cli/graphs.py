"""Find the graph that a command names: in langgraph.json, in a file, or the shipped assistant."""

from __future__ import annotations

import inspect
import json
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from plumbgraph.errors import SettingsError

ASSISTANT = "assistant"
CONFIG = "langgraph.json"


class GraphNotFound(SettingsError, LookupError):
    """No graph has this name."""

    code = "cli.graph_not_found"
    default_hint = "Name one of langgraph.json, write path/to/file.py:attribute, or `assistant`."


@dataclass(frozen=True, slots=True)
class Named:
    """A graph's place: a file or module, and the attribute that is the graph or makes it.

    Attributes:
        name: As the user says it, complete enough to be found again from any folder.
        home: Folder on the import path while it loads, so that its own imports work.
    """

    name: str
    source: str
    attribute: str
    home: Path | None


def shipped(*parts: str) -> Path:
    """A file or folder of the repository's `graphs/`, also in an installed wheel."""
    package = Path(__file__).parent.parent
    for root in (package / "_data" / "graphs", package.parent / "graphs"):
        if (found := root.joinpath(*parts)).exists():
            return found
    raise SettingsError(
        f"The shipped file {'/'.join(parts)!r} is missing.", hint="Install plumbgraph again."
    )


def find(spec: str, *, folder: Path | None = None) -> Named:
    """Where the graph of this name is.

    Args:
        spec: A name in the `langgraph.json` of `folder` or its parents, `path/to/file.py:attr`,
            `/path/to/langgraph.json:name`, or `assistant`.
        folder: Where to look; the current folder.

    Raises:
        GraphNotFound: Nothing has this name.
        SettingsError: `langgraph.json` is malformed.
    """
    here = folder or Path.cwd()
    head, _, tail = spec.rpartition(":")
    if head.endswith(".py"):
        return _in_file(spec, (here / head).absolute(), tail)
    if head.endswith(".json"):
        return _in_config(spec, (here / head).absolute(), tail)
    config = next(
        (each / CONFIG for each in (here, *here.parents) if (each / CONFIG).exists()), None
    )
    names = sorted(graphs_of(config)) if config else []
    if config is not None and spec in names:
        return _in_config(spec, config, spec)
    if spec == ASSISTANT:
        return Named(ASSISTANT, str(shipped("assistant.py")), "graph", None)
    known = f"Known here: {', '.join(dict.fromkeys([*names, ASSISTANT]))}."
    raise GraphNotFound(f"There is no graph {spec!r}. {known}", graph=spec)


def graphs_of(config: Path) -> dict[str, str]:
    """Name and place of each graph of a `langgraph.json`.

    Raises:
        SettingsError: The file cannot be read or does not say what it should.
    """
    try:
        told = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise SettingsError(
            f"{str(config)!r} cannot be read: {fault}.", hint="Run `plumbgraph doctor`."
        ) from fault
    graphs = told.get("graphs") if isinstance(told, dict) else None
    if not isinstance(graphs, dict):
        raise SettingsError(
            f"{str(config)!r} has no object `graphs`.",
            hint='Write {"graphs": {"agent": "./agent.py:graph"}}.',
        )
    places = {name: _place_of(each) for name, each in graphs.items()}
    return {name: place for name, place in places.items() if place}


def _place_of(entry: Any) -> str | None:
    place = entry.get("path") if isinstance(entry, dict) else entry
    return place if isinstance(place, str) else None


def _in_config(spec: str, config: Path, name: str) -> Named:
    place = graphs_of(config).get(name)
    if place is None:
        raise GraphNotFound(f"{str(config)!r} has no graph {name!r}.", graph=spec)
    source, _, attribute = place.rpartition(":")
    if not source:
        raise SettingsError(
            f"The graph {name!r} of {str(config)!r} names no attribute: {place!r}.",
            hint="Write ./file.py:attribute.",
        )
    if source.endswith(".py"):
        source = str((config.parent / source).absolute())
    return Named(f"{config}:{name}", source, attribute, config.parent)


def _in_file(spec: str, path: Path, attribute: str) -> Named:
    if not path.is_file():
        raise GraphNotFound(f"There is no file {str(path)!r}.", graph=spec)
    return Named(f"{path}:{attribute}", str(path), attribute, path.parent)


def load(named: Named) -> Any:
    """The graph, not compiled if its author left it so.

    Raises:
        SettingsError: The file cannot be imported, or what it names is no graph.
    """
    if named.home and str(named.home) not in sys.path:
        sys.path.insert(0, str(named.home))
    value = _attribute(_module(named), named)
    if inspect.isfunction(value):
        value = _made(value, named)
    if not hasattr(value, "compile") and not hasattr(value, "checkpointer"):
        raise SettingsError(
            f"{named.name!r} is no graph but {type(value).__name__!r}.",
            hint="Name a StateGraph, a compiled graph, or a function that returns one.",
        )
    return value


def _module(named: Named) -> ModuleType:
    try:
        if not named.source.endswith(".py"):
            return import_module(named.source)
        name = f"plumbgraph_run_{Path(named.source).stem}"
        spec = spec_from_file_location(name, named.source)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except Exception as fault:
        raise SettingsError(
            f"{named.source!r} cannot be imported: {type(fault).__name__}: {fault}.",
            hint="Set PLUMBGRAPH_DEBUG=1 to see where.",
        ) from fault
    return module


def _attribute(module: ModuleType, named: Named) -> Any:
    if not hasattr(module, named.attribute):
        raise GraphNotFound(f"{named.source!r} has no attribute {named.attribute!r}.")
    return getattr(module, named.attribute)


def _made(factory: Any, named: Named) -> Any:
    needed = [
        each.name
        for each in inspect.signature(factory).parameters.values()
        if each.default is each.empty and each.kind is not each.VAR_KEYWORD
    ]
    made = factory({}) if len(needed) == 1 else factory() if not needed else None
    if made is None or inspect.iscoroutine(made):
        if made is not None:
            made.close()
        raise SettingsError(
            f"{named.name!r} is a factory that the command line cannot call.",
            hint="Give it no parameters or one config, and let it return the graph.",
        )
    return made


def compiled(graph: Any, *, saver: Any, store: Any) -> Any:
    """The graph with plumbgraph's checkpointer and store, whether it was compiled or not."""
    if hasattr(graph, "compile"):
        return graph.compile(checkpointer=saver, store=store)
    return graph.copy({"checkpointer": saver, "store": graph.store or store})


def may_use_store(named: Named) -> bool:
    """Whether a graph may want the long-term memory; its client takes a second to import.

    The shipped assistant has shown by now whether it uses it; about others nothing is known.
    """
    return not named.source.endswith("graphs/assistant.py") or "plumbgraph.memory" in sys.modules


def wants_model(graph: Any) -> bool:
    """Whether the graph's context has a field `model` that `--model` can set."""
    schema = getattr(graph, "context_schema", None)
    return "model" in getattr(schema, "__annotations__", {})


def set_environment(*, model: str | None, workspace: str | None) -> None:
    """Tell graphs that read the environment about `--model` and `--workspace`."""
    if model:
        os.environ["PLUMBGRAPH_MODEL"] = model
    if workspace:
        os.environ["PLUMBGRAPH_WORKSPACE"] = workspace
