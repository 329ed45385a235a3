"""A timeline as lines of text: the verdict, the steps, the money and the next command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plumbgraph.timeline.compare import Difference
    from plumbgraph.timeline.face import Timeline
    from plumbgraph.timeline.steps import StepRow

MARKS = {
    "done": " ",
    "failed": "✗",
    "interrupted": "?",
    "running": "…",
    "cut": "✂",
    "left": "·",
}
"""One sign for how a step ended."""


def money(usd: float | None) -> str:
    """Dollars, with as many places as small sums need."""
    if usd is None:
        return ""
    return f"${usd:.4f}" if abs(usd) >= 0.01 or usd == 0 else f"${usd:.6f}"  # noqa: PLR2004 - a cent


def duration(ms: float | None) -> str:
    """Milliseconds, or seconds where they are many."""
    if ms is None:
        return ""
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"  # noqa: PLR2004 - a second


def lines(timeline: Timeline, *, most: int | None = None) -> Iterable[str]:
    """The whole report.

    Args:
        timeline: Whose.
        most: So many steps at most, the last ones; by default all.
    """
    verdict = timeline.verdict
    yield f"{verdict.code}: {verdict.text}"
    if timeline.resume:
        yield f"go on with: {timeline.resume}"
    if timeline.first_error:
        yield f"first error: {timeline.first_error}"
    for finding in timeline.findings:
        if finding.code != verdict.code:
            yield f"also {finding.code} at step {finding.step}: {finding.text}"
    yield summary(timeline)
    for remark in timeline.evidence.remarks:
        yield f"note: {remark}"
    rows = timeline.rows
    hidden = max(0, len(rows) - most) if most is not None else 0
    yield ""
    if hidden:
        yield f"({hidden} earlier steps not shown; --all shows them)"
    run = rows[hidden].run if hidden < len(rows) else 0
    for row in rows[hidden:]:
        if row.run != run:
            run = row.run
            yield f"     -- resumed, run {run + 1}, process {timeline.runs[run].pid}"
        yield from row_lines(row)
    for effect in timeline.evidence.effects:
        yield f"effect {effect.name}: {effect.state}, attempt {effect.attempt}"


def summary(timeline: Timeline) -> str:
    """Steps, runs, money and tokens in one line."""
    spent = timeline.spent
    words = [count(len({row.step for row in timeline.rows}), "step")]
    words += [count(len(timeline.runs), "run")] if timeline.runs else []
    if spent.calls:
        words.append(count(spent.calls, "model call"))
        words.append(f"{spent.input_tokens:,} tokens in, {spent.output_tokens:,} out")
    if spent.usd or spent.by_model:
        by_model = ", ".join(f"{model} {money(usd)}" for model, usd in spent.by_model.items())
        words.append(f"{money(spent.usd)} ({by_model})")
    if spent.untold and spent.calls:
        words.append(f"cost of {count(spent.untold, 'call')} unknown")
    return " · ".join(words)


def count(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def row_lines(row: StepRow) -> Iterable[str]:
    """A step as one line, and one more for each remark."""
    words = [duration(row.duration_ms)]
    if row.attempt > 1:
        words.append(f"attempt {row.attempt}")
    if row.models:
        words.append(f"{row.models[-1]} {row.input_tokens:,}→{row.output_tokens:,}")
    words.append(money(row.cost_usd))
    words += [f"{tool.name}{'' if tool.status == 'success' else ' ✗'}" for tool in row.tools]
    if row.status not in {"done", "running"}:
        words.append({"left": "not begun", "cut": "cut off"}.get(row.status, row.status))
    told = "  ".join(word for word in words if word)
    indent = "  " * row.depth
    yield f"{MARKS[row.status]}{row.step:>4}  {indent}{row.node:<14} {told}".rstrip()
    if row.error:
        yield f"        {indent}{row.error}"
    for note in row.notes:
        mark = "!" if note.warning else "-"
        yield f"      {indent}{mark} {note.kind}: {note.text}"


def difference_lines(found: Difference) -> Iterable[str]:
    """Two timelines side by side, only where they differ."""
    from plumbgraph.timeline.compare import did  # noqa: PLC0415 - a circle otherwise

    if found.parted_at is None:
        yield "the same steps in both"
    else:
        yield f"they part at step {found.parted_at}"
    yield f"A {found.left}: {found.verdicts[0]}"
    yield f"B {found.right}: {found.verdicts[1]}"
    yield f"B cost {money(abs(found.usd))} {'more' if found.usd >= 0 else 'less'} than A"
    for pair in found.pairs:
        if not pair.same:
            yield f"{pair.step:>5}  A {did(pair.left)}"
            yield f"       B {did(pair.right)}"
