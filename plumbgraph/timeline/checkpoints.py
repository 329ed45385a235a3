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
SHOWN = ("stop_reason", "workspace", "route", "skills")


class Chain:
    """The checkpoints that lead to a head; those of other branches are only counted.

    Args:
        head: Its id; by default the first that is added.
    """

    def __init__(self, head: str | None = None) -> None:
        self._wanted = head
        self._newer: Any = None
        self._facts: list[CheckpointFact] = []
        self._others = 0

    def add(self, found: Any) -> None:
        """The next older checkpoint of the thread's own namespace."""
        own = found.config["configurable"]
        if own.get("checkpoint_ns"):
            return
        if self._wanted is not None and own["checkpoint_id"] != self._wanted:
            self._others += 1
            return
        if self._newer is not None:
            self._facts.append(_fact(self._newer, found))
        # Each holds the whole state, so no more than two of them are kept.
        self._newer = found
        parent = (found.parent_config or {}).get("configurable", {}).get("checkpoint_id")
        self._wanted = parent or ""

    def evidence(self, status: StatusFact | None) -> Evidence:
        """The chain as facts, oldest first."""
        facts = [*self._facts, *([_fact(self._newer, None)] if self._newer is not None else [])]
        remarks = (f"{self._others} checkpoints belong to other branches.",) if self._others else ()
        return Evidence(checkpoints=tuple(reversed(facts)), status=status, remarks=remarks)


def _fact(found: Any, before: Any) -> CheckpointFact:
    own, metadata = found.config["configurable"], found.metadata or {}
    values: Mapping[str, Any] = found.checkpoint.get("channel_values") or {}
    then = (before.checkpoint.get("channel_values") or {}) if before else {}
    fresh = list(_new_messages(values, then))
    parent = (found.parent_config or {}).get("configurable", {}).get("checkpoint_id")
    writes = found.pending_writes or ()
    return CheckpointFact(
        id=own["checkpoint_id"],
        parent_id=parent,
        step=int(metadata.get("step", -1)),
        source=str(metadata.get("source", "loop")),
        at=time_of(found.checkpoint.get("ts")),
        run_id=metadata.get("run_id"),
        changed=_changed(found, before),
        next=_next(values),
        interrupts=_interrupts(writes),
        error=next((str(value) for _, name, value in writes if name == "__error__"), None),
        answers=tuple(answer_of(message) for message in fresh if kind_of(message) == "ai"),
        tools=tuple(tool_results(fresh, _calls_for(fresh, values))),
        values={name: values[name] for name in SHOWN if values.get(name) is not None},
        metadata=plain_metadata(metadata),
    )


def plain_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What of a checkpoint's metadata is worth showing."""
    return {k: v for k, v in metadata.items() if isinstance(v, str | int | float)}


def kind_of(message: Any) -> str:
    """`human`, `ai`, `tool` or `system`, or empty for what is no message."""
    return str(getattr(message, "type", "")) if hasattr(message, "content") else ""


def _messages(values: Mapping[str, Any]) -> Iterable[list[Any]]:
    yield from filter(_is_messages, values.values())


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and bool(kind_of(value[-1]))


def _new_messages(values: Mapping[str, Any], then: Mapping[str, Any]) -> Iterable[Any]:
    """The messages at the end of each list that the state before did not have.

    Those that have no id are told by their place.
    """
    known = {getattr(message, "id", None) for each in _messages(then) for message in each}
    for channel, messages in values.items():
        if not _is_messages(messages):
            continue
        before = then.get(channel)
        length = len(before) if isinstance(before, list) else 0
        fresh = []
        for place in range(len(messages) - 1, -1, -1):
            name = getattr(messages[place], "id", None)
            if (name in known) if name is not None else place < length:
                break
            known.add(name)
            fresh.append(messages[place])
        yield from reversed(fresh)


def answer_of(message: Any) -> ModelAnswer:
    """What a model's message tells of its call."""
    usage = getattr(message, "usage_metadata", None) or {}
    about = getattr(message, "response_metadata", None) or {}
    return ModelAnswer(
        model=about.get("model_name") or about.get("model"),
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cost_usd=usage.get("total_cost"),
        tool_calls=tuple(call["name"] for call in getattr(message, "tool_calls", None) or ()),
    )


def _calls_for(fresh: list[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The calls that new tool results answer, looked for from the newest message on."""
    wanted = {message.tool_call_id for message in fresh if kind_of(message) == "tool"}
    calls: dict[str, Any] = {}
    for messages in _messages(values) if wanted else ():
        for message in reversed(messages):
            if wanted <= calls.keys():
                break
            for call in getattr(message, "tool_calls", None) or ():
                calls.setdefault(call["id"], call)
    return calls


def tool_results(fresh: Iterable[Any], calls: Mapping[str, Any]) -> Iterable[ToolResult]:
    """The tool results among new messages, with the calls they answer."""
    for message in fresh:
        if kind_of(message) != "tool":
            continue
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
    return channels_shown(name for name, version in now.items() if then.get(name) != version)


def channels_shown(names: Iterable[str]) -> tuple[str, ...]:
    """The graph's own channels among these, without triggers."""
    return tuple(sorted(name for name in names if ":" not in name and not name.startswith("__")))


def _next(values: Mapping[str, Any]) -> tuple[str, ...]:
    waiting = (name.removeprefix(_TRIGGER) for name in values if name.startswith(_TRIGGER))
    return tuple(sorted({*waiting, *(("__start__",) if "__start__" in values else ())}))


def _interrupts(writes: Iterable[Any]) -> tuple[Any, ...]:
    kept = list(writes)
    if any(name == "__resume__" for _, name, _ in kept):
        return ()
    return values_of_interrupts(value for _, name, value in kept if name == "__interrupt__")


def values_of_interrupts(stored: Iterable[Any]) -> tuple[Any, ...]:
    """The questions themselves, out of what tasks stored."""
    found = (each for value in stored for each in _listed(value))
    return tuple(getattr(each, "value", each) for each in found)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def time_of(text: Any) -> datetime | None:
    """A checkpoint's time, or `None` where it tells none."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
