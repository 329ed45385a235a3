"""One event as one line, for following a thread while it runs."""

from __future__ import annotations

from plumbgraph.timeline.evidence import Record
from plumbgraph.timeline.notes import note_of
from plumbgraph.timeline.text import duration, money


def told_of(record: Record) -> str | None:
    """The line of an event, or `None` for those that say nothing by themselves."""
    event = str(record.get("event", ""))
    step = record.get("step")
    lead = f"{str(record.get('ts', ''))[11:19]} {'' if step is None else step:>4}  "
    note = note_of(record)
    if note is not None:
        return f"{lead}{'!' if note.warning else '-'} {note.kind}: {note.text}"
    told = _run_event(event, record)
    return lead + told if told else None


def _run_event(event: str, record: Record) -> str | None:
    took = duration(record.get("duration_ms"))
    if event in {"node.ended", "node.interrupted", "node.failed"}:
        why = f": {record.get('error')}" if event == "node.failed" else ""
        return f"{record.get('node')} {event.partition('.')[2]} {took}{why}"
    if event == "model.ended":
        tokens = f"{record.get('gen_ai.usage.input_tokens', '?')}→"
        tokens += str(record.get("gen_ai.usage.output_tokens", "?"))
        model = record.get("gen_ai.response.model") or "model"
        return f"{model} {tokens} {money(record.get('cost_usd'))} {took}".rstrip()
    if event in {"tool.ended", "tool.failed"}:
        failed = event == "tool.failed" or record.get("status") == "error"
        return f"{record.get('gen_ai.tool.name')} {'failed' if failed else 'returned'} {took}"
    if event.startswith("run."):
        return f"{event} {record.get('status') or record.get('error') or ''}".rstrip()
    return None
