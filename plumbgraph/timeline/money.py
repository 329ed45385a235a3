"""What a thread cost: in all, by model, and by what was told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum

from plumbgraph.timeline.evidence import Evidence, Record
from plumbgraph.timeline.steps import StepRow


@dataclass(frozen=True, slots=True)
class Spent:
    """Money and tokens of a thread.

    Attributes:
        usd: Dollars in all, as far as costs were told.
        by_model: Dollars by model.
        untold: Model calls whose cost nobody told.
    """

    usd: float
    by_model: dict[str, float] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    calls: int = 0
    untold: int = 0


def spent_of(evidence: Evidence, rows: Sequence[StepRow]) -> Spent:
    """Money and tokens, from the log, else from the messages in the checkpoints."""
    costs, stored = _logged(evidence.records), _stored(evidence)
    if not costs or (len(costs) == len(stored) and all(usd is None for _, usd in costs)):
        costs = stored
    by_model: dict[str, list[float]] = {}
    for model, usd in costs:
        if usd is not None:
            by_model.setdefault(model, []).append(usd)
    return Spent(
        usd=fsum(usd for _, usd in costs if usd is not None),
        by_model={model: fsum(each) for model, each in by_model.items()},
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cached_tokens=sum(row.cached_tokens for row in rows),
        calls=len(costs),
        untold=sum(usd is None for _, usd in costs),
    )


def _logged(records: Sequence[Record]) -> list[tuple[str, float | None]]:
    """Costs of model calls; where calls are charged by a router, its charges are the costs."""
    charges = [r for r in records if r.get("event") == "route.charged"]
    routed = {_task(record) for record in charges}
    found = [(str(r.get("model", "?")), float(r.get("usd") or 0.0)) for r in charges]
    plain: list[tuple[str, float | None]] = []
    for record in records:
        if record.get("event") == "model.ended" and _task(record) not in routed:
            name = record.get("gen_ai.response.model") or record.get("gen_ai.request.model")
            plain.append((str(name or "?"), record.get("cost_usd")))
    return [*found, *plain]


def _task(record: Record) -> tuple[object, ...]:
    return record.get("run_id"), record.get("checkpoint_ns"), record.get("attempt")


def _stored(evidence: Evidence) -> list[tuple[str, float | None]]:
    return [
        (answer.model or "?", answer.cost_usd)
        for fact in evidence.checkpoints
        for answer in fact.answers
        if answer.by_model
    ]
