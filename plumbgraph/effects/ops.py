"""What the journal's plans ask for: SQL, or a call in the colour of the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from plumbgraph import plan as plans
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Batch

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Do:
    """One call to make, in both colours."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]


Op: TypeAlias = Batch | Do
EffectPlan: TypeAlias = Generator[Op, Any, Result]


def pause(seconds: float) -> Do:
    """Wait a little."""
    return Do(lambda: time.sleep(seconds), lambda: asyncio.sleep(seconds))


def look(call: Callable[[], Any]) -> Do:
    """Look at something on this machine that may block for a moment."""
    return Do(call, lambda: asyncio.to_thread(call))


def run(plan: EffectPlan[Result], database: Database) -> Result:
    """Drive a plan, blocking."""
    return plans.run(plan, lambda op: op.call() if isinstance(op, Do) else database.send(op))


async def arun(plan: EffectPlan[Result], database: Database) -> Result:
    """Drive a plan, awaiting."""

    async def asend(op: Op) -> Any:
        return await (op.acall() if isinstance(op, Do) else database.asend(op))

    return await plans.arun(plan, asend)
