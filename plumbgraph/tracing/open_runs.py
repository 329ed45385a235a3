"""The runs that have started and not ended, and what their end will need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from plumbgraph.tracing.context import from_metadata


@dataclass(slots=True)
class OpenRun:
    """One run of a chain, model or tool.

    Attributes:
        root: Id of the run at the top.
        kind: `run`, `node`, `model`, `tool`, or `inner` for chains inside a node.
        started: Monotonic seconds.
        place: Correlation for its events: thread, run, step, node, namespace, attempt; that of
            an inner chain is the one around it.
        facts: What its start knew and its end repeats.
        args: A tool's arguments, until its end.
    """

    root: str
    kind: str
    started: float
    place: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    args: Any = None


class OpenRuns:
    """Open runs by id. Ending a root forgets everything below it, so nothing piles up."""

    def __init__(self) -> None:
        self._runs: dict[UUID, OpenRun] = {}
        self._attempts: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def start(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        kind: str,
        *,
        metadata: Mapping[str, Any],
        at: float,
    ) -> OpenRun:
        """Note a start; a parent that was never seen makes this run a root."""
        parent = self._runs.get(parent_run_id) if parent_run_id else None
        if parent is None or parent_run_id is None:
            opened = self._root(run_id, kind, metadata, at)
        elif kind == "inner":
            opened = OpenRun(parent.root, kind, at, parent.place)
        else:
            place = self._place(kind, metadata, parent)
            place["span_id"] = str(run_id)
            inner = parent.kind == "inner"
            place["parent_span_id"] = str(parent_run_id) if inner else parent.place["span_id"]
            opened = OpenRun(parent.root, kind, at, place)
        self._runs[run_id] = opened
        return opened

    def get(self, run_id: UUID) -> OpenRun | None:
        """The open run of this id."""
        return self._runs.get(run_id)

    def end(self, run_id: UUID) -> OpenRun | None:
        """Forget a run, and with a root everything that was left open below it."""
        ended = self._runs.pop(run_id, None)
        if ended is not None and ended.kind != "inner" and "parent_span_id" not in ended.place:
            # Other threads begin runs meanwhile, so the copies are made in one go.
            for key, run in list(self._runs.items()):
                if run.root == ended.root:
                    self._runs.pop(key, None)
            for each in list(self._attempts):
                if each[0] == ended.root:
                    self._attempts.pop(each, None)
        return ended

    def _root(self, run_id: UUID, kind: str, metadata: Mapping[str, Any], at: float) -> OpenRun:
        place, name = from_metadata(metadata), str(run_id)
        place["run_id"] = place["span_id"] = name
        if metadata.get("checkpoint_id"):  # the one that the caller asked for
            place["checkpoint_id"] = metadata["checkpoint_id"]
        if kind == "node":
            place["attempt"] = self._attempt(name, place)
        return OpenRun(name, "run" if kind == "inner" else kind, at, place)

    def _place(self, kind: str, metadata: Mapping[str, Any], parent: OpenRun) -> dict[str, Any]:
        around = parent.place
        if kind != "node" and metadata.get("langgraph_checkpoint_ns") == around.get(
            "checkpoint_ns"
        ):
            return around.copy()
        place = from_metadata(metadata)
        place["run_id"] = parent.root
        if kind == "node":
            place["attempt"] = self._attempt(parent.root, place)
        elif "attempt" in around:
            place["attempt"] = around["attempt"]
        return place

    def _attempt(self, root: str, place: Mapping[str, Any]) -> int:
        """A task's namespace is its own, so a second start of it is a second attempt."""
        key = (root, place.get("checkpoint_ns", ""))
        count = self._attempts[key] = self._attempts.get(key, 0) + 1
        return count
