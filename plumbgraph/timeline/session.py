"""What the verdict is about: the latest run with the ones it goes on from, one flat view of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plumbgraph.timeline.evidence import CheckpointFact, Evidence, Record
from plumbgraph.timeline.runs import Places, Run, session_of
from plumbgraph.timeline.steps import StepRow
from plumbgraph.tracing.loops import Call, Print, fingerprint


@dataclass(frozen=True, slots=True)
class Use:
    """A finished tool call with its place and its fingerprints."""

    tool: str
    step: int
    node: str | None
    failed: bool
    text: str
    seen: Print


@dataclass(frozen=True, slots=True)
class Session:
    """The part of a thread that the verdict judges.

    Attributes:
        runs: From the last new input on; empty without a log.
        records: Their lines, with those of the thread that belong to no run.
        checkpoints: From the last new input on.
        rows: Their steps.
        uses: Their tool calls, from the log, else from the checkpoints.
    """

    runs: tuple[Run, ...]
    records: tuple[Record, ...]
    places: Places
    checkpoints: tuple[CheckpointFact, ...]
    rows: tuple[StepRow, ...]
    uses: tuple[Use, ...]

    @property
    def last(self) -> Run | None:
        """The latest run."""
        return self.runs[-1] if self.runs else None

    @property
    def head(self) -> CheckpointFact | None:
        """The newest checkpoint."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def last_step(self) -> int:
        """The highest step that was begun or stored."""
        steps = [row.step for row in self.rows if row.status != "left"]
        return max([*steps, *(each.step for each in self.checkpoints)], default=-1)

    def cost_since(self, step: int) -> float:
        """Dollars spent from a step on."""
        return sum(row.cost_usd or 0.0 for row in self.rows if row.step >= step)


def session(evidence: Evidence, runs: Sequence[Run], rows: Sequence[StepRow]) -> Session:
    """The latest session of a thread."""
    latest = session_of(runs)
    checkpoints = _latest_checkpoints(evidence.checkpoints)
    places = Places(evidence.records)
    kept = {id(record) for run in latest for record in run.records}
    first = str(latest[0].started.get("ts", "")) if latest else ""
    records = tuple(
        record
        for record in evidence.records
        if id(record) in kept or (not record.get("run_id") and str(record.get("ts", "")) >= first)
    )
    uses = tuple(_logged(records, places)) or tuple(_stored(checkpoints))
    number = len(runs) - len(latest)
    own = tuple(row for row in rows if row.run >= number or not runs)
    return Session(tuple(latest), records, places, checkpoints, own, uses)


def _latest_checkpoints(every: Sequence[CheckpointFact]) -> tuple[CheckpointFact, ...]:
    for index in range(len(every) - 1, -1, -1):
        if every[index].source == "input":
            return tuple(every[index:])
    return tuple(every)


def _logged(records: Iterable[Record], places: Places) -> Iterable[Use]:
    for record in records:
        event = record.get("event")
        if event not in {"tool.ended", "tool.failed"}:
            continue
        name = str(record.get("gen_ai.tool.name", "tool"))
        failed = event == "tool.failed" or record.get("status") == "error"
        result = str(record.get("result_digest") or record.get("error") or "")
        exact = f"{name} {record.get('args_digest')} {result}"
        loose = str(record.get("pattern_digest") or exact)
        yield Use(
            tool=name,
            step=places.step(record) or 0,
            node=places.node(record),
            failed=failed,
            text=str(record.get("error") or "it answered with an error"),
            seen=Print(name, exact, loose, failed),
        )


def _stored(checkpoints: Iterable[CheckpointFact]) -> Iterable[Use]:
    for fact in checkpoints:
        for each in fact.tools:
            call = Call(each.name, each.args, each.text, each.failed)
            text = each.text[:200]
            yield Use(each.name, fact.step, None, each.failed, text, fingerprint(call))
