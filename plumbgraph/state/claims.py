"""Claims: a lease on a thread with an epoch, which every write under it must still carry."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from plumbgraph.errors import (
    ClaimLost,
    SettingsError,
    StoreUnavailable,
    ThreadBusy,
    ThreadDeleted,
)
from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state import context
from plumbgraph.state.context import Claim
from plumbgraph.state.core import Core
from plumbgraph.state.events import ClaimTaken, ClaimWasLost
from plumbgraph.tracing import emit

_RENEWALS = 3
_SOON_S = 0.05

UPKEEP = "plumbgraph:upkeep"
"""A tenant of no threads, whose leases stand for work that one process does at a time."""

_TAKE = """
INSERT INTO {schema}.thread AS t (tenant, thread_id, epoch, owner, claimed_at, lease_until)
VALUES (%(tenant)s, %(thread)s, 1, %(owner)s, clock_timestamp(),
    clock_timestamp() + make_interval(secs => %(ttl)s::float8))
ON CONFLICT (tenant, thread_id) DO UPDATE
SET epoch = t.epoch + 1, owner = excluded.owner, claimed_at = excluded.claimed_at,
    lease_until = excluded.lease_until
WHERE t.deleted_at IS NULL
    AND (coalesce(t.lease_until <= clock_timestamp(), true) OR t.owner = %(after)s)
RETURNING epoch"""

_LOOK = """
SELECT owner, lease_until, deleted_at IS NOT NULL FROM {schema}.thread
WHERE tenant = %(tenant)s AND thread_id = %(thread)s"""

_RENEW = """
UPDATE {schema}.thread
SET lease_until = clock_timestamp() + make_interval(secs => %(ttl)s::float8)
WHERE tenant = %(tenant)s AND thread_id = %(thread)s AND epoch = %(epoch)s::bigint
    AND lease_until > clock_timestamp() RETURNING 1"""

# A lease that has run out stays: the owner's writes were refused, so somebody must go on.
_RELEASE = """
UPDATE {schema}.thread SET owner = NULL, lease_until = NULL
WHERE tenant = %(tenant)s AND thread_id = %(thread)s AND epoch = %(epoch)s::bigint
    AND lease_until > clock_timestamp()"""

# The owner ends in the middle: his name stays and tells whoever recovers that work is left.
_CUT = _RELEASE.replace("owner = NULL, lease_until = NULL", "lease_until = clock_timestamp()")


def default_owner() -> str:
    """A name for this process: host, process id space, process id, and a random part."""
    return f"{_PLACE}:{os.getpid()}:{secrets.token_hex(3)}"


def is_gone(owner: str) -> bool:
    """Whether an owner named by `default_owner` was a process of this machine and has ended.

    An owner elsewhere, or in another container, is never said to be gone.
    """
    place, _, rest = owner.rpartition(":")[0].rpartition(":")
    if place != _PLACE or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _place() -> str:
    try:
        space = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        space = ""
    return f"{socket.gethostname()}/{space}"


_PLACE = _place()  # read once: a look at /proc would block an event loop


def take(
    scope: str, tenant: str, thread: str, owner: str, ttl_s: float, after: str | None = None
) -> SqlPlan[Claim]:
    """Claim a thread for the contexts of one saver; the lease of `after` is not waited for.

    Raises:
        ThreadBusy: Another live lease exists.
        ThreadDeleted: The thread was deleted.
    """
    who = {"tenant": tenant, "thread": thread}
    taken = (yield (Statement(_TAKE, {**who, "owner": owner, "ttl": str(ttl_s), "after": after}),))[
        0
    ]
    if taken:
        return Claim(scope, tenant, thread, taken[0][0], owner)
    found = (yield (Statement(_LOOK, who),))[0]
    if found and found[0][2]:
        raise ThreadDeleted(f"Thread {thread!r} was deleted.", thread_id=thread)
    held_by, until = (found[0][0], found[0][1]) if found else (None, None)
    raise ThreadBusy(
        f"Thread {thread!r} is claimed by {held_by!r} until {until}.",
        thread_id=thread,
        owner=held_by,
        until=until,
    )


def renew(claim: Claim, ttl_s: float) -> SqlPlan[bool]:
    """Lengthen a lease; False where it has run out or passed on."""
    return bool((yield (Statement(_RENEW, {**_of(claim), "ttl": str(ttl_s)}),))[0])


def release(claim: Claim, ending: type[BaseException] | None = None) -> SqlPlan[None]:
    """Give a thread free; nothing happens if the lease has run out or passed on.

    Args:
        claim: The claim.
        ending: What ended its block. A process that is told to stop (`KeyboardInterrupt`,
            `SystemExit`, a cancelled task) leaves its work to others, as a killed one does.
    """
    cut = ending is not None and not issubclass(ending, Exception)
    yield (Statement(_CUT if cut else _RELEASE, _of(claim)),)


def _of(claim: Claim) -> dict[str, str]:
    return {"tenant": claim.tenant, "thread": claim.thread_id, "epoch": str(claim.epoch)}


@dataclass(slots=True)
class Lease:
    """A claim for as long as a `with` or `async with` block lasts, renewed in the background.

    Inside the block every write of this context to the thread carries the claim's epoch, and is
    refused with `ClaimLost` once the lease has run out or passed on: also after this process was
    paused for longer than the lease.
    """

    core: Core
    tenant: str
    thread_id: str
    ttl_s: float
    owner: str
    after: str | None = None
    claim: Claim | None = None
    lost: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _beat: threading.Thread | asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        if self.ttl_s <= 0:
            raise SettingsError(f"ttl_s={self.ttl_s!r} is no lease.", hint="Use some seconds.")

    @property
    def epoch(self) -> int:
        """The number of this claim; each later claim on the thread has a higher one."""
        if self.claim is None:
            raise ClaimLost(f"Thread {self.thread_id!r} is not claimed.", hint="Use `with`.")
        return self.claim.epoch

    def __enter__(self) -> Self:
        self._taken(self.core.db.run(self._take()))
        self._beat = threading.Thread(target=self._keep, name="plumbgraph-lease", daemon=True)
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self.claim is not None
        self._stop.set()
        if isinstance(self._beat, threading.Thread):
            self._beat.join()
        context.leave(self.claim)
        with suppress(StoreUnavailable):
            self.core.db.run(release(self.claim, kind))

    async def __aenter__(self) -> Self:
        self._taken(await self.core.db.arun(self._take()))
        self._beat = asyncio.create_task(self._akeep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self.claim is not None
        if isinstance(self._beat, asyncio.Task):
            self._beat.cancel()
            await asyncio.gather(self._beat, return_exceptions=True)
        context.leave(self.claim)
        with suppress(StoreUnavailable):
            await self.core.db.arun(release(self.claim, kind))

    def _take(self) -> SqlPlan[Claim]:
        scope = self.core.scope(self.tenant)
        return take(scope, self.tenant, self.thread_id, self.owner, self.ttl_s, self.after)

    def _taken(self, claim: Claim) -> None:
        self.claim = claim
        context.take(claim)
        emit(ClaimTaken(thread_id=self.thread_id, owner=self.owner, epoch=claim.epoch))

    def _keep(self) -> None:
        assert self.claim is not None
        while not self._stop.wait(max(_SOON_S, self.ttl_s / _RENEWALS)):
            with suppress(StoreUnavailable):
                if not self.core.db.run(renew(self.claim, self.ttl_s)):
                    self._gone()
                    return

    async def _akeep(self) -> None:
        assert self.claim is not None
        while True:
            await asyncio.sleep(max(_SOON_S, self.ttl_s / _RENEWALS))
            with suppress(StoreUnavailable):
                if not await self.core.db.arun(renew(self.claim, self.ttl_s)):
                    self._gone()
                    return

    def _gone(self) -> None:
        self.lost = True
        emit(ClaimWasLost(thread_id=self.thread_id, owner=self.owner))
