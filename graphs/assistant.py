"""An assistant with file tools, confined to one folder that goes back and forth with its thread.

`PLUMBGRAPH_MODEL` names its model: `provider:name`, `path/to/file.py:name`, or `scripted` for
the demo's plan, which needs no network and is also what you get when nothing is set and no key
of a known provider is in the environment. `PLUMBGRAPH_WORKSPACE` names its folder.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.graph import StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field, field_validator

from plumbgraph import Guard, Workspace
from plumbgraph.agents import build_agent, file_tools, resolve_model
from plumbgraph.deploy import workspace as kept_workspace

HERE = Path(__file__).parent
SYSTEM = """\
You are a careful assistant that works on the files of one folder, your workspace.
Look at what is there before you answer. Write results into files when you are asked to, and
say which files you wrote. Paths are relative to the workspace."""

_NAMED = re.compile(r"scripted|[a-z][a-z0-9_]*:[\w.:/@-]+")
_KEYS = {
    "OPENAI_API_KEY": "openai:gpt-5.5",
    "ANTHROPIC_API_KEY": "anthropic:claude-sonnet-4-5",
    "GOOGLE_API_KEY": "google_genai:gemini-2.5-flash",
}


class Context(BaseModel):
    """What can be set for one run, for example in Studio."""

    model: str | None = Field(
        default=None,
        description="provider:name, for example openai:gpt-5.5; scripted for the offline demo.",
        json_schema_extra={"langgraph_nodes": ["model"]},
    )
    system: str = Field(
        default=SYSTEM,
        description="What the assistant is told about its job.",
        json_schema_extra={"langgraph_nodes": ["model"], "langgraph_type": "prompt"},
    )

    @field_validator("model")
    @classmethod
    def _not_a_file(cls, model: str | None) -> str | None:
        """A run comes from outside: only the operator's environment may name a file to run."""
        operators = os.environ.get("PLUMBGRAPH_MODEL")
        if model is None or model == operators or _NAMED.fullmatch(model):
            return model
        raise ValueError("is not provider:name, for example openai:gpt-5.5, nor scripted")


def default_model() -> str:
    """The model when a run names none: the environment's, else one whose key is there."""
    with_key = (name for key, name in _KEYS.items() if os.environ.get(key))
    return os.environ.get("PLUMBGRAPH_MODEL") or next(with_key, "scripted")


def default_workspace() -> Path:
    """The folder the file tools work in, made when missing."""
    folder = Path(os.environ.get("PLUMBGRAPH_WORKSPACE") or "workspace").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@lru_cache(maxsize=32)
def load(spec: str) -> BaseChatModel:
    """The chat model of a name; see the module."""
    return resolve_model(f"{HERE / 'demo_script.py'}:model" if spec == "scripted" else spec)


def build(
    model: BaseChatModel | str | None = None, workspace: Workspace | str | Path | None = None
) -> StateGraph[Any, Any, Any, Any]:
    """The assistant's graph, not yet compiled.

    Args:
        model: Used when the run's context names none; None reads the environment.
        workspace: Folder of the file tools; None reads the environment. What it holds is kept
            beside the checkpoints, so a crash, a fork or time travel takes it along.
    """
    desk = (
        workspace
        if isinstance(workspace, Workspace)
        else kept_workspace(workspace or default_workspace())
    )

    def choose(_: Any, runtime: Runtime[Any]) -> BaseChatModel:
        named = _context(runtime).model or model or default_model()
        return load(named) if isinstance(named, str) else named

    return build_agent(
        choose,
        file_tools(),
        system=lambda _, runtime: _context(runtime).system,
        workspace=desk,
        guard=Guard(),
        context_schema=Context,
    )


def _context(runtime: Runtime[Any]) -> Context:
    return Context.model_validate(runtime.context or {}, from_attributes=True)


graph = build()
