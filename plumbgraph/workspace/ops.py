"""What the workspace's plans ask of a blob store, as values, and the drivers of such plans.

The plans read and write files between their requests. So the async driver advances them in a
worker thread and only awaits the store in the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

from plumbgraph import plan as plans
from plumbgraph.content.store import BlobStore, Ref

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Put:
    """Store blobs, then references."""

    blobs: Mapping[str, bytes] = field(default_factory=dict)
    refs: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget references."""

    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Get:
    """Fetch blobs; the reply is a dict."""

    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Ask which blobs are absent; the reply is a set."""

    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refs:
    """List an owner's references, newest first; the reply is a list."""

    owner: str
    limit: int = 64


Op: TypeAlias = Put | Drop | Get | Missing | Refs
BlobPlan: TypeAlias = Generator[Op, Any, Result]


def send(blobs: BlobStore, op: Op) -> Any:
    """Carry out one request, blocking."""
    match op:
        case Put(contents, refs):
            return blobs.put_many(contents, refs=refs)
        case Drop(refs):
            return blobs.drop_refs(refs)
        case Get(digests):
            return blobs.get_many(digests)
        case Missing(digests):
            return blobs.missing(digests)
        case Refs(owner, limit):
            return blobs.refs(owner, limit=limit)


async def asend(blobs: BlobStore, op: Op) -> Any:
    """Carry out one request, awaiting."""
    match op:
        case Put(contents, refs):
            return await blobs.aput_many(contents, refs=refs)
        case Drop(refs):
            return await blobs.adrop_refs(refs)
        case Get(digests):
            return await blobs.aget_many(digests)
        case Missing(digests):
            return await blobs.amissing(digests)
        case Refs(owner, limit):
            return await blobs.arefs(owner, limit=limit)


def run(plan: BlobPlan[Result], blobs: BlobStore) -> Result:
    """Drive a plan, blocking."""
    return plans.run(plan, partial(send, blobs))


async def arun(plan: BlobPlan[Result], blobs: BlobStore) -> Result:
    """Drive a plan: its file work in worker threads, its requests awaited here."""
    try:
        done, value = await _in_thread(plan, None, None)
        while not done:
            try:
                reply = await asend(blobs, value)
            except Exception as error:  # noqa: BLE001 - the plan decides what an error means
                done, value = await _in_thread(plan, None, error)
            else:
                done, value = await _in_thread(plan, reply, None)
        result: Result = value
        return result
    finally:
        await asyncio.shield(asyncio.to_thread(plan.close))


async def _in_thread(plan: BlobPlan[Any], reply: Any, error: Exception | None) -> tuple[bool, Any]:
    work = asyncio.ensure_future(asyncio.to_thread(_advance, plan, reply, error))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # The thread cannot be stopped: leave only when it no longer touches the folder.
        await asyncio.wait([work])
        raise


def _advance(plan: BlobPlan[Any], reply: Any, error: Exception | None) -> tuple[bool, Any]:
    try:
        return False, plan.send(reply) if error is None else plan.throw(error)
    except StopIteration as done:
        return True, done.value
