"""Steps of a routed call: each a thing to do in both colours, or a chunk to hand on."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeAlias, TypeVar

from plumbgraph import plan as plans

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, in both colours."""

    do: Callable[[], Any]
    ado: Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Emit:
    """A chunk of an answer for the one who asked; only plans of streamed calls yield these."""

    chunk: Any


RoutePlan: TypeAlias = Generator[Step | Emit, Any, Result]


def both(owner: Any, name: str, *args: Any, **kwargs: Any) -> Step:
    """The step that calls `owner.NAME`, or `owner.aNAME` where the caller awaits."""
    return Step(
        partial(getattr(owner, name), *args, **kwargs),
        partial(getattr(owner, f"a{name}"), *args, **kwargs),
    )


def pause(seconds: float) -> Step:
    """The step that waits."""
    return Step(partial(time.sleep, seconds), partial(asyncio.sleep, seconds))


def off_loop(function: Callable[..., Any], *args: Any) -> Step:
    """The step that calls a user's function, which may be a coroutine function or may block."""

    async def awaited() -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*args)
        return await asyncio.to_thread(function, *args)

    def called() -> Any:
        if inspect.iscoroutinefunction(function):
            return asyncio.run(function(*args))
        return function(*args)

    return Step(called, awaited)


def run(plan: RoutePlan[Result]) -> Result:
    """Drive a plan that streams nothing, blocking."""
    return plans.run(plan, lambda step: _step(step).do())


async def arun(plan: RoutePlan[Result]) -> Result:
    """Drive a plan that streams nothing, awaiting."""
    return await plans.arun(plan, lambda step: _step(step).ado())


def stream(plan: RoutePlan[Any]) -> Iterator[Any]:
    """The chunks of a plan, blocking."""
    with _Pulled(plan) as pulled:
        while (step := pulled.next()) is not None:
            if isinstance(step, Emit):
                yield step.chunk
                pulled.answer(None)
                continue
            try:
                pulled.answer(step.do())
            except Exception as error:  # noqa: BLE001 - the plan decides what an error means
                pulled.answer(error=error)


async def astream(plan: RoutePlan[Any]) -> AsyncIterator[Any]:
    """The chunks of a plan, awaiting."""
    with _Pulled(plan) as pulled:
        while (step := pulled.next()) is not None:
            if isinstance(step, Emit):
                yield step.chunk
                pulled.answer(None)
                continue
            try:
                pulled.answer(await step.ado())
            except Exception as error:  # noqa: BLE001 - the plan decides what an error means
                pulled.answer(error=error)


class _Pulled:
    """A plan that is asked for its next step and told the answer to the last one."""

    def __init__(self, plan: RoutePlan[Any]) -> None:
        self._plan = plan
        self._reply: Any = None
        self._error: Exception | None = None

    def next(self) -> Step | Emit | None:
        error, self._error = self._error, None
        try:
            return self._plan.throw(error) if error else self._plan.send(self._reply)
        except StopIteration:
            return None

    def answer(self, reply: Any = None, *, error: Exception | None = None) -> None:
        self._reply, self._error = reply, error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._plan.close()


def _step(step: Step | Emit) -> Step:
    assert isinstance(step, Step), "a streaming plan needs stream or astream"
    return step
