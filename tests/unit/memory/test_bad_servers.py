"""Servers that are full, read-only, busy, gone or differently equipped: typed errors only."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from plumbgraph.errors import AccessDenied, StoreUnavailable
from plumbgraph.memory import Fact, MemoryStore
from plumbgraph.servers.binaries import redis_candidates, site_folders
from plumbgraph.tracing import attach, detach

NS = ("users", "ana")


@contextmanager
def served(folder: Path, port: int, *options: str, program: str = "") -> Iterator[int]:
    """A server of this test's own, gone behind it."""
    found = program or str(next(iter(redis_candidates(site_folders())))[0])
    asked = ["--port", str(port), "--dir", str(folder), "--save", "", "--bind", "127.0.0.1"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([found, *asked, *options], stdout=log)
        try:
            while port and process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield process.pid
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def raw(tmp_path: Path, port: int) -> Iterator[Any]:
    with served(tmp_path, port), redis.Redis(port=port) as client:
        until_ready(client)
        yield client


def until_ready(client: Any) -> None:
    for _ in range(500):
        with contextlib.suppress(redis.RedisError):
            client.ping()
            return
        time.sleep(0.02)


def test_a_full_server_takes_nothing_and_says_so(raw: Any, port: int) -> None:
    with MemoryStore(f"redis://127.0.0.1:{port}") as store:
        assert store.put(NS, "k", {"n": 1}) == 1
        raw.config_set("maxmemory", "1mb")
        with pytest.raises(StoreUnavailable, match="memory") as caught:
            store.put(NS, "k", {"n": 2})
        assert caught.value.hint
        with pytest.raises(StoreUnavailable):
            store.remember(NS, Fact("Ana", "city", "Oslo"))
        held = store.get(NS, "k")
        assert held is not None
        assert (held.value, held.version) == ({"n": 1}, 1)
        assert store.facts(NS) == []
        raw.config_set("maxmemory", "0")
        assert store.put(NS, "k", {"n": 2}) == 2


def test_a_read_only_replica_is_read_and_refuses_writes(raw: Any, port: int) -> None:
    with MemoryStore(f"redis://127.0.0.1:{port}") as store:
        store.put(NS, "k", {"n": 1})
        raw.execute_command("REPLICAOF", "127.0.0.1", 1)
        assert store.get(NS, "k") is not None
        with pytest.raises(StoreUnavailable, match=r"READONLY|replica") as caught:
            store.put(NS, "k", {"n": 2})
        assert "role" in str(caught.value.hint)
        raw.execute_command("REPLICAOF", "NO", "ONE")
        assert store.put(NS, "k", {"n": 2}) == 2


def until_busy(raw: Any) -> None:
    for _ in range(1000):
        try:
            raw.ping()
        except redis.RedisError as error:
            assert "BUSY" in str(error)  # noqa: PT017 - what is waited for
            return
        time.sleep(0.02)
    raise AssertionError


def test_a_busy_server_is_unavailable_until_its_script_is_killed(raw: Any, port: int) -> None:
    raw.config_set("busy-reply-threshold", "50")

    def hog() -> None:
        with redis.Redis(port=port) as other, contextlib.suppress(redis.RedisError):
            other.eval("while true do end", 0)

    with MemoryStore(f"redis://127.0.0.1:{port}") as store:
        store.put(NS, "k", {"n": 1})
        thread = threading.Thread(target=hog)
        thread.start()
        until_busy(raw)
        with pytest.raises(StoreUnavailable, match=r"BUSY|busy"):
            store.put(NS, "k", {"n": 2})
        raw.script_kill()
        thread.join()
        assert store.put(NS, "k", {"n": 2}) == 2


def test_libraries_of_other_versions_stay_and_a_lost_one_comes_back(raw: Any, port: int) -> None:
    other = "#!lua name=plumb_memory_000000000000\nredis.register_function('old', function() end)"
    raw.function_load(other)
    with MemoryStore(f"redis://127.0.0.1:{port}") as store:
        assert store.put(NS, "k", {"n": 1}) == 1
        names = {entry[1].decode() for entry in listed(raw)}
        assert {"plumb_memory_000000000000", store.terms.library.name} <= names
        raw.function_flush()
        assert store.put(NS, "k", {"n": 2}) == 2
        assert store.recall(NS, "2").hits


def listed(raw: Any) -> list[list[Any]]:
    told = raw.function_list()
    return [[None, entry[b"library_name"]] if isinstance(entry, dict) else entry for entry in told]


def test_users_without_rights(raw: Any, port: int) -> None:
    raw.execute_command("ACL", "SETUSER", "nofn", "on", ">pw", "~*", "+@all", "-fcall", "-function")
    with MemoryStore(f"redis://nofn:pw@127.0.0.1:{port}") as store:
        assert store.put(NS, "k", {"n": 1}) == 1
    raw.execute_command("ACL", "SETUSER", "nobody", "on", ">pw", "~*", "+info", "+ping", "+client")
    with (
        MemoryStore(f"redis://nobody:pw@127.0.0.1:{port}") as store,
        pytest.raises((AccessDenied, StoreUnavailable)),
    ):
        store.get(NS, "k")


def test_a_server_that_goes_and_comes_back(tmp_path: Path, port: int) -> None:
    with MemoryStore(f"redis://127.0.0.1:{port}") as store:
        with served(tmp_path, port):
            until_ready(redis.Redis(port=port))
            store.put(NS, "k", {"n": 1})
        with pytest.raises(StoreUnavailable):
            store.put(NS, "k", {"n": 2})
        with served(tmp_path, port):
            until_ready(redis.Redis(port=port))
            assert store.put(NS, "again", {"n": 3}) == 1
            assert [item.key for item in store.search(NS)] == ["again"]


def test_a_server_whose_clock_jumps_keeps_the_order(redis_url: str, raw_redis: Any) -> None:
    client = raw_redis
    with MemoryStore(redis_url) as store:
        store.put(NS, "old", {"text": "a cat"})
        assert len(store.recall(NS, "cat")) == 1
        hour = 3_600_000_000
        future = time.time_ns() // 1000 + hour
        client.zadd(store.terms.shard(NS).live("users\x00ana"), {"old": future})
        store.put(NS, "new", {"text": "a cat too"})
        new = store.get(NS, "new")
        assert new is not None
        assert new.record.updated_us > future
        assert [item.key for item in store.search(NS)] == ["new", "old"]
        assert {hit.key for hit in store.recall(NS, "cat")} == {"old", "new"}
        with MemoryStore(redis_url) as other:
            other.put(NS, "newest", {"text": "a third cat"})
        assert "newest" in {hit.key for hit in store.recall(NS, "third cat")}


def test_a_server_that_may_evict_is_told_once(raw: Any, port: int) -> None:
    raw.config_set("maxmemory", "100mb")
    raw.config_set("maxmemory-policy", "allkeys-lru")
    sink = Kept()
    attach(sink)
    try:
        with MemoryStore(f"redis://127.0.0.1:{port}") as store:
            store.put(NS, "k", {})
            store.put(NS, "k", {})
    finally:
        detach(sink)
    assert [r["policy"] for r in sink.records if r["event"] == "memory.may_evict"] == [
        "allkeys-lru"
    ]


class Kept:
    def __init__(self) -> None:
        self.records: list[Any] = []

    def write(self, record: Any) -> None:
        self.records.append(record)


REDIS = shutil.which("redis-server")


@pytest.mark.skipif(not (REDIS and shutil.which("openssl")), reason="no redis-server with TLS here")
def test_over_tls_in_both_colours(tmp_path: Path, port: int) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    asked = f"req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {certificate}"
    told = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", *asked.split(), *told], check=True, capture_output=True)
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    options = ["--tls-port", str(port), *files, "--tls-auth-clients", "no"]
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
    with served(tmp_path, 0, *options, program=str(REDIS)):
        for _ in range(250):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        asyncio.run(remembered(url))
        with MemoryStore(redis.Redis.from_url(url)) as store:
            assert store.put(NS, "k", {"n": 2}) == 2
        with MemoryStore(f"rediss://127.0.0.1:{port}/0") as store, pytest.raises(StoreUnavailable):
            store.get(NS, "k")


async def remembered(url: str) -> None:
    async with MemoryStore(url) as store:
        assert await store.aput(NS, "k", {"text": "over TLS"}) == 1
        assert len(await store.arecall(NS, "TLS")) == 1
