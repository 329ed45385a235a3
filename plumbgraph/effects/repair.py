"""Tool calls that a crash left without an answer, and the one true text each of them gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

from plumbgraph.effects import statements as sql
from plumbgraph.effects.events import CallsRepaired
from plumbgraph.effects.once import Codec
from plumbgraph.effects.ops import EffectPlan
from plumbgraph.tracing.emit import emit

OpenCall: TypeAlias = tuple[str, str]
"""The id of a message, and of a tool call in it."""

NOT_STARTED = "This tool call was not started: the run ended before it. Nothing happened."
NOT_RECORDED = (
    "The run ended before this tool call was answered. The tool keeps no record of its calls, so "
    "whether it ran is unknown; check before you repeat it."
)
UNKNOWN = (
    "The run ended while this tool call was running. Whether it took effect is unknown; "
    "check before you repeat it."
)
DONE = "This tool call was done before the run ended. Its recorded result:\n"


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal knows about a tool call: `done` with a result, or `unknown`."""

    state: str
    result: Any = None


def known(
    codec: Codec, tenant: str, thread_id: str, calls: Sequence[OpenCall]
) -> EffectPlan[dict[OpenCall, Known]]:
    """What is recorded about tool calls; a result on any line of history counts."""
    if not calls:
        return {}
    ids = [call_id for _, call_id in calls]
    rows = sql.rows_of_calls((yield (sql.of_calls(tenant, thread_id, ids),))[0])
    found: dict[OpenCall, Known] = {}
    for call_id, message_id, row in rows:
        if row.state == "done":
            result = codec.loads_typed((row.result_type or "null", row.result or b""))
            found[message_id, call_id] = Known("done", result)
        elif row.state in {"intent", "raised"}:
            found.setdefault((message_id, call_id), Known("unknown"))
    return found


def dangling(messages: Sequence[AnyMessage]) -> list[OpenCall]:
    """Tool calls that no later message answers, in their order."""
    still_open: list[OpenCall] = []
    for message in messages:
        if isinstance(message, AIMessage):
            still_open += [(message.id or "", str(call["id"])) for call in message.tool_calls]
        elif isinstance(message, ToolMessage):
            answered = [call for call in still_open if call[1] == message.tool_call_id]
            if answered:
                still_open.remove(answered[-1])
    return still_open


def repaired(
    messages: Sequence[AnyMessage], found: Mapping[OpenCall, Known], effects: frozenset[str]
) -> list[AnyMessage]:
    """The messages with an answer behind every tool call; the same list where none lacks one.

    Args:
        messages: A thread's messages.
        found: What the journal knows.
        effects: Names of tools that are journaled: of these, what is not on record did not start.
    """
    open_calls = set(dangling(messages))
    if not open_calls:
        return list(messages)
    whole: list[AnyMessage] = []
    counts = {"not_started": 0, "done": 0, "unknown": 0}
    for message in messages:
        whole.append(message)
        for call in message.tool_calls if isinstance(message, AIMessage) else ():
            key = (message.id or "", str(call["id"]))
            if key in open_calls:
                kind, answer = _answer(call["name"], key[1], found.get(key), effects)
                counts[kind] += 1
                whole.append(answer)
    emit(CallsRepaired(**counts))
    return whole


def _answer(
    name: str, call_id: str, what: Known | None, effects: frozenset[str]
) -> tuple[str, ToolMessage]:
    if what is None and name in effects:
        return "not_started", _message(name, call_id, NOT_STARTED)
    if what is None or what.state != "done":
        return "unknown", _message(name, call_id, UNKNOWN if what else NOT_RECORDED)
    if isinstance(what.result, ToolMessage):
        return "done", what.result
    return "done", _message(name, call_id, f"{DONE}{what.result}", status="success")


def _message(name: str, call_id: str, text: str, status: Any = "error") -> ToolMessage:
    return ToolMessage(content=text, name=name, tool_call_id=call_id, status=status)
