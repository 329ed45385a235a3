"""What LangSmith is told beyond its own: `plumb_*` metadata, a closed list of tags, feedback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TAGS = (
    "plumb",
    "plumb:loop",
    "plumb:budget",
    "plumb:error",
    "plumb:interrupted",
    "plumb:crashed",
    "plumb:fallback",
    "plumb:memory-conflict",
    "plumb:denied",
)
"""Every tag that plumbgraph itself may set."""

FEEDBACK = (
    "plumb.loop",
    "plumb.route_ok",
    "plumb.skill_used",
    "plumb.memory_conflict",
    "user_score",
)
"""Every feedback key that plumbgraph itself may set."""

_MOST = 40


@dataclass(slots=True)
class Facts:
    """What the events of one run say about it, gathered until its end."""

    metadata: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=lambda: {"plumb"})
    feedback: dict[str, float] = field(default_factory=dict)

    def take(self, record: Mapping[str, Any]) -> None:
        """Learn from one event."""
        event = str(record.get("event", ""))
        learn = _LEARN.get(event)
        if learn is not None:
            learn(self, record)
        if event.endswith(".failed"):
            self.tags.add("plumb:error")

    def note(self, key: str, value: Any) -> None:
        """Add to a list in the metadata; a long run keeps the last ones."""
        known: list[Any] = self.metadata.setdefault(f"plumb_{key}", [])
        if value not in known:
            known.append(value)
            del known[:-_MOST]


def _route(facts: Facts, record: Mapping[str, Any]) -> None:
    facts.metadata["plumb_route"] = record.get("model")
    facts.metadata["plumb_route_reason"] = record.get("reason")
    facts.metadata["plumb_policy_digest"] = record.get("policy_digest")


def _rated(facts: Facts, record: Mapping[str, Any]) -> None:
    score = record.get("score")
    if isinstance(score, int | float):
        facts.feedback["plumb.route_ok"] = float(score)


def _charged(facts: Facts, record: Mapping[str, Any]) -> None:
    spent = float(facts.metadata.get("plumb_cost_usd") or 0.0)
    facts.metadata["plumb_cost_usd"] = spent + float(record.get("usd") or 0.0)


def _skill(facts: Facts, record: Mapping[str, Any]) -> None:
    facts.note("skills", f"{record.get('skill')}@{str(record.get('digest', ''))[:12]}")
    facts.feedback["plumb.skill_used"] = 1.0


def _memory(facts: Facts, record: Mapping[str, Any]) -> None:
    where = f"{record.get('namespace')}/{record.get('key')}@{record.get('version')}"
    facts.note("memory", where)
    if record.get("said") in {"contested", "quarantined"}:
        facts.feedback["plumb.memory_conflict"] = 1.0
        facts.tags.add("plumb:memory-conflict")


def _files(facts: Facts, record: Mapping[str, Any]) -> None:
    facts.metadata["plumb_workspace"] = record.get("root")


def _loop(facts: Facts, record: Mapping[str, Any]) -> None:
    facts.metadata["plumb_loop"] = list(record.get("cycle") or ())
    facts.feedback["plumb.loop"] = 1.0
    facts.tags.add("plumb:loop")


def _stopped(facts: Facts, record: Mapping[str, Any]) -> None:
    reason = str(record.get("stop_reason", ""))
    facts.metadata["plumb_stop_reason"] = reason
    facts.tags.add("plumb:loop" if reason.startswith("loop.") else "plumb:budget")


def _tagged(tag: str) -> Any:
    return lambda facts, _: facts.tags.add(tag)


def _refused(facts: Facts, record: Mapping[str, Any]) -> None:
    facts.note("rules", record.get("rule"))
    facts.tags.add("plumb:denied")


_LEARN = {
    "route.decided": _route,
    "route.feedback": _rated,
    "route.charged": _charged,
    "route.failed": _tagged("plumb:fallback"),
    "budget.degraded": _tagged("plumb:budget"),
    "skill.loaded": _skill,
    "memory.written": _memory,
    "memory.fact": _memory,
    "workspace.stored": _files,
    "loop.detected": _loop,
    "run.stopped": _stopped,
    "run.interrupted": _tagged("plumb:interrupted"),
    "node.interrupted": _tagged("plumb:interrupted"),
    "policy.refused": _refused,
    "skill.tool_denied": _refused,
}
