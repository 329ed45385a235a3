"""What the running code's context knows: its claim, what it read, and which branch it is on.

Context variables, because what stands in a config's `configurable` is persisted into metadata,
and because LangGraph hands puts to background threads and tasks with a copy of the context.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from secrets import token_bytes
from typing import TypeAlias

StreamKey: TypeAlias = tuple[str, str, str]
"""Tenant (in context variables: its scope), thread, checkpoint namespace."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on a thread: every write under it carries its epoch."""

    scope: str
    tenant: str
    thread_id: str
    epoch: int
    owner: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The last explicit read of a stream in this context, and the branch a fork of it gets."""

    checkpoint_id: str
    head: bytes | None
    mint: bytes


_claims: ContextVar[dict[tuple[str, str], Claim]] = ContextVar("plumbgraph_claims")
_readings: ContextVar[dict[StreamKey, Reading]] = ContextVar("plumbgraph_readings")
_branches: ContextVar[dict[tuple[str, str], str]] = ContextVar("plumbgraph_branches")


_accepted: ContextVar[dict[tuple[str, str], int]] = ContextVar("plumbgraph_accepted")


def starts_accepted(scope: str, thread_id: str, number: int | None) -> None:
    """The next run of this context on a thread is the accepted one of this number."""
    kept = {k: v for k, v in _accepted.get({}).items() if k != (scope, thread_id)}
    _accepted.set(kept if number is None else {**kept, (scope, thread_id): number})


def accepted_of(scope: str, thread_id: str) -> int | None:
    """The accepted run that this context starts."""
    return _accepted.get({}).get((scope, thread_id))


def claim_of(scope: str, thread_id: str) -> Claim | None:
    """The claim under which this context writes to a thread."""
    return _claims.get({}).get((scope, thread_id))


def take(claim: Claim) -> None:
    """Write under a claim from now on."""
    _claims.set({**_claims.get({}), (claim.scope, claim.thread_id): claim})


def leave(claim: Claim) -> None:
    """Write under it no more."""
    key = (claim.scope, claim.thread_id)
    _claims.set({k: v for k, v in _claims.get({}).items() if k != key})


def read_explicitly(key: StreamKey, checkpoint_id: str, head: bytes | None = None) -> bytes:
    """This context read a checkpoint by its id, so a put onto it is a deliberate fork.

    Reading it again gives the same branch, unless the stream's head has moved: then the fork
    was made, and another one is another branch.

    Returns:
        The id of the branch such a fork gets.
    """
    known = _readings.get({}).get(key)
    if known is None or (known.checkpoint_id, known.head) != (checkpoint_id, head):
        known = Reading(checkpoint_id, head, token_bytes(8))
        _readings.set({**_readings.get({}), key: known})
    return known.mint


def read_latest(key: StreamKey) -> None:
    """This context read the head; an earlier explicit read counts no more."""
    found = _readings.get({})
    if key in found:
        _readings.set({k: v for k, v in found.items() if k != key})


def reading_of(key: StreamKey) -> Reading | None:
    """The explicit read of a stream in this context."""
    return _readings.get({}).get(key)


def on_branch(tenant: str, thread_id: str, branch: str) -> None:
    """This context works on a branch of a thread."""
    if _branches.get({}).get((tenant, thread_id)) != branch:
        _branches.set({**_branches.get({}), (tenant, thread_id): branch})


def current_branch(thread_id: str, *, tenant: str = "default") -> str:
    """The branch of a thread that the code in this context works on.

    Empty for the first branch, else the id that was minted when an older checkpoint was
    deliberately continued. It stays the same through crash and resume, and is inherited by
    every later checkpoint of the branch.
    """
    return _branches.get({}).get((tenant, thread_id), "")
