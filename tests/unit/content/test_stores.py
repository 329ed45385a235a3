"""What a blob store promises, asked of every store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psycopg
import pytest

from plumbgraph.clock import SYSTEM, HandClock
from plumbgraph.content import (
    AesSeal,
    BlobStore,
    FolderBlobs,
    PostgresBlobs,
    Ref,
    digest_of,
)
from plumbgraph.content.collect import Flat
from plumbgraph.errors import BlobCorrupt, BlobMissing, SettingsError
from plumbgraph.postgres.pool import Database

SEAL = AesSeal({"k1": b"1" * 32}, current="k1")
Age = Callable[[float], None]


@pytest.fixture
def database(postgres_url: str, schema: str) -> Iterator[Database]:
    with Database(postgres_url, schema=schema) as database:
        yield database


@pytest.fixture(params=["postgres", "folder", "postgres-sealed", "folder-sealed"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    seal = SEAL if request.param.endswith("sealed") else None
    if request.param.startswith("postgres"):
        return PostgresBlobs(request.getfixturevalue("database"), seal=seal)
    return FolderBlobs(tmp_path, seal=seal)


def named(*contents: bytes) -> dict[str, bytes]:
    return {digest_of(content): content for content in contents}


def test_what_was_put_comes_back(blobs: BlobStore) -> None:
    contents = named(b"", b"a", b"text " * 1000, os.urandom(5000), bytes(3_000_000))
    blobs.put_many(contents)
    assert blobs.get_many(contents) == contents


async def test_both_colours_see_the_same(blobs: BlobStore) -> None:
    contents = named(b"async", b"too" * 100)
    await blobs.aput_many(contents, refs=[Ref("t", digest_of(b"async"))])
    assert await blobs.aget_many(contents) == contents
    assert await blobs.amissing([*contents, digest_of(b"no")]) == {digest_of(b"no")}
    assert [ref.owner for ref in await blobs.arefs()] == ["t"]
    assert await blobs.adrop_refs(await blobs.arefs("t")) == 1
    assert (await blobs.acollect(Flat(), grace_s=0)).deleted == 2
    assert await blobs.adelete_many(contents) == 0


def test_putting_twice_changes_nothing(blobs: BlobStore) -> None:
    contents = named(b"once")
    blobs.put_many(contents)
    blobs.put_many(contents)
    assert blobs.delete_many(contents) == 1


def test_nothing_put_and_nothing_asked_is_fine(blobs: BlobStore) -> None:
    blobs.put_many({})
    assert blobs.get_many([]) == {}
    assert blobs.missing([]) == set()
    assert blobs.refs() == []


def test_many_blobs_travel_in_several_batches(blobs: BlobStore) -> None:
    contents = named(*(str(n).encode() * 20 for n in range(600)))
    blobs.put_many(contents)
    assert blobs.get_many(contents) == contents
    assert blobs.missing(contents) == set()


def test_absent_content_is_named(blobs: BlobStore) -> None:
    absent = digest_of(b"never put")
    with pytest.raises(BlobMissing) as caught:
        blobs.get_many([absent])
    assert caught.value.digests == [absent]


def test_references_come_newest_first(blobs: BlobStore) -> None:
    first, second = (digest_of(b"1"), digest_of(b"2"))
    blobs.put_many(named(b"1"), refs=[Ref("thread", first)])
    blobs.put_many(named(b"2"), refs=[Ref("thread", second), Ref("other", second)])
    assert [ref.digest for ref in blobs.refs("thread")] == [second, first]
    assert len(blobs.refs()) == 3
    assert len(blobs.refs(limit=1)) == 1


class Pairs:
    """A tracer for blobs that hold two digests, as the test's roots do."""

    def __init__(self) -> None:
        self.roots: set[str] = set()

    def starts(self, root: str) -> Iterable[str]:
        self.roots.add(root)
        return (root,)

    def holds(self, digest: str) -> bool:
        return digest in self.roots

    def children(self, digest: str, data: bytes) -> Iterable[str]:
        return (data[:64].decode(), data[64:].decode())


def test_collect_keeps_what_is_reached_and_removes_the_rest(blobs: BlobStore) -> None:
    left, right = b"left", b"right"
    root = (digest_of(left) + digest_of(right)).encode()
    blobs.put_many(named(left, right, root, b"orphan"), refs=[Ref("t", digest_of(root))])
    done = blobs.collect(Pairs(), grace_s=0)
    assert (done.kept, done.deleted) == (3, 1)
    assert done.freed_bytes > 0
    assert blobs.missing(named(left, right, root, b"orphan")) == {digest_of(b"orphan")}


def test_collect_waits_for_the_grace(blobs: BlobStore) -> None:
    blobs.put_many(named(b"orphan"))
    assert blobs.collect(Flat(), grace_s=120).deleted == 0
    with pytest.raises(SettingsError, match="running agent"):
        blobs.collect(Flat(), grace_s=5)


def test_a_tenant_and_a_space_are_alone(database: Database, tmp_path: Path) -> None:
    for first, second in (
        (PostgresBlobs(database, tenant="a"), PostgresBlobs(database, tenant="b")),
        (PostgresBlobs(database, space="a"), PostgresBlobs(database, space="b")),
        (FolderBlobs(tmp_path, tenant="a"), FolderBlobs(tmp_path, tenant="b")),
    ):
        first.put_many(named(b"mine"))
        assert second.missing(named(b"mine")) == set(named(b"mine"))
        second.collect(Flat(), grace_s=0)
        assert first.get_many(named(b"mine")) == named(b"mine")


def test_use_postpones_collection(tmp_path: Path) -> None:
    clock = HandClock(SYSTEM.now())
    blobs = FolderBlobs(tmp_path, clock=clock)
    blobs.put_many(named(b"used", b"unused"))
    clock.advance(1000)
    assert blobs.missing(named(b"used")) == set()
    assert blobs.collect(Flat(), grace_s=900).deleted == 1
    assert blobs.missing(named(b"used")) == set()


def test_use_postpones_collection_in_postgres(
    database: Database, postgres_url: str, schema: str
) -> None:
    blobs = PostgresBlobs(database)
    blobs.put_many(named(b"asked", b"put again", b"unused"))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"UPDATE \"{schema}\".blobs SET touched_at = now() - interval '1 hour'")  # type: ignore[arg-type,unused-ignore]
    assert blobs.missing(named(b"asked")) == set()
    blobs.put_many(named(b"put again"))
    assert blobs.collect(Flat(), grace_s=900).deleted == 1
    assert blobs.missing(named(b"asked", b"put again")) == set()


def spoil(database: Database, sql: str) -> None:
    from plumbgraph.postgres.statement import Statement

    database.send((Statement(sql),))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {schema}.blobs SET body = set_byte(body, 10, 255 - get_byte(body, 10))",
        "UPDATE {schema}.blobs SET body = 'short'",
        "UPDATE {schema}.blobs SET size = size + 1",
        "UPDATE {schema}.blobs SET size = 1::bigint << 50",
        "UPDATE {schema}.blobs SET codec = 57",
        "UPDATE {schema}.blobs SET codec = 2",
        "UPDATE {schema}.blobs SET codec = 0, size = 7, body = 'foreign'",
    ],
)
@pytest.mark.parametrize("seal", [None, SEAL])
def test_tampered_rows_are_refused(database: Database, sql: str, seal: AesSeal | None) -> None:
    blobs = PostgresBlobs(database, seal=seal)
    contents = named(b"compressible " * 100)
    blobs.put_many(contents)
    spoil(database, sql)
    with pytest.raises(BlobCorrupt):
        blobs.get_many(contents)


def test_a_bomb_does_not_go_off(database: Database) -> None:
    import zstandard

    blobs = PostgresBlobs(database)
    contents = named(b"small text " * 20)
    blobs.put_many(contents)
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    spoil(database, f"UPDATE {{schema}}.blobs SET body = '\\x{bomb.hex()}'")
    with pytest.raises(BlobCorrupt, match="claims another size"):
        blobs.get_many(contents)


def test_a_sealed_store_tells_nothing(database: Database, tmp_path: Path) -> None:
    secret = b"the launch code is 0000"
    PostgresBlobs(database, seal=SEAL).put_many(named(secret))
    FolderBlobs(tmp_path, seal=SEAL).put_many(named(secret))
    from plumbgraph.postgres.statement import Statement

    ((name, body),) = database.send((Statement("SELECT digest, body FROM {schema}.blobs"),))[0]
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert bytes(name).hex() != digest_of(secret)
    assert secret not in bytes(body) + path.read_bytes()
    assert digest_of(secret)[2:] not in path.name


def test_keys_can_be_rotated(database: Database) -> None:
    contents = named(b"old")
    PostgresBlobs(database, seal=SEAL).put_many(contents)
    both = AesSeal({"k1": b"1" * 32, "k2": b"2" * 32}, current="k2")
    assert PostgresBlobs(database, seal=both).get_many(contents) == contents
    other = AesSeal({"k9": b"1" * 32}, current="k9")
    with pytest.raises(BlobCorrupt, match="unknown key 'k1'"):
        PostgresBlobs(database, seal=other).get_many(contents)
    with pytest.raises(SettingsError):
        AesSeal({"k1": b"short"}, current="k1")
    with pytest.raises(SettingsError):
        AesSeal({"k1": b"1" * 32}, current="k2")
    assert "11" not in repr(SEAL)


@pytest.mark.parametrize("name", ["", "..", ".x", "a/b", "a\0b"])
def test_a_tenant_cannot_climb_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError):
        FolderBlobs(tmp_path, tenant=name)


def test_a_digest_cannot_climb_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(BlobMissing, match="not a digest"):
        FolderBlobs(tmp_path).get_many(["../../../../etc/passwd"])


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    contents = named(b"whole")
    blobs.put_many(contents)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[:4])
    with pytest.raises(BlobCorrupt, match="cut short"):
        blobs.get_many(contents)


def test_a_plan_puts_references_last(schema: str) -> None:
    from plumbgraph.content import plans

    big = {digest_of(bytes([n])): os.urandom(5 << 20) for n in range(3)}
    plan = plans.put_many(plans.Shelf("t", "s"), big, [Ref("o", digest_of(b"r"))])
    batches = [next(plan)]
    while True:
        try:
            batches.append(plan.send([[] for _ in batches[-1]]))
        except StopIteration:
            break
    assert [len(batch) for batch in batches] == [1, 1, 2]
    assert "blob_refs" in batches[-1][-1].sql
