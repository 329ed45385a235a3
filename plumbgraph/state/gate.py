"""Who may write: what both kinds of writes ask the database, and what its verdict means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from plumbgraph.errors import (
    ClaimLost,
    PlumbError,
    StoreUnavailable,
    ThreadBusy,
    ThreadDeleted,
)
from plumbgraph.state.context import Claim, StreamKey
from plumbgraph.state.core import Core
from plumbgraph.state.events import WriterRefused
from plumbgraph.state.frames import Cipher, pack_items, place, wrap
from plumbgraph.state.logs import Staged
from plumbgraph.state.statements import array
from plumbgraph.tracing import emit

ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the statement decided, and why."""

    stream: int | None
    thread: int | None
    generation: int | None
    deleted: bool | None
    owned: bool | None
    fresh: bool | None
    owner: str | None
    head: bytes | None


def spelled(number: int | None) -> str | None:
    """A whole number as a text parameter."""
    return None if number is None else str(number)


def gate(core: Core, stream: StreamKey, claim: Claim | None) -> dict[str, Any]:
    """The parameters by which a write is let through."""
    tenant, thread, ns = stream
    return {
        "tenant": tenant,
        "thread": thread,
        "ns": ns,
        "epoch": None if claim is None else str(claim.epoch),
        "generation": spelled(core.generations.get((tenant, thread))),
    }


def content_of(
    staged: Staged, cipher: Cipher | None, others: Sequence[bytes] = ()
) -> dict[str, Any]:
    """The parameters that bring a statement's new elements, and other bodies behind theirs.

    All bodies travel as one binary parameter that the statement cuts: an array of them would be
    spelled out as text, which takes more time than the rest of the statement.
    """
    bodies = [
        wrap(pack_items(items), cipher, place("element", log, slot))
        for log, slot, items in staged.rows
    ]
    count, sizes = len(bodies), [len(body) for body in (*bodies, *others)]
    starts = list(accumulate(sizes, initial=1))
    return {
        "new_logs": array(sorted(set(staged.fresh))),
        "logs": array([log for log, _, _ in staged.rows]),
        "slots": array([slot for _, slot, _ in staged.rows]),
        "bodies": b"".join((*bodies, *others)),
        "starts": array(starts[:count]),
        "sizes": array(sizes[:count]),
        "row_starts": array(starts[count:-1]),
        "row_sizes": array(sizes[count:]),
    }


def keep_bytes(core: Core, staged: Staged) -> None:
    """Cache the elements a committed statement stored."""
    for log, start, items in staged.items:
        core.cached.put(log, start, items)


def refuse(verdict: Verdict, stream: StreamKey, claim: Claim | None) -> None:
    """Raise what the verdict says is wrong, if anything."""
    error = _refusal(verdict, stream, claim)
    if error is not None:
        emit(WriterRefused(thread_id=stream[1], code=error.code))
        raise error


def _refusal(verdict: Verdict, stream: StreamKey, claim: Claim | None) -> PlumbError | None:
    _, thread, ns = stream
    if verdict.deleted:
        return ThreadDeleted(
            f"Thread {thread!r} was deleted; this late write was refused.", thread_id=thread
        )
    if verdict.owned is False and claim is not None:
        return ClaimLost(
            f"The claim on thread {thread!r} has run out or passed to {verdict.owner!r}.",
            thread_id=thread,
            checkpoint_ns=ns,
            owner=verdict.owner,
        )
    if verdict.owned is False:
        return ThreadBusy(
            f"Thread {thread!r} is claimed by {verdict.owner!r}.",
            thread_id=thread,
            owner=verdict.owner,
        )
    return None


def contended(stream: StreamKey) -> StoreUnavailable:
    """The error of a write that others overtook again and again."""
    return StoreUnavailable(
        f"Thread {stream[1]!r} changed under each of {ATTEMPTS} attempts to write to it.",
        thread_id=stream[1],
    )
