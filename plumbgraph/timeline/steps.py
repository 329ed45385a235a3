"""The steps of a thread as rows: who ran, how long, what it cost, and what was decided there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from plumbgraph.timeline.evidence import CheckpointFact, Evidence, Record
from plumbgraph.timeline.notes import Note, note_of
from plumbgraph.timeline.runs import Places, Run
from plumbgraph.timeline.state_notes import notes_between

Ended: TypeAlias = Literal["done", "failed", "interrupted", "running", "cut", "left"]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call; `status` is `success`, `error`, `interrupted` or `cut`."""

    name: str
    status: str
    duration_ms: float | None = None


@dataclass(slots=True, kw_only=True)
class StepRow:
    """One node's work in one step.

    Attributes:
        step: The super-step of the graph itself.
        node: The node; for work inside a subgraph, `outer > inner`.
        run: Number of the run, from 0; a resumed thread has several.
        status: `done`, `failed`, `interrupted`, `running`, `cut` by a crash, or `left` to do.
        at: When it began, ISO 8601 in UTC.
        cost_usd: What its model calls cost, `None` where nobody said.
        changed: Channels that the step changed.
        depth: 0 for the graph's own nodes, more inside subgraphs.
    """

    step: int
    node: str
    run: int = 0
    attempt: int = 1
    status: Ended = "done"
    at: str = ""
    duration_ms: float | None = None
    models: list[str] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    tools: list[ToolUse] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    error: str | None = None
    checkpoint_id: str | None = None
    changed: tuple[str, ...] = ()
    depth: int = 0

    def charge(self, usd: Any) -> None:
        """Add a cost, if it is one."""
        if isinstance(usd, int | float):
            self.cost_usd = (self.cost_usd or 0.0) + usd


def rows_of(evidence: Evidence, runs: Sequence[Run]) -> list[StepRow]:
    """Rows in the order of steps: from the log, and from checkpoints where the log is silent."""
    places = Places(evidence.records)
    rows: list[StepRow] = []
    for number, run in enumerate(runs):
        rows += _rows_of_run(run, number, places)
    told = {row.step for row in rows}
    rows += [row for row in _silent(evidence.checkpoints) if row.step not in told]
    after = {each.step: each for each in evidence.checkpoints}
    for row in rows:
        if row.depth == 0 and row.step in after and row.status == "done":
            row.checkpoint_id, row.changed = after[row.step].id, after[row.step].changed
            said = [each for each in after[row.step].answers if each.by_model]
            if row.cost_usd is None and len(row.models) == len(said):
                # Somebody else priced the message, after the log had its line.
                for answer in said:
                    row.charge(answer.cost_usd)
    return sorted(rows, key=lambda row: (row.run, row.step, row.at))


class _Open:
    """The rows of one run by the task they belong to."""

    def __init__(self, number: int, places: Places) -> None:
        self.rows: dict[tuple[str, int], StepRow] = {}
        self.number = number
        self.places = places

    def start(self, record: Record) -> None:
        ns = str(record.get("checkpoint_ns") or "")
        step = self.places.step(record)
        inner, outer = str(record.get("node") or "?"), self.places.node(record)
        depth = ns.count("|")
        self.rows[ns, int(record.get("attempt") or 1)] = StepRow(
            step=step if step is not None else 0,
            node=f"{outer} > {inner}" if depth else inner,
            run=self.number,
            attempt=int(record.get("attempt") or 1),
            status="running",
            at=str(record.get("ts", "")),
            depth=depth,
            checkpoint_id=None,
        )

    def of(self, record: Record) -> StepRow | None:
        """The row a record belongs to: its own task's, else that of the task around it."""
        parts = str(record.get("checkpoint_ns") or "").split("|")
        attempt = int(record.get("attempt") or 1)
        for end in range(len(parts), 0, -1):
            ns = "|".join(parts[:end])
            row = self.rows.get((ns, attempt)) or self.rows.get((ns, 1))
            if row is not None:
                return row
        return None


def _rows_of_run(run: Run, number: int, places: Places) -> list[StepRow]:
    opened = _Open(number, places)
    charged: dict[int, float] = {}
    for record in run.records:
        if record.get("event") == "node.started":
            opened.start(record)
            continue
        row = opened.of(record)
        if row is not None:
            _fill(row, record)
            if record.get("event") == "route.charged":
                charged[id(row)] = charged.get(id(row), 0.0) + float(record.get("usd") or 0.0)
    for row in opened.rows.values():
        if row.status == "running" and run.ending != "open":
            row.status = "cut" if run.ending == "lost" else "interrupted"
        if row.cost_usd is None and id(row) in charged:
            row.cost_usd = charged[id(row)]
    return list(opened.rows.values())


def _fill(row: StepRow, record: Record) -> None:
    event = str(record.get("event"))
    if event.startswith("node."):
        row.duration_ms = record.get("duration_ms")
        row.status = {"node.ended": "done", "node.failed": "failed"}.get(event, "interrupted")  # type: ignore[assignment]
        row.error = record.get("error") if event == "node.failed" else None
    elif event == "model.ended":
        _fill_model(row, record)
    elif event in {"tool.ended", "tool.failed", "tool.interrupted"}:
        status = str(record.get("status") or ("error" if event == "tool.failed" else "interrupted"))
        name = str(record.get("gen_ai.tool.name", "tool"))
        row.tools.append(ToolUse(name, status, record.get("duration_ms")))
    note = note_of(record)
    if note is not None:
        row.notes.append(note)


def _fill_model(row: StepRow, record: Record) -> None:
    model = record.get("gen_ai.response.model") or record.get("gen_ai.request.model")
    if model:
        row.models.append(str(model))
    row.input_tokens += int(record.get("gen_ai.usage.input_tokens") or 0)
    row.output_tokens += int(record.get("gen_ai.usage.output_tokens") or 0)
    row.cached_tokens += int(record.get("gen_ai.usage.cache_read.input_tokens") or 0)
    row.charge(record.get("cost_usd"))


def _silent(checkpoints: Sequence[CheckpointFact]) -> Iterable[StepRow]:
    """Rows of the steps that only checkpoints tell of, and of what is left after the last one."""
    before: CheckpointFact | None = None
    for each in checkpoints:
        if before is not None and each.source == "loop" and before.next != ("__start__",):
            row = _row(each, ", ".join(before.next) or "?")
            row.notes = notes_between(before.values, each.values)
            yield row
        before = each
    if before is not None and before.next:
        row = StepRow(step=before.step + 1, node=", ".join(before.next), status="left")
        if before.interrupts:
            row.status = "interrupted"
        elif before.error:
            row.status, row.error = "failed", before.error
        yield row


def _row(fact: CheckpointFact, node: str) -> StepRow:
    row = StepRow(step=fact.step, node=node, at=fact.at.isoformat() if fact.at else "")
    for answer in fact.answers:
        row.models += [answer.model] if answer.model else []
        row.input_tokens += answer.input_tokens or 0
        row.output_tokens += answer.output_tokens or 0
        row.charge(answer.cost_usd)
    row.tools = [ToolUse(tool.name, "error" if tool.failed else "success") for tool in fact.tools]
    return row
