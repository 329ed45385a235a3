"""LangChain's tracer with what our events say of a run, sent with half of the requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self
from uuid import UUID

from langchain_core.outputs import LLMResult
from langchain_core.tracers.langchain import LangChainTracer
from langsmith.run_trees import RunTree

from plumbgraph.tracing.anonymize import clean
from plumbgraph.tracing.context import from_runtime
from plumbgraph.tracing.costs import Pricing, add_costs
from plumbgraph.tracing.langsmith_facts import Facts


class Tracer(LangChainTracer):
    """LangChain's own tracer, with redacted names and tags and what our events say of a run.

    A run below the root is sent when the first run inside it begins, or else as a whole when it
    ends: most model and tool calls take one upload instead of two.
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

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **more: Any) -> RunTree:
        """A model answered; its cost is added where nobody told it."""
        if self.price is not None:
            add_costs(response, self.price)
        return super().on_llm_end(response, run_id=run_id, **more)

    def _start_trace(self, run: RunTree) -> None:
        run.name = clean(run.name)
        if run.tags:
            run.tags = [clean(tag) for tag in run.tags]
        told = run.extra.setdefault("metadata", {})
        parent = self.run_map.get(str(run.parent_run_id)) if run.parent_run_id else None
        if parent is None:
            told["plumb_run_id"] = str(run.id)
        elif checkpoint := from_runtime().get("checkpoint_id"):
            told["plumb_checkpoint_id"] = checkpoint
            # The node around it was started before its checkpoint could be known.
            parent.extra.setdefault("metadata", {}).setdefault("plumb_checkpoint_id", checkpoint)
        super()._start_trace(run)

    def _persist_run_single(self, run: RunTree) -> None:
        held = self.held.pop(run.parent_run_id, None) if run.parent_run_id else None
        if held is not None:
            super()._persist_run_single(held)
        if run.end_time is None and str(run.parent_run_id) in self.run_map:
            self.held[run.id] = run
        else:
            super()._persist_run_single(run)

    def _update_run_single(self, run: RunTree) -> None:  # type: ignore[override] # a static one there
        if self.held.pop(run.id, None) is not None:
            super()._persist_run_single(run)
            return
        if run.parent_run_id is None:
            self._tell(run)
            for each in [each for each in self.held.values() if each.trace_id == run.trace_id]:
                self.held.pop(each.id, None)
                super()._persist_run_single(each)
        super()._update_run_single(run)

    def _tell(self, run: RunTree) -> None:
        """Add to a root what its events said."""
        facts = self.tell(str(run.id))
        if run.error:
            facts.tags.add("plumb:error")
        run.tags = sorted({*(run.tags or ()), *facts.tags})
        run.extra.setdefault("metadata", {}).update(facts.metadata)
