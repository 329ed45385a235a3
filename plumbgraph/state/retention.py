"""How long what is kept: rules, what they keep of a thread, and the plans that apply them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.errors import HistoryNeeded, SettingsError
from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state.codec import load_item
from plumbgraph.state.core import Core
from plumbgraph.state.frames import loads, place, unwrap
from plumbgraph.state.reading import ancestors
from plumbgraph.state.statements import array
from plumbgraph.state.status import free_leases
from plumbgraph.state.upkeep import CLEAR, COLLECT, LOCK

_ATTEMPTS = 5
_UUID6 = 6
_EPOCH_100NS = 0x01B21DD213814000


@dataclass(frozen=True, slots=True)
class Retention:
    """What to keep of a thread; what no rule names is kept.

    Attributes:
        keep_last: The newest checkpoints of each namespace, at least one.
        max_age_s: Checkpoints younger than this. With `keep_last` too, either is enough to stay.
        keep_interrupts: Checkpoints at which the run asked a human stay as well.
        ttl_s: A whole thread goes when it was not touched for so long, never a part of it.
    """

    keep_last: int | None = None
    max_age_s: float | None = None
    keep_interrupts: bool = True
    ttl_s: float | None = None

    def __post_init__(self) -> None:
        if self.keep_last is not None and self.keep_last < 1:
            raise SettingsError(
                f"keep_last={self.keep_last} would lose the thread's state.",
                hint="Keep at least one checkpoint, or delete the thread.",
            )
        for name in ("max_age_s", "ttl_s"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise SettingsError(f"{name}={value} is no age.", hint="Use seconds.")

    @property
    def thins(self) -> bool:
        """Whether single checkpoints may go."""
        return self.keep_last is not None or self.max_age_s is not None

    def dump(self) -> str:
        """The stored form."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Retention:
        """The rules of a stored form."""
        return cls(**json.loads(text))


LATEST = Retention(keep_last=1, keep_interrupts=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One checkpoint, as far as retention is concerned."""

    stream: int
    ns: str
    id: bytes
    head: bool
    asks: bool
    open_deltas: frozenset[str]


def to_keep(rows: Sequence[Row], rules: Retention, now: float) -> set[tuple[int, bytes]]:
    """The checkpoints that stay by themselves; ancestors they need come on top."""
    by_stream: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_stream[row.stream].append(row)
    kept: set[tuple[int, bytes]] = set()
    for found in by_stream.values():
        newest = sorted(found, key=lambda row: row.id, reverse=True)
        for rank, row in enumerate(newest):
            age = age_s(row.id, now)
            last = rules.keep_last is not None and rank < rules.keep_last
            young = rules.max_age_s is not None and (age is None or age <= rules.max_age_s)
            asks = rules.keep_interrupts and row.asks
            if row.head or last or young or asks or not rules.thins:
                kept.add((row.stream, row.id))
    return kept


def age_s(checkpoint_id: bytes, now: float) -> float | None:
    """How old a checkpoint is by its id, or None where the id tells no time."""
    if len(checkpoint_id) != 16 or checkpoint_id[6] >> 4 != _UUID6:  # noqa: PLR2004 - a UUID
        return None
    number = int.from_bytes(checkpoint_id[:8], "big")
    ticks = (number >> 16 << 12) | (number & 0x0FFF)
    return now - (ticks - _EPOCH_100NS) / 1e7


@dataclass(frozen=True, slots=True)
class Swept:
    """What `sweep` did, or would do.

    Attributes:
        leases_freed: Threads with nothing left to do whose owner ended without giving them free.
    """

    threads_removed: tuple[str, ...] = ()
    checkpoints_removed: int = 0
    threads_thinned: tuple[str, ...] = ()
    leases_freed: tuple[str, ...] = ()


_ROWS = """
SELECT s.id, s.ns, c.id, c.id = s.head, c.body, t.secret, EXISTS (
    SELECT FROM {schema}.write w
    WHERE w.stream = c.stream AND w.checkpoint = c.id AND w.slot = -3)
FROM {schema}.thread t JOIN {schema}.stream s ON s.thread = t.id
JOIN {schema}.checkpoint c ON c.stream = s.id
WHERE t.tenant = %(tenant)s AND t.thread_id = %(thread)s AND t.deleted_at IS NULL"""

_DROP = """
WITH s AS (
    SELECT s.id FROM {schema}.thread t JOIN {schema}.stream s ON s.thread = t.id
    WHERE t.tenant = %(tenant)s AND t.thread_id = ANY(%(threads)s::text[]) AND NOT EXISTS (
        SELECT FROM {schema}.stream o
        LEFT JOIN unnest(%(streams)s::bigint[], %(heads)s::bytea[]) AS seen(id, head)
            ON seen.id = o.id AND seen.head = o.head
        WHERE o.thread = t.id AND o.head IS NOT NULL AND seen.id IS NULL)
), k AS MATERIALIZED (
    SELECT * FROM unnest(%(kept_streams)s::bigint[], %(kept)s::bytea[]) AS k(stream, id)
), c AS (
    DELETE FROM {schema}.checkpoint c USING s WHERE c.stream = s.id AND NOT EXISTS (
        SELECT FROM k WHERE k.stream = c.stream AND k.id = c.id)
    RETURNING 1
), w AS (
    DELETE FROM {schema}.write w USING s WHERE w.stream = s.id AND NOT EXISTS (
        SELECT FROM k WHERE k.stream = w.stream AND k.id = w.checkpoint)
)
SELECT (SELECT count(*) FROM s), (SELECT count(*) FROM c)"""

_OF_RUNS = """
SELECT s.id, c.id FROM {schema}.thread t JOIN {schema}.stream s ON s.thread = t.id
JOIN {schema}.checkpoint c ON c.stream = s.id
WHERE t.tenant = %(tenant)s AND t.thread_id = %(thread)s AND c.tags && %(runs)s::bigint[]"""

_POLICY = """
UPDATE {schema}.thread SET policy = %(policy)s
WHERE tenant = %(tenant)s AND thread_id = %(thread)s AND deleted_at IS NULL RETURNING 1"""

_DUE = """
SELECT t.thread_id, t.policy, extract(epoch FROM clock_timestamp() - m.touched_at)::float8,
    extract(epoch FROM clock_timestamp())::float8
FROM {schema}.thread t
JOIN LATERAL (
    SELECT max(s.touched_at) AS touched_at FROM {schema}.stream s WHERE s.thread = t.id
) m ON m.touched_at IS NOT NULL
WHERE t.tenant = %(tenant)s AND t.deleted_at IS NULL AND t.thread_id > %(after)s
    AND (t.policy IS NOT NULL OR %(default)s::boolean)
    AND coalesce(t.lease_until <= clock_timestamp(), true)
ORDER BY t.thread_id LIMIT %(most)s::int FOR UPDATE OF t SKIP LOCKED"""

_IDLE = """
UPDATE {schema}.stream SET head = NULL WHERE thread IN (
    SELECT t.id FROM {schema}.thread t
    WHERE t.tenant = %(tenant)s AND t.thread_id = ANY(%(threads)s::text[])
        AND coalesce(t.lease_until <= clock_timestamp(), true)
        AND NOT EXISTS (SELECT FROM {schema}.stream s WHERE s.thread = t.id
            AND s.touched_at > clock_timestamp() - make_interval(secs => %(ttl)s::float8)))
RETURNING 1"""

_CLEAR_IDLE = CLEAR.replace(
    "thread_id = ANY(%(threads)s::text[])",
    """thread_id = ANY(%(threads)s::text[]) AND EXISTS (
        SELECT FROM {schema}.stream s WHERE s.thread = thread.id) AND NOT EXISTS (
        SELECT FROM {schema}.stream s WHERE s.thread = thread.id AND s.head IS NOT NULL)""",
)


def set_policy(tenant: str, thread: str, rules: Retention | None) -> SqlPlan[bool]:
    """Give one thread rules of its own, or take them away."""
    policy = None if rules is None else rules.dump()
    params = {"tenant": tenant, "thread": thread, "policy": policy}
    return bool((yield (Statement(_POLICY, params),))[0])


def thin(
    core: Core,
    tenant: str,
    thread: str,
    rules: Retention,
    serde: SerializerProtocol,
    *,
    now: float,
    dry_run: bool = False,
) -> SqlPlan[int]:
    """Remove the checkpoints of a thread that no rule keeps; returns how many.

    A DeltaChannel's value is spread over the ancestors back to its last whole value, so these
    stay with what they are needed for. A thread that is written to meanwhile is looked at again.
    """
    for _ in range(_ATTEMPTS):
        found = (yield (Statement(_ROWS, {"tenant": tenant, "thread": thread}),))[0]
        rows = [
            Row(number, ns, key, bool(head), asks, open_deltas(content, serde))
            for number, ns, key, head, content, asks in _opened(core, tenant, thread, found)
        ]
        kept = to_keep(rows, rules, now)
        kept |= yield from _needed(core, tenant, thread, rows, kept)
        if dry_run or len(kept) == len(rows):
            return len(rows) - len(kept)
        streams, gone = (yield _drop(tenant, thread, rows, kept))[1][0]
        if streams:
            return int(gone)
    return 0


def refuse_needed(
    core: Core, tenant: str, thread: str, runs: str, serde: SerializerProtocol
) -> SqlPlan[None]:
    """Do nothing, unless what is left of a thread is rebuilt from checkpoints of these runs.

    Raises:
        HistoryNeeded: It is.
    """
    who = {"tenant": tenant, "thread": thread}
    ours = {row[:2] for row in (yield (Statement(_OF_RUNS, {**who, "runs": runs}),))[0]}
    found = (yield (Statement(_ROWS, who),))[0]
    rows = [
        Row(number, ns, key, bool(head), asks, open_deltas(content, serde))
        for number, ns, key, head, content, asks in _opened(core, tenant, thread, found)
    ]
    kept = {(row.stream, row.id) for row in rows} - ours
    if ours & (yield from _needed(core, tenant, thread, rows, kept)):
        raise HistoryNeeded(
            f"Later checkpoints of thread {thread!r} are rebuilt from what these runs wrote.",
            thread_id=thread,
        )


def _needed(
    core: Core, tenant: str, thread: str, rows: Sequence[Row], kept: set[tuple[int, bytes]]
) -> SqlPlan[set[tuple[int, bytes]]]:
    needed: set[tuple[int, bytes]] = set()
    for row in sorted(rows, key=lambda row: row.id, reverse=True):
        key = (row.stream, row.id)
        if key in kept and key not in needed and row.open_deltas:
            deltas = set(row.open_deltas)
            needed |= set((yield from ancestors(core, (tenant, thread, row.ns), row.id, deltas)))
    return needed


def _drop(
    tenant: str, thread: str, rows: Iterable[Row], kept: set[tuple[int, bytes]]
) -> tuple[Statement, ...]:
    heads = [row for row in rows if row.head]
    ordered = sorted(kept)
    params = {
        "tenant": tenant,
        "threads": [thread],
        "streams": array([row.stream for row in heads]),
        "heads": [row.id for row in heads],
        "kept_streams": array([number for number, _ in ordered]),
        "kept": [key for _, key in ordered],
    }
    return Statement(LOCK, params), Statement(_DROP, params), Statement(COLLECT, params)


def _opened(
    core: Core, tenant: str, thread: str, rows: Iterable[Sequence[Any]]
) -> Iterator[tuple[Any, ...]]:
    for number, ns, key, head, body, secret, asks in rows:
        cipher = core.cipher(tenant, thread, secret)
        yield number, ns, key, head, unwrap(body, cipher, place("checkpoint", ns, key)), asks


def open_deltas(content: bytes, serde: SerializerProtocol) -> frozenset[str]:
    """The DeltaChannels of a checkpoint whose value lies in its ancestors' writes."""
    _, metadata, refs = loads(content)
    found = load_item(serde, tuple(metadata) if isinstance(metadata, list) else metadata)
    counters = found.get("counters_since_delta_snapshot") or {}
    return frozenset(name for name in counters if name not in refs)


def sweep(
    core: Core,
    tenant: str,
    default: Retention | None,
    serde: SerializerProtocol,
    *,
    most: int,
    dry_run: bool,
) -> SqlPlan[Swept]:
    """Apply each thread's rules, else the default ones; claimed threads are left alone."""
    removed, thinned, checkpoints, after = [], [], 0, ""
    while True:
        params = {"tenant": tenant, "after": after, "most": str(most), "default": bool(default)}
        due = (yield (Statement(_DUE, params),))[0]
        for thread, policy, idle_s, now in due:
            rules = Retention.load(policy) if policy is not None else default
            assert rules is not None
            if rules.ttl_s is not None and idle_s > rules.ttl_s:
                gone = dry_run or (yield from _expire(tenant, thread, rules.ttl_s))
                removed += [thread] if gone else []
            elif rules.thins:
                count = yield from thin(
                    core, tenant, thread, rules, serde, now=now, dry_run=dry_run
                )
                checkpoints += count
                thinned += [thread] if count else []
        if len(due) < most:
            freed = () if dry_run else (yield from free_leases(core, tenant, serde))
            return Swept(tuple(removed), checkpoints, tuple(thinned), freed)
        after = due[-1][0]


def _expire(tenant: str, thread: str, ttl_s: float) -> SqlPlan[bool]:
    params = {"tenant": tenant, "threads": [thread], "ttl": str(ttl_s)}
    batch = (Statement(LOCK, params), Statement(_IDLE, params), Statement(_CLEAR_IDLE, params))
    return bool((yield batch)[1])
