"""Values show themselves in a notebook, escaped, and plots are pictures of what they were given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plumbgraph.memory import Fact, MemoryStore
from plumbgraph.notebook import (
    context_tokens,
    cost_by_model,
    memory_versions,
    router_report,
    show,
    story,
    strip,
)
from plumbgraph.testing.faults import FAULTS, Stage
from plumbgraph.timeline import Timeline
from plumbgraph.workspace import Workspace

EVIL = "<script>alert(1)</script>"
PNG = b"\x89PNG"


def html(value: Any) -> str:
    return str(value._repr_html_())


def test_memories_show_their_facts_history_and_what_was_recalled(redis_url: str) -> None:
    with MemoryStore(redis_url) as store:
        for color in ("red", EVIL, "blue"):
            store.remember(("f",), Fact("car", "color", color, source="ann", cardinality="one"))
        found = store.facts(("f",))
        (key,) = [item.key for item in found]
        history = store.history(("f",), key)
        recalled = store.recall(("f",), "which color has the car", token_budget=200)
    assert isinstance(found, list)
    assert "<td>car</td><td>color</td><td>blue</td>" in html(found)
    told = html(history)
    assert told.count("<tr>") == 4
    assert "superseded" in told
    assert "&lt;script&gt;" in told
    assert EVIL not in told
    assert "<th>score</th>" in html(recalled)
    assert "blue" in html(recalled)
    assert "<td>car</td>" in html(Fact("car", "color", EVIL))
    assert EVIL not in html(Fact("car", "color", EVIL))
    picture = memory_versions(history)
    assert picture._repr_png_().startswith(PNG)
    assert len(picture.figure.axes[0].patches) == 3


def test_a_difference_of_folders_is_a_table(tmp_path: Path) -> None:
    from plumbgraph.content import FolderBlobs

    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "kept.md").write_text("one")
    workspace = Workspace(folder, blobs=FolderBlobs(tmp_path / "blobs"))
    before = workspace.snapshot()
    (folder / "kept.md").write_text("one and two")
    (folder / f"{EVIL.replace('/', '')}.md").write_text("new")
    after = workspace.snapshot()
    told = html(workspace.diff(before, after))
    assert "<td>kept.md</td><td>modified</td><td>3</td><td>11</td>" in told
    assert "added" in told
    assert "<script>" not in told
    assert "files" in html(after)


@pytest.fixture(scope="module")
def timeline(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    stage = Stage(tmp_path_factory.mktemp("run"))
    FAULTS["too_many_dollars"].play(stage)
    return Timeline.load("t", sources=stage.saver, log=stage.log)


def test_a_run_is_drawn_as_cost_context_and_strip(timeline: Timeline) -> None:
    own = [row for row in timeline.rows if row.depth == 0]
    picture = story(timeline)
    assert picture._repr_png_().startswith(PNG)
    assert len(picture.figure.axes) == 3
    bars = strip(timeline).figure.axes[0].patches
    assert len(bars) == len(own)
    (line,) = cost_by_model(timeline).figure.axes[0].lines
    assert float(line.get_ydata()[-1]) == pytest.approx(timeline.spent.usd, abs=1e-9)
    asked = context_tokens(timeline).figure.axes[0].lines[0].get_ydata()
    assert list(asked) == [row.input_tokens for row in own if row.input_tokens]
    ticks = strip(timeline).figure.axes[0].get_xticks()
    assert all(float(tick).is_integer() for tick in ticks)


def test_the_routers_report_is_drawn_with_intervals_and_benchmarks() -> None:
    from plumbgraph.routing.report import TaskRow

    def row(task: str, *, flagged: bool, benchmark: float | None) -> TaskRow:
        return TaskRow(
            task=task,
            model="small",
            count=40,
            lived=0.5,
            low=0.35,
            high=0.65,
            benchmark=benchmark,
            gap=None,
            flagged=flagged,
            usd=0.01,
        )

    rows = [row("talk", flagged=False, benchmark=None), row("code", flagged=True, benchmark=0.9)]
    picture = router_report(rows)
    assert picture._repr_png_().startswith(PNG)
    (axes,) = picture.figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["talk · small", "code · small"]
    marks = [float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]
    assert marks == [0.5, 0.5, 0.9]


def test_show_makes_a_table_of_any_value(timeline: Timeline) -> None:
    assert "plumb-timeline" in str(show(timeline))
    told = str(show(timeline.findings))
    assert "stopped_by_budget" in told
    assert EVIL not in str(show({"key": EVIL}))
    assert "<td>3</td>" in str(show([1, 2, 3]))
