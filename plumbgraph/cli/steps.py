"""A graph's debug stream as short records: which step, which node, what it said or did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SAYS_CHARS = 100
# What our parts remember for themselves; a reason to stop is told when there is one.
_KEPT = {"guard", "ledger", "skills", "skills_catalog", "stop_reason"}


@dataclass(frozen=True, slots=True)
class Step:
    """One finished node.

    Attributes:
        number: The super-step.
        node: Its name.
        says: What its update amounts to, one short line for each message or channel.
        error: Why it failed, if it did.
        questions: Values of the interrupts it raised.
    """

    number: int
    node: str
    says: tuple[str, ...]
    error: str | None
    questions: tuple[Any, ...]

    def record(self) -> dict[str, Any]:
        """The step as a line of a JSON stream."""
        told: dict[str, Any] = {"event": "step", "step": self.number, "node": self.node}
        told["says"] = list(self.says)
        if self.error:
            told["error"] = self.error
        if self.questions:
            told["questions"] = list(self.questions)
        return told


def step_of(event: Mapping[str, Any]) -> Step | None:
    """The step that an event of `stream_mode="debug"` reports as finished."""
    if event["type"] != "task_result":
        return None
    payload = event["payload"]
    asked = tuple(each["value"] for each in payload.get("interrupts") or ())
    error = payload.get("error")
    says = tuple(_says(payload.get("result")))
    return Step(event["step"], payload["name"], says, str(error) if error else None, asked)


def begun_of(event: Mapping[str, Any]) -> str | None:
    """The node that an event reports as begun, with its step."""
    if event["type"] != "task":
        return None
    return f"step {event['step']}: {event['payload']['name']}"


def _says(result: Any) -> Iterable[str]:
    updates: Sequence[tuple[str, Any]] = (
        list(result.items()) if isinstance(result, Mapping) else list(result or ())
    )
    for message in (each for k, v in updates if k == "messages" for each in _messages(v)):
        yield from _message_says(message)
    for channel, value in updates:
        if channel == "route" and isinstance(value, Mapping) and value.get("model"):
            yield f"route: {value['model']}, {short(str(value.get('reason') or ''))}"
        elif channel != "messages" and not (channel in _KEPT and _silent(value)):
            yield f"{channel} = {short(value)}"


def _silent(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _messages(value: Any) -> Iterable[Any]:
    """A channel's messages; LangGraph marks several writes of one node with `$writes`."""
    if isinstance(value, Mapping) and "$writes" in value:
        return [message for each in value["$writes"] for message in _messages(each)]
    return value if isinstance(value, list) else [value]


def _message_says(message: Any) -> Iterable[str]:
    text = text_of(message)
    if getattr(message, "type", "") == "tool":
        mark = "refused" if getattr(message, "status", "") == "error" else "returned"
        size = f"{len(text):,} characters" if len(text) > _SAYS_CHARS else short(text)
        yield f"{message.name or 'tool'} {mark}: {size}"
        return
    if text:
        yield short(text)
    for call in getattr(message, "tool_calls", None) or ():
        args = ", ".join(f"{key}={short(value, 40)}" for key, value in call["args"].items())
        yield f"{call['name']}({args})"


def text_of(message: Any) -> str:
    """The text of a message, whatever its content blocks."""
    text = getattr(message, "text", None)
    if text is None and isinstance(message, Mapping):
        text = message.get("content")
    return str(text if text is not None else message)


def short(value: Any, chars: int = _SAYS_CHARS) -> str:
    """A value on one line, cut with an ellipsis."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= chars else f"{line[: chars - 1]}…"


def answer_of(values: Any) -> Any:
    """What a finished run is worth telling: its last message, else its whole state."""
    messages = values.get("messages") if isinstance(values, Mapping) else None
    if messages:
        return text_of(messages[-1])
    return values
