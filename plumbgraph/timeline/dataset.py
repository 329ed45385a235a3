"""Threads as examples for the router, the skills or whole runs, in LangSmith's form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plumbgraph.timeline.evidence import Record
from plumbgraph.tracing.redact import redact

if TYPE_CHECKING:
    from plumbgraph.timeline.face import Timeline

KINDS = ("runs", "router", "skills")
"""What examples can be made for."""


def examples(timeline: Timeline, kind: str, sources: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """A thread's examples: `inputs`, `outputs` and `metadata` each.

    The user's words come from the newest checkpoint, secrets and mail addresses taken out;
    without a checkpointer among the sources they are missing and only digests remain.

    Args:
        timeline: The thread.
        kind: `runs`: question and answer with the verdict. `router`: the question with the
            models that were chosen and how they were rated. `skills`: the question with the
            skills that were loaded.
        sources: Where the messages are read from.
    """
    asked, answered = _said(timeline.thread_id, sources)
    verdict = timeline.verdict
    metadata = {
        "plumb_thread_id": timeline.thread_id,
        "plumb_run_id": timeline.runs[-1].run_id if timeline.runs else None,
        "plumb_verdict": verdict.code,
        "plumb_step": verdict.step,
        "plumb_cost_usd": timeline.spent.usd,
    }
    make = {"runs": _run, "router": _router, "skills": _skills}[kind]
    found = make(timeline.session.records, asked, answered)
    return [{**each, "metadata": {**metadata, **each.get("metadata", {})}} for each in found]


def write_examples(found: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write examples as JSON lines, readable by their owner only; how many."""
    lines = [json.dumps(each, ensure_ascii=False, default=str) for each in found]
    path.touch(mode=0o600)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _said(thread_id: str, sources: Sequence[Any]) -> tuple[str | None, str | None]:
    """What the user asked last, and what was answered."""
    for source in sources:
        saver = getattr(source, "saver", None)
        if saver is None:
            continue
        found = saver.get_tuple({"configurable": {"thread_id": thread_id}})
        values = found.checkpoint.get("channel_values", {}) if found else {}
        messages = values.get("messages") or []
        human = [_text(m) for m in messages if getattr(m, "type", "") == "human"]
        model = [_text(m) for m in messages if getattr(m, "type", "") == "ai"]
        return (human[-1] if human else None), (model[-1] if model else None)
    return None, None


def _text(message: Any) -> str:
    return redact(str(getattr(message, "text", "") or message.content))


def _run(
    records: Sequence[Record], asked: str | None, answered: str | None
) -> list[dict[str, Any]]:
    tools = [r.get("gen_ai.tool.name") for r in records if r.get("event") == "tool.ended"]
    return [
        {
            "inputs": {"question": asked},
            "outputs": {"answer": answered},
            "metadata": {"plumb_tools": tools},
        }
    ]


def _router(records: Sequence[Record], asked: str | None, _: str | None) -> list[dict[str, Any]]:
    charges = {r.get("charge_id"): r for r in records if r.get("event") == "route.charged"}
    scores = {
        str(r.get("charge_id")): r.get("score")
        for r in records
        if r.get("event") == "route.feedback"
    }
    decided = [r for r in records if r.get("event") == "route.decided"]
    ids = list(charges)
    return [
        {
            "inputs": {"question": asked, "task": record.get("task")},
            "outputs": {
                "model": record.get("model"),
                "score": scores.get(str(ids[index])) if index < len(ids) else None,
            },
            "metadata": {
                "plumb_route_reason": record.get("reason"),
                "plumb_propensity": record.get("propensity"),
                "plumb_step": record.get("step"),
            },
        }
        for index, record in enumerate(decided)
    ]


def _skills(records: Sequence[Record], asked: str | None, _: str | None) -> list[dict[str, Any]]:
    loaded = [
        {"skill": r.get("skill"), "digest": r.get("digest"), "step": r.get("step")}
        for r in records
        if r.get("event") == "skill.loaded"
    ]
    offered = [r.get("names") for r in records if r.get("event") == "skill.searched"]
    return [{"inputs": {"question": asked}, "outputs": {"skills": loaded, "offered": offered}}]
