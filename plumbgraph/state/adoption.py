"""Taking over threads of LangGraph's PostgresSaver: when, how, and what happens beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, TypeAlias

from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.errors import SettingsError, ThreadBusy, TypeRefused
from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state import claims, context
from plumbgraph.state.cache import Recent
from plumbgraph.state.context import Claim, StreamKey
from plumbgraph.state.core import Core
from plumbgraph.state.events import ForeignWrite, ThreadAdopted
from plumbgraph.state.legacy import Legacy, to_tuple, writes_of
from plumbgraph.state.task_writes import WritesRequest, put_writes
from plumbgraph.state.upkeep import clear
from plumbgraph.state.writing import PutRequest, put
from plumbgraph.tracing import emit

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told each thread, its number, and how many there are."""

Mode: TypeAlias = Literal["off", "read", "move"]

_MOVING = "moving"
_LEASE_S = 60.0
_WAITS = 600

_LOOK = """
SELECT t.adopted, EXISTS (
    SELECT FROM {schema}.stream s WHERE s.thread = t.id AND s.head IS NOT NULL)
    OR t.deleted_at IS NOT NULL
FROM {schema}.thread t WHERE t.tenant = %(tenant)s AND t.thread_id = %(thread)s"""

_MARK = """
UPDATE {schema}.thread SET adopted = %(mark)s
WHERE tenant = %(tenant)s AND thread_id = %(thread)s"""

# At once, so that nobody finds a thread that is here and still claimed by its mover.
_ARRIVED = """
UPDATE {schema}.thread SET adopted = %(mark)s,
    owner = CASE WHEN %(keep)s::boolean THEN owner END,
    lease_until = CASE WHEN %(keep)s::boolean THEN lease_until END
WHERE tenant = %(tenant)s AND thread_id = %(thread)s AND epoch = %(epoch)s::bigint"""

_ADOPTED = """
SELECT thread_id, adopted FROM {schema}.thread
WHERE tenant = %(tenant)s AND adopted IS NOT NULL AND deleted_at IS NULL"""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A checkpoint that an old worker wrote after its thread was taken over."""

    thread_id: str
    checkpoint_id: str


@dataclass(frozen=True, slots=True)
class AdoptionReport:
    """What taking over did, or would do.

    Attributes:
        threads: The threads, each with its number of checkpoints.
        legacy_bytes: What their values take in the old tables.
        allow: The argument for `PlumbSaver(allow=…)` that the values need beside the safe types.
        foreign: Checkpoints that old workers wrote behind our back.
    """

    threads: dict[str, int] = field(default_factory=dict)
    legacy_bytes: int = 0
    allow: tuple[tuple[str, str], ...] = ()
    foreign: tuple[Foreign, ...] = ()


class Adoption:
    """Decides for each thread whether it lives here or still in the old tables."""

    def __init__(self, core: Core, schema: str, mode: Mode) -> None:
        if mode not in ("off", "read", "move"):
            raise SettingsError(
                f"adopt={mode!r} is not known.", hint='Use "off", "read" or "move".'
            )
        self.core, self.mode, self.legacy = core, mode, Legacy(schema)
        # The old tables know no tenants, so only a saver of one tenant takes them over.
        self._present: bool | None = (
            None if mode != "off" and isinstance(core.tenant, str) else False
        )
        self._ours: Recent[tuple[str, str], bool] = Recent(4096)

    def for_core(self, core: Core) -> Adoption:
        """The same for another core, as of one tenant."""
        return Adoption(core, self.legacy.schema, self.mode)

    def foreign_to_us(self, stream: StreamKey) -> SqlPlan[bool]:
        """Whether a thread lives in the old tables; usually answered without a round trip."""
        tenant, thread, _ = stream
        if self._present is None:
            self._present = yield from self.legacy.present()
        if not self._present or self._ours.get((tenant, thread)):
            return False
        newest = yield from self.legacy.newest(thread)
        rows = (yield (Statement(_LOOK, {"tenant": tenant, "thread": thread}),))[0]
        mark, ours = rows[0] if rows else (None, False)
        if newest is not None and (not ours or mark == _MOVING):
            return True
        if mark is not None and newest is not None and newest > mark:
            emit(ForeignWrite(thread_id=thread, checkpoint_id=newest))
        self._ours.put((tenant, thread), True)
        return False

    def ready(
        self, stream: StreamKey, claim: Claim | None, serde: SerializerProtocol
    ) -> SqlPlan[None]:
        """Before a write: take a thread over that still lives in the old tables.

        Raises:
            SettingsError: The saver only reads them.
            ThreadBusy: Another process is taking it over.
        """
        for attempt in range(_WAITS):
            if not (yield from self.foreign_to_us(stream)):
                return
            if self.mode == "read":
                raise SettingsError(
                    f"Thread {stream[1]!r} lives in PostgresSaver's tables, which are only read.",
                    hint='Pass adopt="move" to take threads over when they are written to.',
                )
            try:
                yield from self.move(stream[0], stream[1], claim, serde)
            except ThreadBusy:
                if attempt == _WAITS - 1:
                    raise
                # Another write of this run, or another process, is moving it just now.
                yield (Statement("SELECT pg_sleep(0.1)"),)

    def move(
        self, tenant: str, thread: str, claim: Claim | None, serde: SerializerProtocol
    ) -> SqlPlan[int]:
        """Take a thread over with its whole history; returns how many checkpoints it has.

        A mover that dies leaves a mark, and the next one begins again.
        """
        scope = self.core.scope(tenant)
        held = claim or (
            yield from claims.take(scope, tenant, thread, claims.default_owner(), _LEASE_S)
        )
        try:
            count = yield from self._move(tenant, thread, held, serde, keep=claim is not None)
        finally:
            if claim is None:
                yield from claims.release(held)
        emit(ThreadAdopted(thread_id=thread, checkpoints=count))
        self._ours.put((tenant, thread), True)
        return count

    def _move(
        self, tenant: str, thread: str, claim: Claim, serde: SerializerProtocol, *, keep: bool
    ) -> SqlPlan[int]:
        who = {"tenant": tenant, "thread": thread}
        yield (Statement(_MARK, {**who, "mark": _MOVING}),)
        yield from clear(tenant, [thread])
        self.core.forget(tenant, thread)
        newest, rows = "", (yield from self.legacy.ids(thread))
        for ns, checkpoint_id in rows:
            newest = max(newest, checkpoint_id)
            row = yield from self.legacy.row((tenant, thread, ns), checkpoint_id)
            if row is not None:
                yield from self._store((tenant, thread, ns), row, claim, serde)
                yield from claims.renew(claim, _LEASE_S)
        done = {**who, "mark": newest, "keep": keep, "epoch": str(claim.epoch)}
        yield (Statement(_ARRIVED, done),)
        return len(rows)

    def _store(
        self, stream: StreamKey, row: Any, claim: Claim, serde: SerializerProtocol
    ) -> SqlPlan[None]:
        found = to_tuple(row, serde)
        checkpoint_id, parent = found.checkpoint["id"], row[3]
        versions = found.checkpoint["channel_versions"]
        known = self.core.channels.get((stream, parent)) if parent else None
        old = {} if known is None else {name: version for name, (version, _) in known.refs.items()}
        new = {name: version for name, version in versions.items() if old.get(name) != version}
        # A branch's checkpoints interleave in time; each moves the head, the newest comes last.
        reading = context.Reading(parent or "", None, bytes.fromhex(_mint(checkpoint_id)))
        ask = PutRequest(
            stream, parent, found.checkpoint, found.metadata, new, serde, claim, reading
        )
        yield from put(self.core, ask)
        for (task, path), mine in groupby(writes_of(row, serde), lambda w: (w.task, w.path)):
            writes = [(each.channel, each.value) for each in mine]
            yield from put_writes(
                self.core, WritesRequest(stream, checkpoint_id, writes, task, path, serde, claim)
            )

    def take_over(
        self,
        tenant: str,
        serde: SerializerProtocol,
        *,
        dry_run: bool,
        progress: Progress | None = None,
    ) -> SqlPlan[AdoptionReport]:
        """Take all threads over that are not here yet, or only say what that would do."""
        if not (yield from self.legacy.present()):
            return AdoptionReport()
        threads, size, needed, foreign = {}, 0, set(), []
        found = (yield (Statement(_ADOPTED, {"tenant": tenant}),))[0]
        marks: dict[str, str] = {row[0]: row[1] for row in found}
        every = yield from self.legacy.threads()
        for at, (thread, count, newest, stored) in enumerate(every, 1):
            if progress is not None:
                progress(thread, at, len(every))
            mark = marks.get(thread)
            if mark is not None and mark != _MOVING and newest > mark:
                foreign.append(Foreign(thread, newest))
            if not (yield from self.foreign_to_us((tenant, thread, ""))):
                continue
            threads[thread], size = count, size + int(stored)
            if dry_run:
                needed |= yield from self._types(tenant, thread, serde)
            else:
                yield from self.move(tenant, thread, None, serde)
        return AdoptionReport(threads, size, tuple(sorted(needed)), tuple(foreign))

    def _types(
        self, tenant: str, thread: str, serde: SerializerProtocol
    ) -> SqlPlan[set[tuple[str, str]]]:
        needed: set[tuple[str, str]] = set()
        for ns, checkpoint_id in (yield from self.legacy.ids(thread)):
            row = yield from self.legacy.row((tenant, thread, ns), checkpoint_id)
            for kind, blob in _blobs(row):
                try:
                    serde.loads_typed((kind, blob))
                except TypeRefused as error:
                    module, _, name = error.facts.get("type", "").rpartition(".")
                    needed.add((module, name))
        return needed


def _blobs(row: Any) -> Iterator[tuple[str, bytes]]:
    for _, kind, blob in (row and row[6]) or ():
        if kind != b"empty":
            yield kind.decode(), blob
    for _, _, kind, blob, *_ in (row and row[7]) or ():
        yield kind.decode(), blob


def _mint(checkpoint_id: str) -> str:
    return checkpoint_id.encode().hex()[:16].ljust(16, "0")
