"""An effect that happens once: what is asked, recorded and run, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from langgraph.errors import GraphBubbleUp, GraphInterrupt

from plumbgraph.effects import statements as sql
from plumbgraph.effects.context import Running, running
from plumbgraph.effects.doubt import Answer, Doubt, ask
from plumbgraph.effects.events import (
    EffectDone,
    EffectDoubted,
    EffectReplayed,
    EffectReturned,
    EffectVoided,
)
from plumbgraph.effects.key import named_here
from plumbgraph.effects.ops import Do, EffectPlan, look, pause
from plumbgraph.effects.owner import lives, me
from plumbgraph.effects.start import Recorded, Start, Watch
from plumbgraph.effects.values import Call, Done, Outcome, Row, Scene, Spec
from plumbgraph.errors import ClaimLost, EffectInDoubt, StoreUnavailable, ThreadBusy
from plumbgraph.postgres.pool import Database
from plumbgraph.tracing.emit import emit

Rows: TypeAlias = dict[str, Row]
_OPEN = frozenset({"intent", "raised"})
_LOOK_EVERY_S = 0.1
_ROUNDS = 5
_RETRY_AFTER_S = (0.1, 0.3, 1.0, 3.0)


class Codec(Protocol):
    """Turns results into bytes and back."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Type and bytes."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the plans work with: results' codec, running effects, patience."""

    codec: Codec
    watch: Watch
    database: Database
    busy_wait_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Task:
    """One call with its key and the declaration of its effect.

    Attributes:
        seen: Something was on record about it when it was prepared.
    """

    scene: Scene
    key: str
    call: Call
    spec: Spec
    alias: str | None = None
    seen: bool = False


def found_again(tasks: Sequence[Task]) -> EffectPlan[tuple[list[Task], Rows | None]]:
    """What is on record about tasks, also under another key, because their run started over.

    A run that commits only at its end is found by its alias; the name its call has now is noted,
    so that it is found too when this run does commit, for example to ask a person.

    Returns:
        The tasks with their keys, and their rows; none when they have to be looked up again.
    """
    tenant = tasks[0].scene.tenant
    names = {task.key: named_here(task.scene, task.call) for task in tasks}
    replies = yield (
        sql.look(tenant, [task.key for task in tasks]),
        sql.aliased(tenant, [task.alias for task in tasks if task.alias]),
        sql.named(tasks[0].scene, [call_id for _, call_id in names.values()]),
    )
    own, by_alias = sql.rows(replies[0]), dict(replies[1])
    by_name = {row[:3]: row[3] for row in replies[2]}
    found: list[Task] = []
    renamed = False
    for task in tasks:
        known = None
        if task.key not in own:
            known = by_alias.get(task.alias) or by_name.get((*names[task.key], task.call.name))
        if known is not None:
            renamed = True
            yield (sql.rename(tenant, known, *names[task.key]),)
        found.append(replace(task, key=known or task.key, seen=bool(known) or task.key in own))
    return found, None if renamed else own


def settle(desk: Desk, tasks: Sequence[Task], rows: Rows | None = None) -> EffectPlan[None]:
    """Clear up what a crash left open, before anything runs: reconcile, or ask.

    Afterwards no task is in doubt, unless its effect may safely run again.

    Args:
        desk: What to work with.
        tasks: The calls.
        rows: What is on record about them, where somebody has just looked.

    Raises:
        ThreadBusy: Another live process is running one of them.
        GraphInterrupt: A person is asked.
    """
    rows = yield from _quiet_rows(desk, tasks, rows)
    doubts: list[Doubt] = []
    for task in tasks:
        row = rows.get(task.key)
        # One that was asked about and answered is asked again: the question takes its answer
        # once more, or the next interrupt of this task would get it.
        if row is not None and ((yield from _doubtful(desk, task, row)) or row.asked):
            doubts.append(Doubt(task.key, task.call, row))
    if doubts and all(doubt.row.state not in _OPEN for doubt in doubts):
        # Its answer is on record; if the run's own note of it was lost, nobody is asked again.
        with suppress(GraphInterrupt):
            ask(doubts)
    elif doubts:
        told = ask(doubts)
        for task in tasks:
            row = rows.get(task.key)
            if row is not None and task.key in told and row.state in _OPEN:
                yield from _apply(desk, task, row, told[task.key], asked=True)


def _doubtful(desk: Desk, task: Task, row: Row) -> EffectPlan[bool]:
    """Whether only a person can tell; what the effect's declaration can tell is recorded."""
    if row.state not in _OPEN:
        return False
    answer = yield from _reconciled(task, row)
    if answer is Outcome.UNKNOWN:
        emit(EffectDoubted(effect=task.call.name, key=task.key, error=row.error))
        return True
    if answer is not None:
        yield from _apply(desk, task, row, answer, asked=False)
    return False


def _quiet_rows(desk: Desk, tasks: Sequence[Task], rows: Rows | None) -> EffectPlan[Rows]:
    """What is recorded about the tasks, once no live process is at any of them."""
    waited = 0.0
    look_up = sql.look(tasks[0].scene.tenant, [task.key for task in tasks])
    while True:
        if rows is None:
            rows = sql.rows((yield (look_up,))[0])
        begun = {key: row for key, row in rows.items() if row.state == "intent"}
        if not begun or not (yield _any_busy(desk, begun)):
            return rows
        if waited >= desk.busy_wait_s:
            raise ThreadBusy(
                f"Another live run of thread {tasks[0].scene.thread_id!r} is at this effect.",
                hint="Let it finish; its result is recorded for whoever comes next.",
                thread_id=tasks[0].scene.thread_id,
            )
        yield pause(_LOOK_EVERY_S)
        waited, rows = waited + _LOOK_EVERY_S, None


def _any_busy(desk: Desk, begun: dict[str, Row]) -> Do:
    return look(lambda: any(_busy(desk, key, row) for key, row in begun.items()))


def _busy(desk: Desk, key: str, row: Row) -> bool:
    return key in desk.watch if row.owner == me() else lives(row.owner, row.quiet_s)


def _reconciled(task: Task, row: Row) -> EffectPlan[Answer | None]:
    """What the effect's own declaration makes of a doubt; nothing when it may run again."""
    spec = task.spec
    if spec.idempotent:
        return None
    if spec.reconcile is None:
        return Outcome.UNKNOWN
    answer = yield Do(
        lambda: _only_sync(spec, spec.reconcile(task.key)),  # type: ignore[misc]
        lambda: _awaited(spec.reconcile, task.key),  # type: ignore[arg-type]
    )
    if not isinstance(answer, Done | Outcome):
        raise EffectInDoubt(
            f"The reconcile callback of effect {task.call.name!r} returned {answer!r}.",
            hint="Return Done(result), Outcome.NOT_DONE or Outcome.UNKNOWN.",
            key=task.key,
            error=row.error,
        )
    return answer


def _only_sync(spec: Spec, answer: Any) -> Any:
    if hasattr(answer, "__await__"):
        answer.close()
        raise EffectInDoubt(
            f"The reconcile callback of effect {spec.name!r} is async, the run is not.",
            hint="Run the graph with `ainvoke`, or make the callback a plain function.",
        )
    return answer


async def _awaited(reconcile: Callable[[str], Any], key: str) -> Any:
    answer = reconcile(key)
    return await answer if hasattr(answer, "__await__") else answer


def _apply(desk: Desk, task: Task, row: Row, answer: Answer, *, asked: bool) -> EffectPlan[None]:
    """Record what turned out to be true."""
    tenant, owner, attempt = task.scene.tenant, row.owner, row.attempt
    source = "person" if asked else "reconcile"
    if isinstance(answer, Done):
        stored = desk.codec.dumps_typed(answer.result)
        yield (sql.done(tenant, task.key, owner, attempt, stored, asked=asked),)
        emit(EffectDone(effect=task.call.name, key=task.key, source=source))
    else:
        yield (sql.not_done(tenant, task.key, owner, attempt, asked=asked),)
        emit(EffectVoided(effect=task.call.name, key=task.key, reason=source))


def perform(desk: Desk, task: Task, do: Do, *, starts_itself: bool) -> EffectPlan[Any]:
    """Run one effect unless it is on record; its result either way.

    Args:
        desk: What to work with.
        task: The call.
        do: Makes it.
        starts_itself: The marked function records the intent, right before the effect.

    Raises:
        EffectInDoubt: It is in doubt; `settle` was not asked, or somebody was faster.
        ClaimLost: While it ran, another process took it over.
    """
    seen = task.seen
    for _ in range(_ROUNDS):
        row = (yield from _settled(desk, task)) if seen else None
        if row is not None and row.state == "done":
            emit(EffectReplayed(effect=task.call.name, key=task.key))
            return desk.codec.loads_typed((row.result_type or "null", row.result or b""))
        try:
            start = _start(desk, task, row)
            return (yield from _happen(desk, task, do, start, starts_itself=starts_itself))
        except Recorded:
            seen = True
    raise EffectInDoubt(
        f"Effect {task.call.name!r} of thread {task.scene.thread_id!r} was begun elsewhere and "
        "has no result yet.",
        key=task.key,
    )


def _settled(desk: Desk, task: Task) -> EffectPlan[Row | None]:
    """What is on record about one task, with nothing left open that can be cleared up."""
    look_up = sql.look(task.scene.tenant, [task.key])
    rows = sql.rows((yield (look_up,))[0])
    if task.key in rows and rows[task.key].state in _OPEN:
        # Somebody was faster: wait for a live one, or clear up after a dead one.
        yield from settle(desk, [task], rows)
        rows = sql.rows((yield (look_up,))[0])
    return rows.get(task.key)


def _start(desk: Desk, task: Task, row: Row | None) -> Start:
    if row is not None and row.state in _OPEN and task.spec.idempotent:
        intent = sql.take_over(task.scene.tenant, task.key, row, me())
    else:
        intent = sql.intent(task.scene, task.call, task.key, task.alias, me())
    number = row.attempt + 1 if row is not None else 1
    named = {"effect": task.call.name, "key": task.key}
    return Start(desk.database, desk.watch, intent, **named, attempt=number)


def _happen(
    desk: Desk, task: Task, do: Do, start: Start, *, starts_itself: bool
) -> EffectPlan[Any]:
    try:
        if not starts_itself:
            yield from start.plan()
        with running(Running(task.key, start=start)):
            result = yield do
        start.check()
        # What gave an answer without a beginning gives the same one after a crash.
        yield from start.plan()
        emit(EffectReturned(effect=task.call.name, key=task.key))
        yield from _record(desk, task, start.attempt, result)
    except GraphBubbleUp:
        if start.made:
            yield from _void(task, start.attempt, "interrupt")
        raise
    except Exception as error:
        start.check()
        if start.made:
            yield from _failed(task, start.attempt, error)
        raise
    finally:
        start.end()
    return result


def _record(desk: Desk, task: Task, attempt: int, result: Any) -> EffectPlan[None]:
    source = "run"
    try:
        stored = desk.codec.dumps_typed(result)
    except Exception:  # noqa: BLE001 - it happened, and that must be on record whatever it gave
        note = f"The effect happened; its result of type {type(result).__name__} cannot be stored."
        stored, source = desk.codec.dumps_typed(note), "unstorable"
    done = sql.done(task.scene.tenant, task.key, me(), attempt, stored, asked=False)
    lost = False
    for seconds in (*_RETRY_AFTER_S, None):
        try:
            replies = yield (done,)
            break
        except StoreUnavailable:
            lost = True
            if seconds is None:
                raise
        yield pause(seconds)
    if not replies[0] and not (lost and (yield from _stands(task, attempt, stored[1]))):
        raise ClaimLost(
            f"Effect {task.call.name!r} was taken over by another process while it ran here.",
            key=task.key,
        )
    emit(EffectDone(effect=task.call.name, key=task.key, source=source))


def _stands(task: Task, attempt: int, result: bytes) -> EffectPlan[bool]:
    """Whether our record was committed although its acknowledgment never came."""
    rows = sql.rows((yield (sql.look(task.scene.tenant, [task.key]),))[0])
    row = rows.get(task.key)
    found = row and (row.state, row.owner, row.attempt, row.result)
    return found == ("done", me(), attempt, result)


def _failed(task: Task, attempt: int, error: Exception) -> EffectPlan[None]:
    if isinstance(error, ClaimLost | StoreUnavailable):
        return
    if isinstance(error, task.spec.not_done_on):
        yield from _void(task, attempt, type(error).__name__)
        return
    text = f"{type(error).__name__}: {error}"[:500]
    tenant = task.scene.tenant
    try:
        yield (sql.not_done(tenant, task.key, me(), attempt, error=text, asked=False),)
    except StoreUnavailable:
        # The intent stays, which says the same; the tool's own error is what matters now.
        return


def _void(task: Task, attempt: int, reason: str) -> EffectPlan[None]:
    yield (sql.not_done(task.scene.tenant, task.key, me(), attempt, asked=False),)
    emit(EffectVoided(effect=task.call.name, key=task.key, reason=reason))
