"""A chat model by its name: `provider:model`, or an object in a Python file."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from plumbgraph.errors import MissingExtra, SettingsError

_PROVIDER = re.compile(r"[a-z][a-z0-9_]*:\S+")
_IN_FILE = re.compile(r"(?P<path>[^:]+\.py):(?P<name>[A-Za-z_]\w*)")


def resolve_model(spec: str, **settings: Any) -> BaseChatModel:
    """The chat model that `spec` names.

    Args:
        spec: `provider:name`, for example `openai:gpt-5.5`, loaded by LangChain from the
            provider's package; or `path/to/file.py:name`, a chat model or a function without
            arguments that gives one. The second form runs the file: never take it from a user.
        settings: Passed to the provider's class, for example `temperature`.

    Raises:
        MissingExtra: LangChain or the provider's package is not installed; the hint installs it.
        SettingsError: The name has neither form, the provider is unknown or refused its
            settings (a missing key, for example), or the file holds no such model.
    """
    if found := _IN_FILE.fullmatch(spec):
        return _from_file(Path(found["path"]), found["name"])
    if _PROVIDER.fullmatch(spec):
        return _from_provider(spec, settings)
    raise SettingsError(
        f"{spec!r} does not name a model.",
        hint="Write provider:name, for example openai:gpt-5.5 or anthropic:claude-sonnet-4-5.",
    )


def _from_provider(spec: str, settings: dict[str, Any]) -> BaseChatModel:
    try:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as missing:
        raise MissingExtra(f"Loading {spec!r} needs langchain.", extra="agents") from missing
    try:
        model: BaseChatModel = init_chat_model(spec, **settings)
    except ImportError as missing:
        package = re.search(r"langchain-[a-z-]+", str(missing).replace("_", "-"))
        raise MissingExtra(
            f"The package of the provider of {spec!r} is not installed.",
            hint=f"pip install {package[0] if package else 'the package of your provider'}",
            extra="agents",
        ) from missing
    except Exception as refused:
        raise SettingsError(
            f"{spec!r} could not be loaded: {refused}",
            hint="Check the name, and that the provider's API key is in the environment.",
        ) from refused
    return model


def _from_file(path: Path, name: str) -> BaseChatModel:
    spec = spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SettingsError(f"There is no Python file {str(path)!r}.")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    value = getattr(module, name, None)
    model = value() if callable(value) and not isinstance(value, BaseChatModel) else value
    if not isinstance(model, BaseChatModel):
        raise SettingsError(f"{str(path)!r} holds no chat model named {name!r}, but {value!r}.")
    return model
