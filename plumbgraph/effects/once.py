"""An effect that happens once: what is asked, recorded and run, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from langgraph.errors import GraphBubbleUp, GraphInterrupt

from plumbgraph.effects import statements as sql
from plumbgraph.effects.context import Running, running
from plumbgraph.effects.doubt import Answer, Doubt, ask
from plumbgraph.effects.events import (
    EffectDone,
    EffectDoubted,
    EffectIntended,
    EffectReplayed,
    EffectReturned,
    EffectVoided,
)
from plumbgraph.effects.key import named_here
from plumbgraph.effects.ops import Do, EffectPlan, look, pause
from plumbgraph.effects.owner import lives, me
from plumbgraph.effects.start import Start
from plumbgraph.effects.values import Call, Done, Outcome, Row, Scene, Spec
from plumbgraph.errors import ClaimLost, EffectInDoubt, StoreUnavailable, ThreadBusy
from plumbgraph.postgres.pool import Database
from plumbgraph.tracing.emit import emit

_OPEN = frozenset({"intent", "raised"})
_LOOK_EVERY_S = 0.1
_ROUNDS = 5
_RETRY_AFTER_S = (0.1, 0.3, 1.0, 3.0)


class Watch(Protocol):
    """Knows which effects this process is running, and keeps their heartbeats."""

    def add(self, key: str) -> None:
        """One begins."""

    def discard(self, key: str) -> None:
        """One ended."""

    def __contains__(self, key: object) -> bool: ...


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
    """One call with its key and the declaration of its effect."""

    scene: Scene
    key: str
    call: Call
    spec: Spec
    alias: str | None = None


def found_again(tasks: Sequence[Task]) -> EffectPlan[list[Task]]:
    """Tasks that are on record under another key, because their run started over.

    A run that commits only at its end is found by its alias; the name its call has now is noted,
    so that it is found too when this run does commit, for example to ask a person.
    """
    if not tasks:
        return []
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
    for task in tasks:
        known = None
        if task.key not in own:
            known = by_alias.get(task.alias) or by_name.get((*names[task.key], task.call.name))
        if known is not None:
            yield (sql.rename(tenant, known, *names[task.key]),)
        found.append(replace(task, key=known) if known else task)
    return found


def settle(desk: Desk, tasks: Sequence[Task]) -> EffectPlan[None]:
    """Clear up what a crash left open, before anything runs: reconcile, or ask.

    Afterwards no task is in doubt, unless its effect may safely run again.

    Raises:
        ThreadBusy: Another live process is running one of them.
        GraphInterrupt: A person is asked.
    """
    if not tasks:
        return
    rows = yield from _quiet_rows(desk, tasks)
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
    if row.unbegun and (yield (sql.not_begun(task.scene.tenant, task.key, row),))[0]:
        emit(EffectVoided(effect=task.call.name, key=task.key, reason="not begun"))
        return False
    answer = yield from _reconciled(task, row)
    if answer is Outcome.UNKNOWN:
        emit(EffectDoubted(effect=task.call.name, key=task.key, error=row.error))
        return True
    if answer is not None:
        yield from _apply(desk, task, row, answer, asked=False)
    return False


def _quiet_rows(desk: Desk, tasks: Sequence[Task]) -> EffectPlan[dict[str, Row]]:
    """What is recorded about the tasks, once no live process is at any of them."""
    waited = 0.0
    while True:
        keys = [task.key for task in tasks]
        rows = sql.rows((yield (sql.look(tasks[0].scene.tenant, keys),))[0])
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
        waited += _LOOK_EVERY_S


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
        starts_itself: The marked function makes the last mark before the effect.

    Raises:
        EffectInDoubt: It is in doubt; `settle` was not asked, or somebody was faster.
        ClaimLost: While it ran, another process took it over.
    """
    attempt = yield from _begun(desk, task)
    if isinstance(attempt, Row):
        emit(EffectReplayed(effect=task.call.name, key=task.key))
        return desk.codec.loads_typed((attempt.result_type or "null", attempt.result or b""))
    emit(EffectIntended(effect=task.call.name, key=task.key, attempt=attempt))
    desk.watch.add(task.key)
    start = _start(desk, task, attempt)
    try:
        if start is not None and not starts_itself:
            yield from start.plan()
        with running(Running(task.key, attempt, start=start)):
            result = yield do
        if start is not None:
            start.check()
        emit(EffectReturned(effect=task.call.name, key=task.key))
        yield from _record(desk, task, attempt, result)
    except GraphBubbleUp:
        yield from _void(task, attempt, "interrupt")
        raise
    except Exception as error:
        yield from _failed(task, attempt, error, start)
        raise
    finally:
        desk.watch.discard(task.key)
    return result


def _asks(spec: Spec) -> bool:
    """Whether nobody but a person could tell after a crash."""
    return not spec.idempotent and spec.reconcile is None


def _start(desk: Desk, task: Task, attempt: int) -> Start | None:
    if not _asks(task.spec):
        return None
    mark = sql.begun(task.scene.tenant, task.key, me(), attempt)
    return Start(desk.database, mark, task.key)


def _begun(desk: Desk, task: Task) -> EffectPlan[int | Row]:
    """The number of our attempt, or the row of a call that is done."""
    tenant, owner = task.scene.tenant, me()
    for _ in range(_ROUNDS):
        replies = yield (
            sql.intent(
                task.scene, task.call, task.key, task.alias, owner, begins_later=_asks(task.spec)
            ),
            sql.look(tenant, [task.key]),
        )
        if replies[0]:
            return int(replies[0][0][0])
        row = sql.rows(replies[1])[task.key]
        if row.state == "done":
            return row
        # Somebody was faster: wait for a live one, or clear up after a dead one.
        yield from settle(desk, [task])
        if task.spec.idempotent:
            taken = yield (sql.take_over(tenant, task.key, row, owner),)
            if taken[0]:
                return int(taken[0][0][0])
    raise EffectInDoubt(
        f"Effect {task.call.name!r} of thread {task.scene.thread_id!r} was begun elsewhere and "
        "has no result yet.",
        key=task.key,
    )


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


def _failed(task: Task, attempt: int, error: Exception, start: Start | None) -> EffectPlan[None]:
    if isinstance(error, ClaimLost | StoreUnavailable):
        return
    unbegun = start is not None and not start.made
    if unbegun or isinstance(error, task.spec.not_done_on):
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
