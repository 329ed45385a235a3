"""What a domain's event says, as one short remark for the timeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plumbgraph.timeline.evidence import Record

_ENVELOPE = {
    "v", "ts", "event", "level", "host", "pid", "born", "thread_id", "run_id", "step",
    "node", "checkpoint_ns", "checkpoint_id", "attempt", "span_id", "parent_span_id",
}  # fmt: skip
_OWN_ROWS = {"run", "node", "model", "tool", "trace"}
_QUIET = {"memory.index_loaded", "skill.catalog_shown", "workspace.restoring", "effect.returned"}
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Note:
    """A remark: the part it comes from, its event, and the words."""

    kind: str
    event: str
    text: str
    warning: bool = False


def _at(record: Record) -> str:
    return f"{record.get('namespace', '')}/{record.get('key', '')}"


_SAYS: dict[str, Callable[[Record], str]] = {
    "skill.loaded": lambda r: f"loaded {r.get('skill')} ({r.get('tokens', '?')} tokens)",
    "skill.unloaded": lambda r: f"put down {r.get('skill')} ({r.get('why', '')})",
    "skill.drifted": lambda r: f"{r.get('skill')} changed since it was loaded",
    "skill.tool_denied": lambda r: f"tool {r.get('tool')} refused: {r.get('rule')}",
    "skill.searched": lambda r: f"searched: {', '.join(r.get('names') or ()) or 'nothing fits'}",
    "route.decided": lambda r: f"{r.get('model')} ({r.get('code')}): {r.get('reason', '')}",
    "route.failed": lambda r: f"{r.get('model')} did not answer: {r.get('error', '')}",
    "route.charged": lambda r: f"{r.get('model')} ${float(r.get('usd') or 0):.6f}",
    "route.replayed": lambda r: f"{r.get('model')} answered from the record, nothing paid",
    "route.feedback": lambda r: f"{r.get('model')} was rated {r.get('score')}",
    "memory.written": lambda r: f"wrote {_at(r)} version {r.get('version')}",
    "memory.fact": lambda r: f"{r.get('said')}: {_at(r)} version {r.get('version')}",
    "memory.recalled": lambda r: f"recalled {r.get('hits')} ({r.get('tokens')} tokens)",
    "workspace.stored": lambda r: f"files {str(r.get('root', ''))[:12]} ({r.get('files')} files)",
    "workspace.restored": lambda r: (
        f"restored {str(r.get('root', ''))[:12]}: {r.get('written')} written, "
        f"{r.get('removed')} removed"
    ),
    "workspace.aside": lambda r: f"moved aside: {', '.join(r.get('paths') or ())}",
    "effect.intended": lambda r: f"{r.get('effect')} begins, attempt {r.get('attempt')}",
    "effect.done": lambda r: f"{r.get('effect')} is on record ({r.get('source')})",
    "effect.replayed": lambda r: f"{r.get('effect')} given from the record, not done again",
    "effect.doubted": lambda r: f"{r.get('effect')}: unknown whether it happened",
    "policy.refused": lambda r: f"refused by {r.get('rule')}",
    "loop.detected": lambda r: str(r.get("reason", "")),
    "state.claimed": lambda r: f"claimed by {r.get('owner')}, epoch {r.get('epoch')}",
    "state.parked": lambda r: str(r.get("reason", "")),
}


def note_of(record: Record) -> Note | None:
    """The remark of a record, or `None` for those that have a row of their own."""
    event = str(record.get("event", ""))
    kind = event.partition(".")[0]
    if event == "run.stopped":
        return Note("guard", event, f"stopped: {record.get('reason', '')}", warning=True)
    if kind in _OWN_ROWS or event in _QUIET or not event:
        return None
    says = _SAYS.get(event, _generic)
    warning = record.get("level") in {"WARNING", "ERROR", "CRITICAL"}
    return Note(kind, event, says(record), warning)


def _generic(record: Record) -> str:
    """The event's own fields, for events that this version does not know."""
    own: list[tuple[str, Any]] = [(k, v) for k, v in record.items() if k not in _ENVELOPE]
    words = " ".join(f"{key}={value}" for key, value in own[:_SHOWN])
    return f"{record.get('event')} {words}".strip()
