"""The demo's report: what was proven, and the timelines of its threads, as one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plumbgraph.html import Safe, table, tag

if TYPE_CHECKING:
    from plumbgraph.cli.demo_acts import Moved, Routed
    from plumbgraph.cli.demo_proof import Claim
    from plumbgraph.timeline import Timeline

_STYLE = """
html{background:Canvas;color:CanvasText}
body{margin:0;font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,section{max-width:1080px;margin:0 auto;padding:16px;box-sizing:border-box}
h1{font-size:26px;margin:8px 0}h2{font-size:19px;margin:20px 0 8px}
table.plumb{border-collapse:collapse;width:100%;font-size:14px}
table.plumb th,table.plumb td{text-align:left;padding:6px 10px;vertical-align:top;
border-bottom:1px solid color-mix(in srgb,CanvasText 15%,Canvas)}
.yes{color:#1a7f4b;font-weight:700}.no{color:#c2362b;font-weight:700}
@media (prefers-color-scheme:dark){.yes{color:#57c98b}.no{color:#ff8177}}
"""


def page(
    claims: Sequence[Claim], moved: Moved, routed: Routed, timelines: Sequence[Timeline]
) -> str:
    """One page without any outside resource."""
    head = tag(
        "head",
        Safe('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        Safe('<meta name="color-scheme" content="light dark">'),
        tag("title", "plumbgraph demo"),
        tag("style", Safe(_STYLE)),
    )
    body = tag(
        "body",
        tag("header", tag("h1", "An agent was killed with kill -9, and finished its work")),
        tag("section", _proof(claims)),
        tag("section", tag("h2", "What memory knows"), _memory(moved)),
        tag("section", tag("h2", "Why which model answered"), _routes(routed)),
        *(tag("section", Safe(each._repr_html_())) for each in timelines),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _proof(claims: Sequence[Claim]) -> Safe:
    rows = [
        (
            tag("span", "✓" if claim.holds else "✗", class_="yes" if claim.holds else "no"),
            claim.source,
            claim.text,
        )
        for claim in claims
    ]
    return table(("", "checked in", "what was found"), rows)


def _memory(moved: Moved) -> Safe:
    rows = [(f"version {number}", city) for number, city in moved.versions]
    rows += [("as of before the move", moved.as_of), ("the agent's answer", moved.answer)]
    return table(("Ada lives in", ""), rows)


def _routes(routed: Routed) -> Safe:
    rows = [
        (
            task,
            each.model,
            "chosen" if each.model == decision.model else "",
            f"{each.p_ok:.2f} ({each.p_source})",
            f"${each.expected_nano / 1e9:.6f}",
            decision.reason if each.model == decision.model else "",
        )
        for task, decision in routed.decisions
        for each in decision.candidates
    ]
    return table(("task", "model", "", "P(ok)", "expected", "why"), rows)
