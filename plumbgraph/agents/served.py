"""What a PlumbSaver does for the other parts of an agent: types, a journal, and skills' bodies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore

from plumbgraph.agents.parts import is_router, marked_tools, policy_of, skill_node
from plumbgraph.agents.remembering import Memory
from plumbgraph.errors import SettingsError

if TYPE_CHECKING:
    from plumbgraph.state import PlumbSaver

AnySaver = BaseCheckpointSaver[Any]


def served(
    model: Any,
    tools: Sequence[BaseTool],
    saver: AnySaver | None,
    store: BaseStore | None,
    parts: Mapping[str, Any],
) -> Any:
    """The parts, with the services they lack taken from the checkpointer and the store.

    Raises:
        SettingsError: There is memory without a store to keep it.
    """
    told: dict[str, Any] = dict(parts)
    if (memory := Memory.of(told.get("memory"))) is not None:
        told["memory"] = memory.on(store)
    if (ours := _ours(saver)) is None:
        return told
    wanted = is_router(model) or marked_tools(tools)
    if told.get("effects") is None and wanted and told.get("tool_node") is None:
        from plumbgraph.agents.effects import journal_for  # noqa: PLC0415 - only with effects

        told["effects"] = journal_for(ours, tenant=_tenant(ours))
    if told.get("skills") is not None:
        told["skills"] = node = skill_node(told["skills"], policy_of(told.get("policy")))
        if node is not None:
            node.kit.desk.bodies.prefer(_bodies(ours))
    return told


def informed(saver: AnySaver | None, own: Collection[type]) -> AnySaver | None:
    """The checkpointer, told of the types that a state holds; the same one where it needs none."""
    ours = _ours(saver)
    if ours is None or not own:
        return saver
    return ours.with_allowlist({(each.__module__, each.__name__) for each in own})


def _ours(saver: AnySaver | None) -> PlumbSaver | None:
    if saver is None:
        return None
    from plumbgraph.state import PlumbSaver  # noqa: PLC0415 - only where there is a saver

    return saver if isinstance(saver, PlumbSaver) else None


def _bodies(saver: PlumbSaver) -> Any:
    from plumbgraph.content.postgres import PostgresBlobs  # noqa: PLC0415 - only with skills

    database = saver._core.db  # noqa: SLF001 - shared within the package
    return PostgresBlobs(database, tenant=_tenant(saver), space="skills")


def _tenant(saver: PlumbSaver) -> str:
    tenant = saver._core.tenant  # noqa: SLF001 - shared within the package
    if isinstance(tenant, str):
        return tenant
    raise SettingsError(
        "The saver's tenant is a function, so the other parts cannot share its database by "
        "themselves.",
        hint="Make one agent for each tenant, or pass effects=… and skills=SkillNode(…, blobs=…).",
    )
