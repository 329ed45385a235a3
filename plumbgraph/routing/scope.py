"""Where a call happens: in which graph and thread, who pays, and what the thread's past says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.config import get_config
from langgraph.runtime import Runtime, get_runtime

from plumbgraph.routing.budget import Payer
from plumbgraph.routing.handover import MARK, author_of
from plumbgraph.routing.values import ThreadView
from plumbgraph.tracing.once import Once

_LOOKED_BACK = 50


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a call happens.

    Attributes:
        payer: Who pays.
        node: Name of the graph's node, `""` outside a graph.
        replayable: A graph with a checkpointer is running, so a journal can name the call.
    """

    payer: Payer
    node: str = ""
    replayable: bool = False


def current_scope() -> Scope:
    """The scope of the running node, or of no node."""
    try:
        config: Mapping[str, Any] = get_config()
        runtime: Runtime[Any] | None = get_runtime()
    except (RuntimeError, KeyError):
        return Scope(Payer())
    if runtime is None:
        return Scope(Payer())
    info = runtime.execution_info
    told = config.get("configurable") or {}
    facts = config.get("metadata") or {}
    server = runtime.server_info
    user = told.get("user_id") or told.get("langgraph_auth_user_id")
    if not user and server is not None and server.user is not None:
        user = server.user.identity
    run = (info.run_id if info else None) or config.get("run_id") or facts.get("run_id")
    thread = (info.thread_id if info else None) or told.get("thread_id")
    return Scope(
        Payer(user=str(user or ""), thread=str(thread or ""), run=str(run or "")),
        node=str(facts.get("langgraph_node", "")),
        replayable=bool(
            thread and info and info.task_id and facts.get("langgraph_checkpoint_ns") is not None
        ),
    )


def identity_of(messages: Sequence[BaseMessage], settings: Any = None) -> list[Any]:
    """What a call shows its model, as plain data: it tells the call from others of its task."""
    shown = blake2b(b"".join(map(_shown, messages)), digest_size=16)
    plain: list[Any] = json.loads(json.dumps([shown.hexdigest(), settings], default=str))
    return plain


def _parts(message: BaseMessage) -> tuple[Any, ...]:
    return message.content, message.tool_calls if isinstance(message, AIMessage) else None


def _digest(message: BaseMessage) -> bytes:
    text = json.dumps([message.type, *_parts(message)], default=str)
    return blake2b(text.encode(), digest_size=16).digest()


_shown = Once(_digest, _parts)


def view_of(messages: Sequence[BaseMessage], *, now: float, failures: int = 0) -> ThreadView:
    """A thread's past as its messages tell it.

    Args:
        messages: The thread's messages, routed answers among them.
        now: Seconds since the epoch.
        failures: Failures known from elsewhere; those of tools are counted from the messages.
    """
    answers = [m for m in messages if isinstance(m, AIMessage)]
    last = answers[-1] if answers else None
    mark: Mapping[str, Any] = last.response_metadata.get(MARK, {}) if last else {}
    used: Mapping[str, Any] = (last.usage_metadata or {}) if last else {}
    newest = messages[-1] if messages else None
    return ThreadView(
        model=author_of(last) if last else "",
        cached_tokens=int(used.get("total_tokens") or mark.get("input_tokens") or 0),
        idle_s=max(now - float(mark["at"]), 0.0) if mark else 0.0,
        calls=len(answers),
        failures=failures + _failed_turns(messages),
        others=_others(answers, now),
        mid_tool=isinstance(newest, ToolMessage) or bool(getattr(newest, "tool_calls", None)),
    )


def _others(answers: Sequence[AIMessage], now: float) -> dict[str, tuple[int, float]]:
    """The last routed answer of each model but the newest answer's: input tokens and age."""
    newest = author_of(answers[-1]) if answers else ""
    found: dict[str, tuple[int, float]] = {}
    for answer in reversed(answers[-_LOOKED_BACK:]):
        mark = answer.response_metadata.get(MARK)
        model = str(mark["model"]) if mark else newest
        if mark and model != newest and model not in found:
            used: Mapping[str, Any] = answer.usage_metadata or {}
            tokens = used.get("total_tokens") or mark.get("input_tokens")
            found[model] = (int(tokens or 0), max(now - float(mark["at"]), 0.0))
    return found


def _failed_turns(messages: Sequence[BaseMessage]) -> int:
    """How many of the last turns in a row had nothing but failing tools."""
    failed, results = 0, 0
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            if message.status != "error":
                break
            results += 1
        elif isinstance(message, AIMessage):
            if not results:
                break
            failed, results = failed + 1, 0
        else:
            break
    return failed
