"""A timeline as HTML: a fragment for notebooks, and the same as one self-contained page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumbgraph.html import Safe, joined, tag
from plumbgraph.timeline.text import duration, money, summary

if TYPE_CHECKING:
    from plumbgraph.timeline.face import Timeline
    from plumbgraph.timeline.steps import StepRow

_GOOD = {"finished", "running"}
_WAITING = {"interrupted", "waiting", "cancelled", "effect_in_doubt"}
_STRIP_ROWS = 600
_STRIP_LEAST = 24
_ENDED = {
    "done": "done",
    "failed": "failed",
    "interrupted": "waits",
    "running": "running",
    "cut": "cut off",
    "left": "not begun",
}

_PAGE = """
html{background:#f6f7f9}body{margin:0}
@media (prefers-color-scheme:dark){html{background:#14171a}}
@media print{html{background:#fff}@page{margin:14mm}}
"""

STYLE = """
.plumb-timeline{--ink:#1c1e21;--soft:#5f6670;--line:#dfe3e8;--card:#fff;--back:#f6f7f9;
--good:#1a7f4b;--wait:#9a6700;--bad:#c2362b;--loop:#7a4fd0;--cost:#2266cc;
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:var(--ink);
background:var(--back);padding:16px;max-width:1080px;margin:0 auto;box-sizing:border-box;
text-align:left;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){.plumb-timeline{--ink:#e8eaed;--soft:#a0a7b1;--line:#343a42;
--card:#1d2126;--back:#14171a;--good:#57c98b;--wait:#e0b04c;--bad:#ff8177;--loop:#b79af5;
--cost:#7fb2ff}}
.plumb-timeline *{box-sizing:border-box}
.plumb-timeline h1{font-size:17px;margin:0 0 10px;font-weight:600;color:var(--soft)}
.plumb-timeline .verdict{border-left:6px solid var(--tone);background:var(--card);
padding:12px 16px;border-radius:6px;margin:0 0 12px}
.plumb-timeline .verdict b{color:var(--tone);font-size:19px;display:block}
.plumb-timeline .good{--tone:var(--good)}.plumb-timeline .wait{--tone:var(--wait)}
.plumb-timeline .bad{--tone:var(--bad)}
.plumb-timeline code{font:13px/1.4 ui-monospace,Menlo,Consolas,monospace;background:var(--back);
padding:2px 6px;border-radius:4px}
.plumb-timeline .facts{color:var(--soft);margin:6px 0 12px;font-size:14px}
.plumb-timeline ul{margin:6px 0 12px;padding-left:20px}
.plumb-timeline svg{display:block;width:100%;height:74px;margin:0 0 12px}
.plumb-timeline svg.plain{height:26px}
.plumb-timeline ol{list-style:none;margin:0;padding:0;background:var(--card);border-radius:6px;
border:1px solid var(--line)}
.plumb-timeline li.step{display:grid;grid-template-columns:3.2em minmax(8em,14em) 1fr auto;
gap:2px 12px;padding:7px 12px;border-top:1px solid var(--line)}
.plumb-timeline li.step:first-child{border-top:0}
.plumb-timeline li.again{padding:5px 12px;border-top:1px solid var(--line);color:var(--soft);
font-size:13px}
.plumb-timeline .num{color:var(--soft);font-variant-numeric:tabular-nums;text-align:right}
.plumb-timeline .right{color:var(--soft);font-variant-numeric:tabular-nums;text-align:right;
white-space:nowrap}
.plumb-timeline .node{font-weight:600}.plumb-timeline .soft{color:var(--soft)}
.plumb-timeline .notes{grid-column:2/-1;color:var(--soft);font-size:13px}
.plumb-timeline .notes span{display:block}.plumb-timeline .warn{color:var(--wait)}
.plumb-timeline .err{color:var(--bad)}
.plumb-timeline li.failed,.plumb-timeline li.cut{box-shadow:inset 4px 0 var(--bad)}
.plumb-timeline li.loop{box-shadow:inset 4px 0 var(--loop)}
.plumb-timeline li.interrupted,.plumb-timeline li.left{box-shadow:inset 4px 0 var(--wait)}
.plumb-timeline .legend{color:var(--soft);font-size:12px;margin:-6px 0 12px}
@media (max-width:640px){.plumb-timeline{padding:10px}.plumb-timeline li.step{
grid-template-columns:2.6em 1fr auto}.plumb-timeline li.step .what{grid-column:2/-1;grid-row:2}}
@media print{.plumb-timeline{--ink:#000;--soft:#444;--line:#bbb;--card:#fff;--back:#fff;
--good:#1a7f4b;--wait:#9a6700;--bad:#c2362b;--loop:#7a4fd0;--cost:#2266cc;font-size:12px;
padding:0;max-width:none;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.plumb-timeline li.step{break-inside:avoid}.plumb-timeline .verdict{border:1px solid #888;
border-left:6px solid #000}}
"""


def page(timeline: Timeline) -> str:
    """One page without any outside resource."""
    title = f"{timeline.thread_id}: {timeline.verdict.code}"
    head = tag(
        "head",
        Safe('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        Safe('<meta name="color-scheme" content="light dark">'),
        tag("title", title),
        tag("style", Safe(_PAGE + STYLE)),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', _inner(timeline)), lang='en')}\n"


def fragment(timeline: Timeline) -> str:
    """The report for a notebook's cell, with its own style."""
    return tag("div", tag("style", Safe(STYLE)), _inner(timeline))


def _inner(timeline: Timeline) -> Safe:
    verdict = timeline.verdict
    tone = "good" if verdict.code in _GOOD else "wait" if verdict.code in _WAITING else "bad"
    resume = tag("div", "go on with ", tag("code", timeline.resume)) if timeline.resume else ""
    error = tag("div", f"first error: {timeline.first_error}", class_="soft")
    return tag(
        "main",
        tag("h1", f"thread {timeline.thread_id}"),
        tag(
            "div",
            tag("b", f"{verdict.code.replace('_', ' ')} · step {verdict.step}"),
            verdict.text,
            resume,
            error if timeline.first_error else "",
            class_=f"verdict {tone}",
        ),
        tag("div", summary(timeline), class_="facts"),
        _also(timeline),
        strip(timeline),
        tag("ol", *_items(timeline)),
        class_="plumb-timeline",
    )


def _also(timeline: Timeline) -> Safe:
    told = [
        tag("li", f"{each.code.replace('_', ' ')} at step {each.step}: {each.text}")
        for each in timeline.findings
        if each.code != timeline.verdict.code
    ]
    told += [tag("li", remark, class_="soft") for remark in timeline.evidence.remarks]
    told += [
        tag("li", f"effect {each.name}: {each.state}, attempt {each.attempt}")
        for each in timeline.evidence.effects
    ]
    return tag("ul", *told) if told else Safe("")


def _items(timeline: Timeline) -> list[Safe]:
    found, run = [], timeline.rows[0].run if timeline.rows else 0
    for row in timeline.rows:
        if row.run != run:
            run = row.run
            words = f"run {run + 1}, process {timeline.runs[run].pid}, {timeline.runs[run].ending}"
            found.append(tag("li", words, class_="again"))
        found.append(_item(row, looping=_in_loop(timeline, row)))
    return found


def _in_loop(timeline: Timeline, row: StepRow) -> bool:
    verdict = timeline.verdict
    return verdict.code == "looping" and row.step >= verdict.step


def _item(row: StepRow, *, looping: bool) -> Safe:
    what = []
    if row.models:
        tokens = f"{row.input_tokens:,}→{row.output_tokens:,} tokens"
        what.append(tag("span", f"{row.models[-1]} {tokens} ", class_="soft"))
    for tool in row.tools:
        bad = tool.status != "success"
        what.append(
            tag("span", f"{tool.name}{' ✗' if bad else ''} ", class_="err" if bad else None)
        )
    if row.changed and not what:
        what.append(tag("span", f"changed {', '.join(row.changed)}", class_="soft"))
    if row.status != "done":
        what.append(tag("span", _ENDED[row.status], class_="err"))
    if row.attempt > 1:
        what.append(tag("span", f" attempt {row.attempt}", class_="soft"))
    notes = [
        tag("span", f"{note.kind}: {note.text}", class_="warn" if note.warning else None)
        for note in row.notes
    ]
    if row.error:
        notes.insert(0, tag("span", row.error, class_="err"))
    return tag(
        "li",
        tag("span", row.step, class_="num"),
        tag("span", Safe("&emsp;" * row.depth), row.node, class_="node"),
        tag("span", *what, class_="what"),
        tag(
            "span",
            " · ".join(filter(None, [money(row.cost_usd), duration(row.duration_ms)])),
            class_="right",
        ),
        tag("div", *notes, class_="notes") if notes else "",
        class_=f"step {row.status}{' loop' if looping else ''}",
    )


def strip(timeline: Timeline) -> Safe:
    """A picture of the run: one bar a step, as high as it was dear, the loop in its own colour."""
    rows = [row for row in timeline.rows if row.depth == 0][-_STRIP_ROWS:]
    if len(rows) < 2:  # noqa: PLR2004 - one bar is no picture
        return Safe("")
    most = max((row.cost_usd or 0.0 for row in rows), default=0.0)
    width = 1000 / max(len(rows), _STRIP_LEAST)
    bars = [
        tag(
            "rect",
            tag("title", f"step {row.step} {row.node} {money(row.cost_usd)}"),
            x=f"{index * width:.1f}",
            y=f"{60 - _height(row, most):.1f}",
            width=f"{max(width * 0.8, 0.6):.1f}",
            height=f"{_height(row, most):.1f}",
            fill=_fill(timeline, row),
        )
        for index, row in enumerate(rows)
    ]
    line = _cumulative(rows, width)
    picture = tag(
        "svg", *bars, line, viewBox="0 0 1000 62", preserveAspectRatio="none", role="img",
        aria_label="cost of each step and in sum", class_=None if most else "plain",
    )  # fmt: skip
    legend = "bars: cost of each step · line: cost in sum" if most else "one bar for each step"
    if timeline.verdict.code == "looping":
        legend += f" · violet: the loop, from step {timeline.verdict.step}"
    return joined([picture, tag("div", legend, class_="legend")])


def _height(row: StepRow, most: float) -> float:
    return 8.0 + 46.0 * (row.cost_usd or 0.0) / most if most else 60.0


def _fill(timeline: Timeline, row: StepRow) -> str:
    if row.status in {"failed", "cut"}:
        return "var(--bad)"
    if row.status in {"interrupted", "left"}:
        return "var(--wait)"
    return "var(--loop)" if _in_loop(timeline, row) else "var(--good)"


def _cumulative(rows: list[StepRow], width: float) -> Safe:
    total = sum(row.cost_usd or 0.0 for row in rows)
    if not total:
        return Safe("")
    sofar, points = 0.0, []
    for index, row in enumerate(rows):
        sofar += row.cost_usd or 0.0
        points.append(f"{(index + 0.4) * width:.1f},{58 - 54 * sofar / total:.1f}")
    return tag(
        "polyline", points=" ".join(points), fill="none", stroke="var(--cost)", stroke_width="2",
        vector_effect="non-scaling-stroke",
    )  # fmt: skip
