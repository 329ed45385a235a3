"""How decisions and reports look in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from plumbgraph.html import Rows, Safe, joined, table, tag

if TYPE_CHECKING:
    from plumbgraph.routing.report import PairRow, TaskRow
    from plumbgraph.routing.values import Decision

_NANO = 1e9


def decision_fragment(decision: Decision) -> Safe:
    """A decision: the model and why, the other candidates, and who was refused by which rule."""
    candidates = [
        (
            each.model,
            f"{each.p_ok:.2f}",
            each.p_source,
            f"{each.expected_nano / _NANO:.6f}",
            f"{each.worst_nano / _NANO:.6f}",
        )
        for each in decision.candidates
    ]
    refused = [(each.model, each.rule, each.reason) for each in decision.refusals]
    return joined(
        (
            tag("p", tag("b", decision.model), f" ({decision.code}) {decision.reason}"),
            table(("candidate", "P(ok)", "from", "expected $", "at most $"), candidates),
            table(("refused", "rule", "reason"), refused) if refused else None,
        )
    )


class TaskRows(Rows):
    """Lived experience beside benchmarks, a row a task and model."""

    columns: ClassVar = ("task", "model", "n", "lived", "95 %", "benchmark", "gap", "$ a call")

    @override
    def cells(self, each: TaskRow) -> Sequence[Any]:
        benchmark = None if each.benchmark is None else f"{each.benchmark:.2f}"
        gap = None if each.gap is None else f"{each.gap:+.2f}{' !' if each.flagged else ''}"
        between = f"{each.low:.2f} to {each.high:.2f}"
        lived, usd = f"{each.lived:.2f}", f"{each.usd:.6f}"
        return each.task, each.model, each.count, lived, between, benchmark, gap, usd


class PairRows(Rows):
    """What shadow calls say, a row a task and pair of models."""

    columns: ClassVar = (
        *("task", "model", "shadow", "n", "difference", "95 %", "saved $", "verdict"),
    )

    @override
    def cells(self, each: PairRow) -> Sequence[Any]:
        between = f"{each.low:+.2f} to {each.high:+.2f}"
        told = f"{each.difference:+.2f}", between, f"{each.saved_usd:.6f}", each.verdict
        return each.task, each.model, each.shadow, each.count, *told
