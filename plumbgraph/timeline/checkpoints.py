"""Checkpoints as facts: what each step added, read from LangGraph's tuples newest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from plumbgraph.timeline.evidence import (
    CheckpointFact,
    Evidence,
    ModelAnswer,
    StatusFact,
    ToolResult,
)

_TRIGGER = "branch:to:"
_SHOWN = ("stop_reason", "workspace", "route", "active_skills")


class Chain:
    """The checkpoints that lead to a head; those of other branches are only counted.

    Args:
        head: Its id; by default the first that is added.
    """

    def __init__(self, head: str | None = None) -> None:
        self._wanted = head
        self._found: list[Any] = []
        self._others = 0

    def add(self, found: Any) -> None:
        """The next older checkpoint of the thread's own namespace."""
        own = found.config["configurable"]
        if own.get("checkpoint_ns"):
            return
        if self._wanted is not None and own["checkpoint_id"] != self._wanted:
            self._others += 1
            return
        self._found.append(found)
        parent = (found.parent_config or {}).get("configurable", {}).get("checkpoint_id")
        self._wanted = parent or ""

    def evidence(self, status: StatusFact | None) -> Evidence:
        """The chain as facts, oldest first."""
        facts, known, before = [], set[str](), None
        for found in reversed(self._found):
            facts.append(_fact(found, before, known))
            before = found
        remarks = (f"{self._others} checkpoints belong to other branches.",) if self._others else ()
        return Evidence(checkpoints=tuple(facts), status=status, remarks=remarks)


def _fact(found: Any, before: Any, known: set[str]) -> CheckpointFact:
    own, metadata = found.config["configurable"], found.metadata or {}
    values: Mapping[str, Any] = found.checkpoint.get("channel_values") or {}
    fresh = list(_new_messages(values, known))
    parent = (found.parent_config or {}).get("configurable", {}).get("checkpoint_id")
    writes = found.pending_writes or ()
    return CheckpointFact(
        id=own["checkpoint_id"],
        parent_id=parent,
        step=int(metadata.get("step", -1)),
        source=str(metadata.get("source", "loop")),
        at=_time(found.checkpoint.get("ts")),
        run_id=metadata.get("run_id"),
        changed=_changed(found, before),
        next=_next(values),
        interrupts=_interrupts(writes),
        error=next((str(value) for _, name, value in writes if name == "__error__"), None),
        answers=tuple(_answer(message) for message in fresh if _kind(message) == "ai"),
        tools=tuple(_tool_results(fresh, values)),
        values={name: values[name] for name in _SHOWN if values.get(name) is not None},
        metadata={k: v for k, v in metadata.items() if isinstance(v, str | int | float)},
    )


def _kind(message: Any) -> str:
    return str(getattr(message, "type", "")) if hasattr(message, "content") else ""


def _messages(values: Mapping[str, Any]) -> Iterable[list[Any]]:
    for value in values.values():
        if isinstance(value, list) and value and _kind(value[-1]):
            yield value


def _new_messages(values: Mapping[str, Any], known: set[str]) -> Iterable[Any]:
    for messages in _messages(values):
        fresh = []
        for message in reversed(messages):
            name = str(getattr(message, "id", None) or id(message))
            if name in known:
                break
            known.add(name)
            fresh.append(message)
        yield from reversed(fresh)


def _answer(message: Any) -> ModelAnswer:
    usage = getattr(message, "usage_metadata", None) or {}
    about = getattr(message, "response_metadata", None) or {}
    return ModelAnswer(
        model=about.get("model_name") or about.get("model"),
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cost_usd=usage.get("total_cost"),
        tool_calls=tuple(call["name"] for call in getattr(message, "tool_calls", None) or ()),
    )


def _tool_results(fresh: list[Any], values: Mapping[str, Any]) -> Iterable[ToolResult]:
    results = [message for message in fresh if _kind(message) == "tool"]
    if not results:
        return
    wanted = {message.tool_call_id for message in results}
    calls: dict[str, Any] = {}
    for messages in _messages(values):
        for message in reversed(messages):
            if wanted <= calls.keys():
                break
            for call in getattr(message, "tool_calls", None) or ():
                calls.setdefault(call["id"], call)
    for message in results:
        call = calls.get(message.tool_call_id) or {}
        content = message.content
        yield ToolResult(
            name=call.get("name") or getattr(message, "name", None) or "tool",
            args=call.get("args") or {},
            text=content if isinstance(content, str) else str(content),
            failed=getattr(message, "status", "") == "error",
            call_id=str(message.tool_call_id),
        )


def _changed(found: Any, before: Any) -> tuple[str, ...]:
    now = found.checkpoint.get("channel_versions") or {}
    then = (before.checkpoint.get("channel_versions") or {}) if before else {}
    names = (name for name, version in now.items() if then.get(name) != version)
    return tuple(sorted(name for name in names if ":" not in name and not name.startswith("__")))


def _next(values: Mapping[str, Any]) -> tuple[str, ...]:
    waiting = (name.removeprefix(_TRIGGER) for name in values if name.startswith(_TRIGGER))
    return tuple(sorted({*waiting, *(("__start__",) if "__start__" in values else ())}))


def _interrupts(writes: Iterable[Any]) -> tuple[Any, ...]:
    kept = list(writes)
    if any(name == "__resume__" for _, name, _ in kept):
        return ()
    asked: list[Any] = []
    for _, name, value in kept:
        if name == "__interrupt__":
            asked.extend(getattr(each, "value", each) for each in _listed(value))
    return tuple(asked)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
