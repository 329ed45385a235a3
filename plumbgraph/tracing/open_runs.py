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
        place: Correlation for its events: thread, run, step, node, namespace, attempt.
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
        root = parent.root if parent else str(run_id)
        if parent is None and kind == "inner":
            kind = "run"
        place = from_metadata(metadata)
        place["run_id"] = root
        place["span_id"] = str(run_id)
        if parent:
            place["parent_span_id"] = parent.place["span_id"]
        if parent and kind != "node" and "attempt" in parent.place:
            place["attempt"] = parent.place["attempt"]
        if kind == "node":
            place["attempt"] = self._attempt(root, place.get("checkpoint_ns", ""))
        opened = self._runs[run_id] = OpenRun(root, kind, at, place)
        return opened

    def get(self, run_id: UUID) -> OpenRun | None:
        """The open run of this id."""
        return self._runs.get(run_id)

    def end(self, run_id: UUID) -> OpenRun | None:
        """Forget a run, and with a root everything that was left open below it."""
        ended = self._runs.pop(run_id, None)
        if ended is not None and ended.root == str(run_id):
            self._runs = {key: run for key, run in self._runs.items() if run.root != ended.root}
            self._attempts = {
                key: count for key, count in self._attempts.items() if key[0] != ended.root
            }
        return ended

    def _attempt(self, root: str, checkpoint_ns: str) -> int:
        """A task's namespace is its own, so a second start of it is a second attempt."""
        key = (root, checkpoint_ns)
        self._attempts[key] = self._attempts.get(key, 0) + 1
        return self._attempts[key]
