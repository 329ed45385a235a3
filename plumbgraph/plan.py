"""Plans: a sequence of I/O written once as a generator, and the two drivers that run it.

A plan yields a batch of commands, is sent the replies, and returns its result. It holds no
client and no colour, so `put` and `aput` are the same plan under `run` and `arun`; the number
of yields is the number of round trips; and a test injects a fault at any step with
`plan.throw(...)`. What a batch and its replies are is the wire's business: see
`plumbgraph.redis.clients` and `plumbgraph.postgres.pool`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TypeAlias, TypeVar

Batch = TypeVar("Batch")
Replies = TypeVar("Replies")
Result = TypeVar("Result")

Plan: TypeAlias = Generator[Batch, Replies, Result]
"""A generator of batches that is sent their replies and returns a result."""


def run(plan: Plan[Batch, Replies, Result], send: Callable[[Batch], Replies]) -> Result:
    """Drive `plan` to its result, each batch through the blocking `send`.

    An error raised by `send` is thrown into the plan at the yield that asked for it; the plan
    may handle it and go on, else it reaches the caller. A plan that is abandoned is closed.
    """
    try:
        batch = next(plan)
        while True:
            try:
                replies = send(batch)
            except Exception as error:  # noqa: BLE001 - the plan decides what an error means
                batch = plan.throw(error)
            else:
                batch = plan.send(replies)
    except StopIteration as done:
        result: Result = done.value
        return result
    finally:
        plan.close()


async def arun(
    plan: Plan[Batch, Replies, Result], send: Callable[[Batch], Awaitable[Replies]]
) -> Result:
    """Drive `plan` to its result, each batch through the awaitable `send`; see `run`."""
    try:
        batch = next(plan)
        while True:
            try:
                replies = await send(batch)
            except Exception as error:  # noqa: BLE001 - the plan decides what an error means
                batch = plan.throw(error)
            else:
                batch = plan.send(replies)
    except StopIteration as done:
        result: Result = done.value
        return result
    finally:
        plan.close()
