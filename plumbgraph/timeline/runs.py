"""The event log as runs: which records belong to which call of the graph, and how each ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from plumbgraph.timeline.evidence import Record

Ending: TypeAlias = Literal["done", "interrupted", "failed", "cancelled", "open", "lost"]


@dataclass(slots=True)
class Run:
    """One call of the graph on the thread.

    Attributes:
        ending: `open` while its process lives, `lost` when it died without an end.
        fresh: It began with new input; else it went on from a checkpoint.
        records: Its lines, oldest first.
    """

    run_id: str
    pid: int
    started: Record
    ending: Ending = "open"
    fresh: bool = True
    error_type: str | None = None
    error: str | None = None
    records: list[Record] = field(default_factory=list)

    @property
    def graph(self) -> str:
        """Name of the graph."""
        return str(self.started.get("graph", "graph"))


def runs_of(records: Sequence[Record], live: frozenset[tuple[str, int]]) -> list[Run]:
    """The runs in the order of their start; lines outside of any run begin one of their own."""
    found: list[Run] = []
    by_id: dict[tuple[str, int], Run] = {}
    for record in records:
        run_id, pid = str(record.get("run_id") or ""), int(record.get("pid") or 0)
        run = by_id.get((run_id, pid))
        if run is None or record.get("event") == "run.started":
            run = _begun(found, record, run_id, pid)
            by_id[run_id, pid] = run
        run.records.append(record)
        _take(run, record)
    for run in found:
        if run.ending == "open" and (run.run_id, run.pid) not in live:
            run.ending = "lost"
    return [run for run in found if run.run_id]


def _begun(found: list[Run], record: Record, run_id: str, pid: int) -> Run:
    run = Run(run_id, pid, record)
    run.fresh = record.get("event") != "run.started" or bool(record.get("input_digest"))
    before = next((each for each in reversed(found) if each.run_id), None)
    if before is not None and before.ending == "interrupted":
        run.fresh = False
    found.append(run)
    return run


def _take(run: Run, record: Record) -> None:
    event = record.get("event")
    if event == "run.resumed":
        run.fresh = False
    elif event == "run.ended":
        status = str(record.get("status"))
        known: dict[str, Ending] = {"done": "done", "interrupted": "interrupted"}
        run.ending = known.get(status, "cancelled")
    elif event == "run.failed":
        run.ending = "failed"
        run.error_type = str(record.get("error.type", "Exception"))
        run.error = str(record.get("error", ""))


def session_of(runs: Sequence[Run]) -> list[Run]:
    """The latest run with the runs it goes on from: back to the last new input."""
    for index in range(len(runs) - 1, -1, -1):
        if runs[index].fresh:
            return list(runs[index:])
    return list(runs)


class Places:
    """The graph's own step of each record, also of those from inside a subgraph."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._outer: dict[str, tuple[int, str]] = {}
        for record in records:
            ns = str(record.get("checkpoint_ns") or "")
            if record.get("event") == "node.started" and ns and "|" not in ns:
                self._outer[ns] = (int(record.get("step") or 0), str(record.get("node") or ""))

    def step(self, record: Record) -> int | None:
        """The step of the graph itself."""
        found = self._outer.get(str(record.get("checkpoint_ns") or "").split("|")[0])
        if found:
            return found[0]
        step = record.get("step")
        return int(step) if isinstance(step, int) else None

    def node(self, record: Record) -> str | None:
        """The node of the graph itself."""
        found = self._outer.get(str(record.get("checkpoint_ns") or "").split("|")[0])
        told: Any = found[1] if found else record.get("node")
        return str(told) if told else None
