"""The page's procedure: back up living servers, restore into new ones, and go on there."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from plumbgraph import servers
from plumbgraph.servers.binaries import find_postgres, find_valkey
from plumbgraph.settings import Settings

PATIENCE_S = 20.0


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Any]:
    """A PostgreSQL and a Valkey of this test alone."""
    settings = Settings.load(postgres_url=None, redis_url=None)
    with servers.up(tmp_path / "source", tune="test", settings=settings) as endpoints:
        yield endpoints


def programs() -> Path:
    """Where `pg_dump` and `pg_restore` of the embedded server are."""
    folder = Path(find_postgres(None, data_major=None).path)
    if not (folder / "pg_dump").exists():
        pytest.skip("this PostgreSQL has no pg_dump")
    return folder


def ran(*command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def dumped(url: str, schema: str, file: Path) -> Path:
    ran(programs() / "pg_dump", "--format=custom", f"--schema={schema}", f"--file={file}", url)
    return file


def restored(url: str, dump: Path, name: str) -> str:
    """URL of a new database that holds the dump."""
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name}")
    new = url.replace("/plumbgraph", f"/{name}", 1)
    assert new != url
    ran(programs() / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={new}", dump)
    return new


def snapshot(url: str, file: Path) -> Path:
    """The RDB file of a living server, as `valkey-cli --rdb` and managed snapshots give it."""
    with redis.Redis.from_url(url) as client:
        before = client.lastsave()
        time.sleep(1.01)  # `lastsave` counts whole seconds
        client.bgsave()
        until(lambda: client.lastsave() != before)
        folder = Path(client.config_get("dir")["dir"])
        file.write_bytes((folder / client.config_get("dbfilename")["dbfilename"]).read_bytes())
    return file


def until(met: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if met():
                return
        except redis.RedisError:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


@contextmanager
def valkey(rdb: Path, folder: Path) -> Iterator[str]:
    """A new Valkey that begins with a snapshot and keeps an append-only file from then on."""
    folder.mkdir()
    (folder / "dump.rdb").write_bytes(rdb.read_bytes())
    socket = folder / "s"
    options = f"--port 0 --unixsocket {socket} --dir {folder} --appendonly no"
    program = find_valkey(None).path
    with subprocess.Popen([program, *options.split()], stdout=subprocess.DEVNULL) as process:
        try:
            with redis.Redis(unix_socket_path=str(socket)) as client:
                until(client.ping)
                client.config_set("appendonly", "yes")
            yield f"unix://{socket}?db=0"
        finally:
            process.kill()


def test_a_living_agent_is_backed_up_restored_and_answered_there(
    source: Any, tmp_path: Path, office: Callable[..., Any]
) -> None:
    old = office(source.postgres_url, source.redis_url, tmp_path / "old")
    old.publish(tmp_path / "old")
    assert old.begin("t")["__interrupt__"]
    old.move("Seattle")
    before = old.store.history(("users", "ann"), "ann|home_city")[0].at
    old.move("Portland")

    dump = dumped(source.postgres_url, "plumbgraph", tmp_path / "state.dump")
    rdb = snapshot(source.redis_url, tmp_path / "memory.rdb")
    database = restored(source.postgres_url, dump, "restored")

    with valkey(rdb, tmp_path / "new-valkey") as redis_url:
        new = office(database, redis_url, tmp_path / "new")
        assert new.saver.run_status("t").state == "interrupted"
        assert new.spent("t") == old.spent("t") > 0
        done = new.answer("t")
        assert done["messages"][-1].text == "all done"
        assert new.outside == ["goodbye"], "the effect of before the backup is not done again"
        assert (new.desk.folder / "a.txt").read_text() == "one"
        assert not done["skills"]["pdf"].get("gone")
        facts = new.store.facts(("users", "ann"), "Ann")
        assert [fact.value["value"] for fact in facts] == ["Portland"]
        past = new.store.facts(("users", "ann"), "Ann", as_of=before)
        assert [fact.value["value"] for fact in past] == ["Seattle"]
        new.close()


def test_a_newer_memory_than_state_disagrees_only_in_harmless_ways(
    source: Any, tmp_path: Path, office: Callable[..., Any]
) -> None:
    old = office(source.postgres_url, source.redis_url, tmp_path / "old")
    old.publish(tmp_path / "old")
    old.begin("t")
    dump = dumped(source.postgres_url, "plumbgraph", tmp_path / "state.dump")
    old.answer("t")
    paid = old.spent("t")
    rdb = snapshot(source.redis_url, tmp_path / "memory.rdb")
    database = restored(source.postgres_url, dump, "older")

    with valkey(rdb, tmp_path / "new-valkey") as redis_url:
        new = office(database, redis_url, tmp_path / "new")
        assert new.spent("t") == paid
        assert new.answer("t")["messages"][-1].text == "all done"
        assert new.spent("t") > paid, "calls made twice are paid, and booked, twice"
        assert new.outside == ["goodbye"], "what happened outside since the dump happens again"
        kept = new.store.search(("users", "ann"), limit=100)
        texts = [str(item.value) for item in kept]
        assert sum("Write about Portland" in text for text in texts) == 1
        new.close()


def test_a_server_with_an_append_only_file_ignores_the_snapshot(
    source: Any, tmp_path: Path
) -> None:
    """Why the page says to start without one: this is the trap it avoids."""
    with redis.Redis.from_url(source.redis_url) as client:
        client.set("kept", "1")
    rdb = snapshot(source.redis_url, tmp_path / "memory.rdb")
    with valkey(rdb, tmp_path / "right") as url, redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"1"
        until(lambda: client.info("persistence")["aof_enabled"] == 1)
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "dump.rdb").write_bytes(rdb.read_bytes())
    options = f"--port 0 --unixsocket {folder / 's'} --dir {folder} --appendonly yes"
    with subprocess.Popen(
        [find_valkey(None).path, *options.split()], stdout=subprocess.DEVNULL
    ) as process:
        with redis.Redis(unix_socket_path=str(folder / "s")) as client:
            until(client.ping)
            assert client.get("kept") is None
        process.kill()
