"""An assistant for the files of one folder, with every part plugged in.

It recalls and remembers, loads skills, lets a router choose its model, and works on a folder
that goes back and forth with its thread. The environment says the rest:

`PLUMBGRAPH_MODEL`: `provider:name`, several by commas (the weakest first) to choose from,
`path/to/file.py:name`, or `scripted` for the demo's plan, which needs no network and is also what
you get when nothing is set and no key of a known provider is there. `PLUMBGRAPH_THREAD_USD`: what
a thread may spend. `PLUMBGRAPH_OUTCOMES`: file of outcomes the router learns from.
`PLUMBGRAPH_WORKSPACE`: the folder. `PLUMBGRAPH_SKILLS`: more folders of skills, separated like
PATH. `PLUMBGRAPH_WEBHOOK`: where `notify` posts. `PLUMBGRAPH_POLICY`: the operator's rules.
"""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.graph import StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field, field_validator
from typing_extensions import Unpack

from plumbgraph import Guard, effect
from plumbgraph.agents import Memory, Parts, build_agent, file_tools, resolve_model
from plumbgraph.agents.routing import RouterNode, Routing
from plumbgraph.agents.skills import SkillNode
from plumbgraph.deploy import Services
from plumbgraph.effects import current_effect
from plumbgraph.errors import SettingsError, UnknownPrice
from plumbgraph.routing import Aim, Budget, CostRouter, JsonlOutcomes, Limit, ModelCard, Price
from plumbgraph.skills.library import SkillLibrary

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
_SCRIPTED = {
    "small": (Price.per_mtok(0.25, 2.0), 0.75),
    "large": (Price.per_mtok(3.0, 15.0), 0.92),
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


@lru_cache(maxsize=1)
def services() -> Services:
    """The environment's servers, reached when a node first needs them."""
    return Services()


@lru_cache(maxsize=32)
def load(spec: str) -> BaseChatModel:
    """The chat model of a name; `scripted:…` are the demo's."""
    own = spec.removeprefix("scripted:")
    return resolve_model(f"{HERE / 'demo_script.py'}:{own}" if own != spec else spec)


@lru_cache(maxsize=32)
def router_for(names: str, thread_usd: str, outcomes: str) -> Routing:
    """A router over the named models; a model whose price nobody knows is asked without one."""
    if ".py:" in names:
        return load(names)
    router = CostRouter(
        cards(names),
        aim=Aim.quality(0.8),
        budget=Budget(limits(thread_usd), redis=services().redis(), tenant=services().tenant),
        outcomes=JsonlOutcomes(outcomes) if outcomes else None,
        load=load,
    )
    try:
        for name in router.names:
            router.catalog.price(name, at=router.clock.now())
    except UnknownPrice:
        if thread_usd or len(router.names) > 1:
            raise
        return load(router.names[0])
    return router


def cards(names: str) -> list[ModelCard]:
    """The candidates, those named first taken to be the weakest."""
    if names == "scripted":
        return [
            ModelCard(model=load(f"scripted:{name}"), price=price, prior=prior)
            for name, (price, prior) in _SCRIPTED.items()
        ]
    listed = [name.strip() for name in names.split(",") if name.strip()]
    step = 0.2 / max(len(listed) - 1, 1)
    return [ModelCard(model=name, prior=0.75 + step * n) for n, name in enumerate(listed)]


def limits(thread_usd: str) -> list[Limit]:
    """The budget of each thread."""
    try:
        return [Limit("thread", float(thread_usd))] if thread_usd else []
    except ValueError as wrong:
        raise SettingsError(f"PLUMBGRAPH_THREAD_USD={thread_usd!r} is no sum of money.") from wrong


def library() -> SkillLibrary:
    """The shipped skills where they lie beside this folder, then the operator's own folders."""
    own = [part for part in os.environ.get("PLUMBGRAPH_SKILLS", "").split(os.pathsep) if part]
    shipped = HERE.parent / "skills"
    return SkillLibrary([*([shipped] if shipped.is_dir() else []), *own])


def place(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Whose memory a run reads and writes: the user's."""
    told = config.get("configurable") or {}
    return "assistant", str(told.get("langgraph_auth_user_id") or told.get("user_id") or "me")


@effect(idempotent=True)
def notify(text: str) -> str:
    """Notify the people on call. Each call of this tool reaches them once.

    Args:
        text: What they should know, in a sentence or two.
    """
    request = urllib.request.Request(  # noqa: S310 - the operator's address, checked below
        os.environ["PLUMBGRAPH_WEBHOOK"],
        data=json.dumps({"text": text}).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": current_effect().key},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        return f"notified, {answer.status}"


def outside() -> list[Any]:
    """The tools that reach outside: `notify` where the operator says where to."""
    address = os.environ.get("PLUMBGRAPH_WEBHOOK", "")
    if address and not address.startswith(("https://", "http://")):
        raise SettingsError(f"PLUMBGRAPH_WEBHOOK={address!r} is no http address.")
    return [notify] if address else []


def build(
    model: BaseChatModel | str | None = None,
    folder: str | Path | None = None,
    **parts: Unpack[Parts],
) -> StateGraph[Any, Any, Any, Any]:
    """The assistant's graph, not yet compiled.

    Args:
        model: Used when the run's context names none; None reads the environment.
        folder: Of the file tools; None reads the environment. What it holds is kept
            beside the checkpoints, so a crash, a fork or time travel takes it along.
        parts: Instead of the assistant's own; None leaves a part out. Without a workspace the
            tools work in the folder all the same, and its files stay as they are.
    """
    own: dict[str, Any] = {
        "system": lambda _, runtime: _context(runtime).system,
        "memory": Memory(namespace=place),
        "guard": Guard(),
        "context_schema": Context,
    }
    if "workspace" not in parts:
        own["workspace"] = services().workspace(folder or default_workspace())
    if "skills" not in parts:
        own["skills"] = SkillNode(library(), blobs=services().blobs("skills"))
    if "effects" not in parts:
        own["effects"] = services().journal()
    own |= parts

    def choose(runtime: Runtime[Any]) -> Routing:
        named = _context(runtime).model or model or default_model()
        if not isinstance(named, str):
            return named
        told = [os.environ.get(f"PLUMBGRAPH_{name}", "") for name in ("THREAD_USD", "OUTCOMES")]
        return router_for(named, *told)

    route = RouterNode(choose, journal=own["effects"])
    kept = own["workspace"] is not None
    files = file_tools() if kept else file_tools(folder or default_workspace)
    return build_agent(route, [*files, *outside()], **own)


def _context(runtime: Runtime[Any]) -> Context:
    return Context.model_validate(runtime.context or {}, from_attributes=True)


graph = build()
