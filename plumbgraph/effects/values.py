"""What the journal speaks of: effects as declared, calls of them, rows, doubts and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias


class Outcome(Enum):
    """What a `reconcile` callback can say when there is no result to hand over."""

    NOT_DONE = "not_done"
    """The outside system knows nothing of it: run it."""
    UNKNOWN = "unknown"
    """The outside system cannot tell: ask a person."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a `reconcile` callback says when the effect did happen.

    Attributes:
        result: What the tool would have returned.
    """

    result: Any = "The effect happened; its result was lost in a crash."


Reconciled: TypeAlias = Done | Outcome


@dataclass(frozen=True, slots=True)
class Spec:
    """How an effect behaves after a crash.

    Attributes:
        name: The effect's name.
        idempotent: The outside system takes `current_effect().key` as an idempotency key, so
            running again is safe.
        reconcile: Asks the outside system about a key: `Done(result)` or an `Outcome`. May be a
            coroutine function in an async run.
        in_database: The effect is SQL in our own database; it shares the journal's transaction.
        not_done_on: Errors of the tool that mean nothing happened.
    """

    name: str
    idempotent: bool = False
    reconcile: Callable[[str], Any] | None = None
    in_database: bool = False
    not_done_on: tuple[type[Exception], ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """Where in which thread a call happens.

    Attributes:
        tenant: Whose thread.
        thread_id: The thread.
        branch: The line of history, `""` for the first.
        ns: The checkpoint namespace without task ids.
        task_id: The running task.
        checkpoints: Namespace to id of every checkpoint the task rests on.
        at_exit: The run commits only at its end (`durability="exit"`).
        base: Then: the newest committed checkpoint.
        fresh: The task runs for the first time, as far as LangGraph knows: nothing it does is on
            record, except by a coincidence that the record itself finds out.
    """

    tenant: str
    thread_id: str
    branch: str
    ns: str
    task_id: str
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    at_exit: bool = False
    base: str = ""
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an effect.

    Attributes:
        name: The effect's name.
        args: What it is called with, as plain data.
        call_id: The tool call's id; `""` for a call from a node's own code.
        message_id: The id of the message that holds the tool call.
        nth: The how many-th equal call of the task.
        nth_in_run: The how many-th equal call of a run that commits only at its end.
    """

    name: str
    args: Any
    call_id: str = ""
    message_id: str = ""
    nth: int = 0
    nth_in_run: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """What the journal holds about one call."""

    state: str
    owner: str
    attempt: int
    asked: bool
    result_type: str | None
    result: bytes | None
    error: str | None
    since: float
    quiet_s: float


@dataclass(frozen=True, slots=True)
class Entry:
    """What is recorded about a model call.

    Attributes:
        intent: What was about to happen.
        result: What came of it, `None` where that was never recorded.
    """

    intent: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
