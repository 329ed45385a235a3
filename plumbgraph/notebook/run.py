"""A run as pictures: money by model, context with skills, and a strip of its steps."""

from __future__ import annotations

from typing import Any

from plumbgraph.notebook.axes import INK, Picture, figure
from plumbgraph.timeline import StepRow, Timeline

_COLORS = {"failed": "bad", "cut": "bad", "interrupted": "wait", "left": "wait"}


def story(timeline: Timeline) -> Picture:
    """Cost, context and strip below one another, over the same steps."""
    made, axes = figure(3, height=1.9, heights=[2.0, 2.0, 0.8])
    _cost(axes[0], timeline)
    _context(axes[1], timeline)
    _strip(axes[2], timeline)
    made.suptitle(timeline.verdict.text, x=0.01, ha="left", fontsize=10, wrap=True)
    return Picture(made)


def cost_by_model(timeline: Timeline) -> Picture:
    """Dollars in sum over the run's steps, one line a model."""
    made, (axes,) = figure()
    _cost(axes, timeline)
    _by_step(axes)
    return Picture(made)


def context_tokens(timeline: Timeline) -> Picture:
    """Input tokens of each model call, with a mark where a skill was loaded or put down."""
    made, (axes,) = figure()
    _context(axes, timeline)
    _by_step(axes)
    return Picture(made)


def strip(timeline: Timeline) -> Picture:
    """One cell a step: done, failed, cut off, waiting, or part of a loop."""
    made, (axes,) = figure(height=1.1)
    _strip(axes, timeline)
    return Picture(made)


def _rows(timeline: Timeline) -> list[StepRow]:
    return [row for row in timeline.rows if row.depth == 0]


def _cost(axes: Any, timeline: Timeline) -> None:
    sums: dict[str, float] = {}
    points: dict[str, list[tuple[int, float]]] = {}
    for row in _rows(timeline):
        if row.cost_usd:
            model = row.models[-1] if row.models else "model"
            sums[model] = sums.get(model, 0.0) + row.cost_usd
            points.setdefault(model, [(row.step, 0.0)]).append((row.step, sums[model]))
    for model, line in points.items():
        axes.step(*zip(*line, strict=True), where="post", label=f"{model} ${sums[model]:.4f}")
    axes.set_ylabel("dollars in sum")
    if points:
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    else:
        axes.text(0.5, 0.5, "nobody told a cost", transform=axes.transAxes, ha="center")


def _context(axes: Any, timeline: Timeline) -> None:
    asked = [row for row in _rows(timeline) if row.input_tokens]
    axes.plot(
        [row.step for row in asked], [row.input_tokens for row in asked], color=INK["line"], lw=1.6
    )
    for row in _rows(timeline):
        for note in row.notes:
            if note.event in {"skill.loaded", "skill.unloaded"}:
                loaded = note.event == "skill.loaded"
                color = INK["good"] if loaded else INK["wait"]
                axes.axvline(row.step, color=color, lw=1, ls="-" if loaded else ":")
                text = note.text.split(" (")[0]
                axes.annotate(text, (row.step, 1), xycoords=("data", "axes fraction"), fontsize=7)
    axes.set_ylabel("tokens asked")


def _strip(axes: Any, timeline: Timeline) -> None:
    verdict = timeline.verdict
    for row in _rows(timeline):
        looping = verdict.code == "looping" and row.step >= verdict.step
        name = _COLORS.get(row.status, "loop" if looping else "good")
        axes.bar(row.step, 1, width=0.85, color=INK[name])
    if verdict.code == "looping":
        axes.annotate("loop", (verdict.step, 1.05), color=INK["loop"], fontsize=8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _by_step(axes)


def _by_step(axes: Any) -> None:
    axes.set_xlabel("step")
    axes.xaxis.get_major_locator().set_params(integer=True)
