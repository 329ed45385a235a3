"""The blob store on PostgreSQL, as plans: what is asked in which round trip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from plumbgraph.content.codec import decode, encode
from plumbgraph.content.collect import (
    TOUCH_EVERY_S,
    Collected,
    Marking,
    Tracer,
    checked_grace,
)
from plumbgraph.content.digest import verify
from plumbgraph.content.seal import Seal
from plumbgraph.content.store import Ref
from plumbgraph.errors import BlobMissing
from plumbgraph.postgres.statement import SqlPlan, Statement

BATCH_BYTES = 8 << 20
BATCH_BLOBS = 512
_ASK = 5000

_PUT = f"""
INSERT INTO {{schema}}.blobs (tenant, space, digest, codec, size, body)
SELECT %s, %s, b.* FROM unnest(%s::bytea[], %s::smallint[], %s::bigint[], %s::bytea[]) AS b
ON CONFLICT (tenant, space, digest) DO UPDATE SET touched_at = now()
WHERE blobs.touched_at < now() - interval '{TOUCH_EVERY_S:g} seconds'"""

_REFER = """
INSERT INTO {schema}.blob_refs (tenant, space, owner, digest)
SELECT %s, %s, r.* FROM unnest(%s::text[], %s::bytea[]) AS r
ON CONFLICT (tenant, space, owner, digest) DO UPDATE SET touched_at = clock_timestamp()"""

_GET = """
SELECT digest, codec, size, body FROM {schema}.blobs
WHERE tenant = %s AND space = %s AND digest = ANY(%s::bytea[])"""

_PRESENT = """
SELECT digest FROM {schema}.blobs
WHERE tenant = %s AND space = %s AND digest = ANY(%s::bytea[])"""

_TOUCH = f"""
UPDATE {{schema}}.blobs SET touched_at = now()
WHERE tenant = %s AND space = %s AND digest = ANY(%s::bytea[])
AND touched_at < now() - interval '{TOUCH_EVERY_S:g} seconds'"""

_DELETE = """
DELETE FROM {schema}.blobs
WHERE tenant = %s AND space = %s AND digest = ANY(%s::bytea[])
RETURNING 1"""

_REFS = """
SELECT owner, digest, extract(epoch FROM touched_at)::float8 FROM {schema}.blob_refs
WHERE tenant = %s AND space = %s AND (%s::text IS NULL OR owner = %s)
ORDER BY touched_at DESC, digest LIMIT %s"""

_ROOTS = """
SELECT DISTINCT digest FROM {schema}.blob_refs WHERE tenant = %s AND space = %s"""

_DROP = """
DELETE FROM {schema}.blob_refs r
USING unnest(%s::text[], %s::bytea[]) AS gone(owner, digest)
WHERE r.tenant = %s AND r.space = %s AND r.owner = gone.owner AND r.digest = gone.digest
RETURNING 1"""

_IDLE = """
SELECT digest FROM {schema}.blobs
WHERE tenant = %s AND space = %s AND digest > %s AND touched_at <= now() - make_interval(secs => %s)
ORDER BY digest LIMIT 5000"""

# The age is looked at again under the row's lock: a writer that touched it meanwhile keeps it.
_SWEEP = """
DELETE FROM {schema}.blobs
WHERE tenant = %s AND space = %s AND digest = ANY(%s::bytea[])
AND touched_at <= now() - make_interval(secs => %s)
RETURNING octet_length(body)::bigint"""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a store's rows lie: one tenant, one space, and how bodies are sealed."""

    tenant: str
    space: str
    seal: Seal | None = None

    def name(self, digest: str) -> bytes:
        """The key under which a digest is filed."""
        return self.seal.name(digest) if self.seal else bytes.fromhex(digest)


def put_many(shelf: Shelf, blobs: Mapping[str, bytes], refs: Iterable[Ref]) -> SqlPlan[None]:
    """Store blobs in transactions of bounded size, the references in the last."""
    yield from put_packed((_put(shelf, group) for group in _groups(blobs)), shelf, refs)


def packed(shelf: Shelf, blobs: Mapping[str, bytes]) -> list[Statement]:
    """The statements that store blobs: all the compressing and sealing, to be done in a thread."""
    return [_put(shelf, group) for group in _groups(blobs)]


def put_packed(statements: Iterable[Statement], shelf: Shelf, refs: Iterable[Ref]) -> SqlPlan[None]:
    """Send what `packed` made, the references with the last."""
    refer = _refer(shelf, list(refs))
    waiting: tuple[Statement, ...] = ()
    for statement in statements:
        if waiting:
            yield waiting
        waiting = (statement,)
    if waiting or refer:
        yield (*waiting, *refer)


def _put(shelf: Shelf, group: Sequence[tuple[str, bytes]]) -> Statement:
    # One order for all writers, so that two of them cannot wait for each other.
    rows = sorted(
        (shelf.name(digest), *encode(digest, data, shelf.seal), len(data)) for digest, data in group
    )
    names, codecs, bodies, sizes = (list(column) for column in zip(*rows, strict=True))
    return Statement(_PUT, (shelf.tenant, shelf.space, names, codecs, sizes, bodies))


def _refer(shelf: Shelf, refs: list[Ref]) -> tuple[Statement, ...]:
    if not refs:
        return ()
    # References name roots in clear: they tell which snapshots exist, not what is in them.
    held = sorted({(ref.owner, bytes.fromhex(ref.digest)) for ref in refs})
    owners, digests = [owner for owner, _ in held], [digest for _, digest in held]
    return (Statement(_REFER, (shelf.tenant, shelf.space, owners, digests)),)


def _groups(blobs: Mapping[str, bytes]) -> Iterator[list[tuple[str, bytes]]]:
    group: list[tuple[str, bytes]] = []
    size = 0
    for digest, data in blobs.items():
        if group and (size + len(data) > BATCH_BYTES or len(group) >= BATCH_BLOBS):
            yield group
            group, size = [], 0
        group.append((digest, data))
        size += len(data)
    if group:
        yield group


def get_many(shelf: Shelf, digests: Iterable[str]) -> SqlPlan[dict[str, bytes]]:
    """Fetch and verify; raises `BlobMissing` and `BlobCorrupt`."""
    wanted = list(dict.fromkeys(digests))
    found: dict[str, bytes] = {}
    for start in range(0, len(wanted), BATCH_BLOBS):
        names = {shelf.name(digest): digest for digest in wanted[start : start + BATCH_BLOBS]}
        replies = yield (Statement(_GET, (shelf.tenant, shelf.space, list(names))),)
        for name, codec, size, body in replies[0]:
            digest = names[bytes(name)]
            found[digest] = verify(digest, decode(digest, codec, size, bytes(body), shelf.seal))
    absent = [digest for digest in wanted if digest not in found]
    if absent:
        raise BlobMissing(
            f"{len(absent)} of {len(wanted)} blobs are not stored, first {absent[0][:16]!r}….",
            digests=absent,
        )
    return found


def missing(shelf: Shelf, digests: Iterable[str]) -> SqlPlan[set[str]]:
    """Ask which are absent, touching those that are present in the same round trip."""
    wanted = sorted(set(digests))
    absent = set(wanted)
    for start in range(0, len(wanted), _ASK):
        names = {shelf.name(digest): digest for digest in wanted[start : start + _ASK]}
        arguments = (shelf.tenant, shelf.space, sorted(names))
        replies = yield (Statement(_TOUCH, arguments), Statement(_PRESENT, arguments))
        absent.difference_update(names[bytes(row[0])] for row in replies[1])
    return absent


def delete_many(shelf: Shelf, digests: Iterable[str]) -> SqlPlan[int]:
    """Remove rows at once."""
    names = sorted({shelf.name(digest) for digest in digests})
    replies = yield (Statement(_DELETE, (shelf.tenant, shelf.space, names)),)
    return len(replies[0])


def refs(shelf: Shelf, owner: str | None, limit: int) -> SqlPlan[list[Ref]]:
    """References, newest first."""
    arguments = (shelf.tenant, shelf.space, owner, owner, limit)
    replies = yield (Statement(_REFS, arguments),)
    return [Ref(who, bytes(digest).hex(), at) for who, digest, at in replies[0]]


def drop_refs(shelf: Shelf, gone: Iterable[Ref]) -> SqlPlan[int]:
    """Forget references."""
    pairs = sorted({(ref.owner, bytes.fromhex(ref.digest)) for ref in gone})
    owners, digests = [owner for owner, _ in pairs], [digest for _, digest in pairs]
    replies = yield (Statement(_DROP, (owners, digests, shelf.tenant, shelf.space)),)
    return len(replies[0])


def collect(shelf: Shelf, tracer: Tracer, grace_s: float) -> SqlPlan[Collected]:
    """Mark from the references, then sweep what rested for `grace_s`."""
    grace_s = checked_grace(grace_s)
    # Candidates come first: what is put after this line is none, whatever refers to it.
    idle = yield from _idle(shelf, grace_s)
    replies = yield (Statement(_ROOTS, (shelf.tenant, shelf.space)),)
    marking = Marking(tracer, (bytes(row[0]).hex() for row in replies[0]))
    for batch in marking.wanted():
        for digest, data in (yield from get_many(shelf, batch)).items():
            marking.learn(digest, data)
    reached = {shelf.name(digest) for digest in marking.reached}
    dead = [name for name in idle if name not in reached]
    freed: list[int] = []
    for start in range(0, len(dead), _ASK):
        part = dead[start : start + _ASK]
        swept = yield (Statement(_SWEEP, (shelf.tenant, shelf.space, part, grace_s)),)
        freed += [row[0] for row in swept[0]]
    return Collected(kept=len(reached), deleted=len(freed), freed_bytes=sum(freed))


def _idle(shelf: Shelf, grace_s: float) -> SqlPlan[list[bytes]]:
    names: list[bytes] = []
    after = b""
    while True:
        replies = yield (Statement(_IDLE, (shelf.tenant, shelf.space, after, grace_s)),)
        names += [bytes(row[0]) for row in replies[0]]
        if len(replies[0]) < _ASK:
            return names
        after = names[-1]
