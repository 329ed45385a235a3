"""The journal: effects once, model calls replayed, and what is known about open tool calls."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.config import get_config

from plumbgraph.effects import once, ops, scene, transact
from plumbgraph.effects import statements as sql
from plumbgraph.effects.decorator import spec_of, starts_itself
from plumbgraph.effects.key import alias_of, digest, key_of
from plumbgraph.effects.news import News
from plumbgraph.effects.once import Codec, Desk, Task
from plumbgraph.effects.ops import Do, EffectPlan
from plumbgraph.effects.repair import Known, OpenCall, known
from plumbgraph.effects.scene import Line
from plumbgraph.effects.turns import Turns
from plumbgraph.effects.values import Call, Entry, Scene, Spec
from plumbgraph.effects.watch import Heartbeats
from plumbgraph.errors import SettingsError
from plumbgraph.postgres.pool import Database

Result = TypeVar("Result")


class Journal:
    """Records every effect before it happens and its result after, in PostgreSQL.

    Args:
        database: Where the journal lies; also a URL.
        line: The checkpointer's knowledge of a thread (`plumbgraph.agents.journal_for` makes one
            of any checkpointer).
        tenant: Whose threads.
        codec: Turns results into bytes; LangGraph's serializer by default.
        wait_s: Seconds to wait until the checkpoint that holds a tool call is committed.
        busy_wait_s: Seconds to wait for another live run that is at the same effect.
    """

    def __init__(
        self,
        database: Database | str,
        *,
        line: Line,
        tenant: str = "default",
        codec: Codec | None = None,
        wait_s: float = 30.0,
        busy_wait_s: float = 30.0,
    ) -> None:
        self.database = Database(database) if isinstance(database, str) else database
        self.tenant = tenant
        self._line = line
        self._wait_s = wait_s
        self._turns = Turns()
        self._beats = Heartbeats(self.database, tenant)
        self._desk = Desk(codec or JsonPlusSerializer(), self._beats, self.database, busy_wait_s)
        self._news = News()

    def run(self, plan: EffectPlan[Result]) -> Result:
        """Drive one of the journal's plans, blocking."""
        return ops.run(plan, self.database)

    async def arun(self, plan: EffectPlan[Result]) -> Result:
        """Drive one of the journal's plans, awaiting."""
        return await ops.arun(plan, self.database)

    def prepare(self, calls: Sequence[tuple[Call, Spec]]) -> EffectPlan[list[Task]]:
        """Get calls of the running task ready: nothing is in doubt when this is through.

        Waits until the checkpoint that holds them is committed, reconciles what a crash left
        open, and interrupts the run where only a person can tell.

        Raises:
            SettingsError: No graph with a checkpointer is running here.
            StoreUnavailable: The checkpoint was not committed in time.
            ThreadBusy: Another live run is at one of them.
        """
        here = yield from scene.scene_here(self._line, self.tenant)
        yield from scene.settled(self._line, here, self._wait_s)
        tasks = [self._task(here, *each) for each in calls]
        if here.fresh or not tasks:
            return tasks
        tasks, rows = yield from once.found_again(tasks)
        yield from once.settle(self._desk, tasks, rows)
        return tasks

    def _task(self, here: Scene, call: Call, spec: Spec) -> Task:
        numbered = self._turns.numbered(here, call)
        return Task(here, key_of(here, numbered), numbered, spec, alias_of(here, numbered))

    def perform(
        self,
        task: Task,
        function: Callable[[], Any],
        rejects: Callable[[Any], bool] | None = None,
        *,
        starts_itself: bool = False,
    ) -> Any:
        """Run a prepared call, or return what it gave before.

        Args:
            task: From `prepare`.
            function: Does it.
            rejects: Tells a result that means failure, so that SQL in our database is undone.
            starts_itself: Whatever `function` does, it does in a function marked with `@effect`,
                which then records the intent as the last thing before the effect.
        """
        do = Do(function, _never)
        if task.spec.in_database:
            return transact.run(self._desk.codec, task, do, self.database, rejects or _accept)
        return self.run(once.perform(self._desk, task, do, starts_itself=starts_itself))

    async def aperform(
        self,
        task: Task,
        function: Callable[[], Awaitable[Any]],
        rejects: Callable[[Any], bool] | None = None,
        *,
        starts_itself: bool = False,
    ) -> Any:
        """See `perform`."""
        do = Do(_never_sync, function)
        if task.spec.in_database:
            return await transact.arun(
                self._desk.codec, task, do, self.database, rejects or _accept
            )
        return await self.arun(once.perform(self._desk, task, do, starts_itself=starts_itself))

    def call(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call an effect from a node's own code, once.

        Equal calls of one task are told apart by their order, so keep that the same.

        Raises:
            SettingsError: `function` is not marked with `@effect`.
        """
        called = _direct(function, args, kwargs)
        (task,) = self.run(self.prepare([called]))
        result: Result = self.perform(
            task, lambda: function(*args, **kwargs), starts_itself=starts_itself(function)
        )
        return result

    async def acall(
        self, function: Callable[..., Awaitable[Result]], *args: Any, **kwargs: Any
    ) -> Result:
        """See `call`; `function` is a coroutine function."""
        called = _direct(function, args, kwargs)
        (task,) = await self.arun(self.prepare([called]))
        # One that is not async would make its mark in the loop.
        starts = starts_itself(function) and inspect.iscoroutinefunction(function)
        result: Result = await self.aperform(
            task, lambda: function(*args, **kwargs), starts_itself=starts
        )
        return result

    def key(self, name: str, args: Any) -> str:
        """The key of a model call of the running task, for `lookup`, `intent` and `done`.

        The same when the task is resumed from the same checkpoint; waits for nothing, because a
        model call that is made twice costs money and no truth.
        """
        return self.run(self._key(name, args))

    async def akey(self, name: str, args: Any) -> str:
        """See `key`."""
        return await self.arun(self._key(name, args))

    def _key(self, name: str, args: Any) -> EffectPlan[str]:
        here = yield from scene.scene_here(self._line, self.tenant)
        call = self._turns.numbered(here, Call(name=f"call:{name}", args=digest(args)))
        key = alias_of(here, call) or key_of(here, call)
        self._news.asked(key, fresh=here.fresh)
        return key

    def lookup(self, key: str) -> Entry | None:
        """What is recorded about a model call."""
        return None if self._news.nothing(key) else self.run(_lookup(self.tenant, key))

    async def alookup(self, key: str) -> Entry | None:
        """See `lookup`."""
        return None if self._news.nothing(key) else await self.arun(_lookup(self.tenant, key))

    def intent(self, key: str, facts: Mapping[str, Any]) -> None:
        """Record a model call that is about to happen; committed when it returns."""
        self._news.written(key)
        self.database.send((sql.call_intent(self.tenant, key, _thread(), json.dumps(facts)),))

    async def aintent(self, key: str, facts: Mapping[str, Any]) -> None:
        """See `intent`."""
        self._news.written(key)
        said = sql.call_intent(self.tenant, key, _thread(), json.dumps(facts))
        await self.database.asend((said,))

    def done(self, key: str, result: Mapping[str, Any]) -> None:
        """Record a model call's result; the first one stays. Committed when it returns."""
        self._news.written(key)
        self.database.send((sql.call_done(self.tenant, key, _thread(), json.dumps(result)),))

    async def adone(self, key: str, result: Mapping[str, Any]) -> None:
        """See `done`."""
        self._news.written(key)
        said = sql.call_done(self.tenant, key, _thread(), json.dumps(result))
        await self.database.asend((said,))

    def record(
        self, name: str, args: Any, produce: Callable[[], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """The recorded result of a model call, or a new one that is recorded now.

        Args:
            name: What is called.
            args: What it is called with, plain data.
            produce: Makes the call; gives plain JSON data.
        """
        key = self.key(name, args)
        entry = self.lookup(key)
        if entry is not None and entry.result is not None:
            return entry.result
        result = produce()
        self.done(key, result)
        return result

    async def arecord(
        self, name: str, args: Any, produce: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> Mapping[str, Any]:
        """See `record`."""
        key = await self.akey(name, args)
        entry = await self.alookup(key)
        if entry is not None and entry.result is not None:
            return entry.result
        result = await produce()
        await self.adone(key, result)
        return result

    def known(self, thread_id: str, calls: Iterable[OpenCall]) -> dict[OpenCall, Known]:
        """What is known about tool calls; those never begun are absent."""
        return self.run(known(self._desk.codec, self.tenant, thread_id, list(calls)))

    async def aknown(self, thread_id: str, calls: Iterable[OpenCall]) -> dict[OpenCall, Known]:
        """See `known`."""
        return await self.arun(known(self._desk.codec, self.tenant, thread_id, list(calls)))

    def forget(self, thread_ids: Iterable[str]) -> int:
        """Delete all records of threads, when the threads themselves are gone; how many."""
        return int(self.database.send((sql.forget(self.tenant, list(thread_ids)),))[0][0][0])

    async def aforget(self, thread_ids: Iterable[str]) -> int:
        """See `forget`."""
        replies = await self.database.asend((sql.forget(self.tenant, list(thread_ids)),))
        return int(replies[0][0][0])

    def close(self) -> None:
        """Stop the heartbeats; the database is its owner's to close."""
        self._beats.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lookup(tenant: str, key: str) -> EffectPlan[Entry | None]:
    rows = (yield (sql.lookup(tenant, key),))[0]
    if not rows:
        return None
    intent, result = rows[0]
    return Entry(json.loads(intent) or {}, None if result is None else json.loads(result))


def _direct(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Call, Spec]:
    spec = spec_of(function)
    if spec is None:
        raise SettingsError(
            f"{getattr(function, '__name__', function)!r} is not marked as an effect.",
            hint="Mark it with @effect.",
        )
    bound = inspect.signature(function).bind(*args, **kwargs)
    return Call(spec.name, dict(bound.arguments)), spec


def _thread() -> str:
    try:
        return str(get_config().get("configurable", {}).get("thread_id", ""))
    except RuntimeError:
        return ""


def _accept(_: Any) -> bool:
    return False


def _never_sync() -> Any:
    raise AssertionError("the other colour was asked for")


async def _never() -> Any:
    raise AssertionError("the other colour was asked for")
