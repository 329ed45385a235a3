"""Who is writing: the run, thread, checkpoint and tool of the LangGraph config that is running."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from plumbgraph.memory.keys import check_tenant
from plumbgraph.memory.records import Provenance
from plumbgraph.tracing.context import correlation, running_config

Tenant: TypeAlias = str | Callable[[Mapping[str, Any]], str]
"""A tenant's name, or a function that finds it in the run's config."""


def provenance(source: str | None = None, tool_call_id: str | None = None) -> Provenance:
    """Where a write comes from, as far as the running config tells."""
    config = running_config()
    if config is None:
        return Provenance(source=source, tool_call_id=tool_call_id)
    found = correlation(config)
    return Provenance(
        run_id=_text(found.get("run_id")),
        thread_id=_text(found.get("thread_id")),
        checkpoint_id=_text(found.get("checkpoint_id")),
        node=_text(found.get("node")),
        tool_call_id=tool_call_id,
        source=source,
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def tenant_of(tenant: Tenant) -> str:
    """The tenant of the code that is running."""
    if isinstance(tenant, str):
        return tenant
    return check_tenant(tenant(running_config() or {}))
