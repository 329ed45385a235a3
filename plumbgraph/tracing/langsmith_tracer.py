"""LangChain's tracer with what our events say of a run, sent with half of the requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.langchain import (
    OVERRIDABLE_LANGSMITH_INHERITABLE_METADATA_KEYS as OVERRIDABLE,
)
from langchain_core.tracers.langchain import LangChainTracer
from langsmith.run_trees import RunTree

from plumbgraph.tracing.anonymize import clean, dumped
from plumbgraph.tracing.costs import Pricing, add_costs
from plumbgraph.tracing.langsmith_facts import Facts
from plumbgraph.upstream import starting_checkpoint

_SENT = (
    "id", "start_time", "end_time", "error", "serialized", "events", "outputs", "tags", "extra",
    "reference_example_id", "parent_run_id", "session_name", "session_id", "address",
    "dotted_order", "trace_id",
)  # fmt: skip

_UNSET: Any = dict.fromkeys(
    ("session_id", "error", "end_time", "reference_example_id", "parent_run", "ls_client",
     "parent_dotted_order", "dangerously_allow_filesystem"),
) | {"dotted_order": ""}  # fmt: skip


class Tracer(LangChainTracer):
    """LangChain's own tracer, with redacted names and tags and what our events say of a run.

    A run below the root is sent when the first run inside it begins, or else as a whole when it
    ends: most model and tool calls take one upload instead of two. What LangChain would check and
    copy on the way, though it made it itself, is neither.
    """

    def __init__(
        self,
        *,
        tell: Callable[[str], Facts] | None = None,
        price: Pricing | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.price = price
        self.tell = tell or (lambda _: Facts())
        self.held: dict[UUID, RunTree] = {}

    def copy_with_metadata_defaults(self, **defaults: Any) -> Self:
        """A copy for nested runs, which shares what is known of the runs."""
        copy: Any = super().copy_with_metadata_defaults(**defaults)
        copy.tell, copy.price, copy.held = self.tell, self.price, self.held
        return copy  # type: ignore[no-any-return]

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **more: Any,
    ) -> RunTree:
        """A chat model is called; messages that were sent before are not written anew."""
        told = {"messages": [[dumped(each) for each in batch] for batch in messages]}
        run = self._made(
            "llm", serialized, told, run_id, parent_run_id, tags=tags, name=name,
            extra={**more, "metadata": metadata} if metadata else more,
        )  # fmt: skip
        self._start_trace(run)
        self._on_chat_model_start(run)
        return run

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **more: Any) -> RunTree:
        """A model answered; its cost is added where nobody told it."""
        add_costs(response, self.price)
        return super().on_llm_end(response, run_id=run_id, **more)

    def _create_chain_run(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        run_id: UUID,
        tags: list[str] | None = None,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        run_type: str | None = None,
        name: str | None = None,
        **more: Any,
    ) -> RunTree:
        told, extra = self._get_chain_inputs(inputs), {**more, "metadata": metadata or {}}
        kind = run_type or "chain"
        return self._made(
            kind, serialized, told, run_id, parent_run_id, tags=tags, name=name, extra=extra
        )

    def _create_tool_run(
        self,
        serialized: dict[str, Any],
        input_str: str,
        run_id: UUID,
        tags: list[str] | None = None,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        inputs: dict[str, Any] | None = None,
        **more: Any,
    ) -> RunTree:
        told = inputs if isinstance(inputs, dict) else {"input": input_str}
        extra = {**more, "metadata": metadata or {}}
        return self._made(
            "tool", serialized, told, run_id, parent_run_id, tags=tags, name=name, extra=extra
        )

    def _made(
        self,
        run_type: str,
        serialized: dict[str, Any] | None,
        inputs: dict[str, Any],
        run_id: UUID,
        parent_run_id: UUID | None,
        *,
        extra: dict[str, Any],
        tags: list[str] | None,
        name: str | None,
    ) -> RunTree:
        """A run from checked parts; below a root its destination is known as well."""
        begun = datetime.now(UTC)
        fields: dict[str, Any] = {
            "id": run_id,
            "parent_run_id": parent_run_id,
            "serialized": serialized,
            "inputs": dict(inputs),
            "events": [{"name": "start", "time": begun}],
            "start_time": begun,
            "run_type": run_type,
            "tags": tags or [],
            "name": name or _name_in(serialized),
            **self._get_run_kwargs(parent_run_id, extra),
        }
        if parent_run_id is None or str(parent_run_id) not in self.run_map:
            return RunTree(**fields)
        return RunTree.model_construct(
            **_UNSET, **fields, outputs={}, child_runs=[], attachments={}, trace_id=run_id
        )

    def _start_trace(self, run: RunTree) -> None:
        run.name = clean(run.name)
        if run.tags:
            run.tags = [clean(tag) for tag in run.tags]
        told = run.extra["metadata"] = {**(run.extra.get("metadata") or {})}
        for key, value in (self.tracing_metadata or {}).items():
            if key not in told or key in OVERRIDABLE:
                told[key] = value
        around = self.run_map.get(str(run.parent_run_id)) if run.parent_run_id else None
        if around is None:
            told["plumb_run_id"] = str(run.id)
        elif checkpoint := _checkpoint(told, around.extra.get("metadata") or {}):
            told["plumb_checkpoint_id"] = checkpoint
        super()._start_trace(run)

    def _persist_run_single(self, run: RunTree) -> None:
        held = self.held.pop(run.parent_run_id, None) if run.parent_run_id else None
        if held is not None:
            self._post(held)
        if run.end_time is None and str(run.parent_run_id) in self.run_map:
            self.held[run.id] = run
        else:
            self._post(run)

    def _update_run_single(self, run: RunTree) -> None:  # type: ignore[override] # a static one there
        if self.held.pop(run.id, None) is not None:
            self._post(run)
            return
        if run.parent_run_id is None:
            self._tell(run)
            for each in [each for each in self.held.values() if each.trace_id == run.trace_id]:
                self.held.pop(each.id, None)
                self._post(each)
        super()._update_run_single(run)

    def _post(self, run: RunTree) -> None:
        """Hand a run to the client, as `RunTree.post` does, without checking it once more."""
        if run.parent_run_id is None or run.replicas or run.attachments:
            super()._persist_run_single(run)
            return
        if run.extra.get("__disabled"):
            return
        fields = {key: value for key in _SENT if (value := getattr(run, key)) is not None}
        kind: Any = run.run_type
        self.client.create_run(run.name, run.inputs, kind, **fields)

    def _tell(self, run: RunTree) -> None:
        """Add to a root what its events said."""
        facts = self.tell(str(run.id))
        if run.error:
            facts.tags.add("plumb:error")
        run.tags = sorted({*(run.tags or ()), *facts.tags})
        run.extra.setdefault("metadata", {}).update(facts.metadata)


def _checkpoint(told: Mapping[str, Any], around: Mapping[str, Any]) -> str | None:
    """The checkpoint that the step of a run began from: a node's own, else that around it."""
    ns = told.get("langgraph_checkpoint_ns")
    if ns != around.get("langgraph_checkpoint_ns"):
        return starting_checkpoint(str(ns))
    known: str | None = around.get("plumb_checkpoint_id")
    return known


def _name_in(serialized: dict[str, Any] | None) -> str:
    """The name of what has none of its own, as `RunTree` finds it."""
    known = serialized or {}
    return str(known.get("name") or (known.get("id") or ["Unnamed"])[-1])
