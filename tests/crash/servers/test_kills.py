"""`kill -9` of clients, supervisor and servers: no orphan, and nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from plumbgraph import servers
from plumbgraph.servers import locks
from plumbgraph.servers.home import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = """
import sys, time
from plumbgraph import servers
up = servers.up(sys.argv[1], grace_s=float(sys.argv[2]))
print(up.pid, flush=True)
sys.stdin.read()
"""


def client(home: Path, *, grace_s: float = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(home), str(grace_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def word(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, process.stderr.read() if process.stderr else "no word"
    return line


def pids(home: Path) -> list[int]:
    told = servers.status(home)
    return [told.pid or 0, *(server.pid for server in told.servers)]


@contextlib.contextmanager
def ending(*numbers: int) -> Iterator[None]:
    """Wait at the end until each of these processes is gone."""
    descriptors = [os.pidfd_open(number) for number in numbers]
    yield
    for descriptor in descriptors:
        assert select.select([descriptor], [], [], 60)[0], "still runs"
        os.close(descriptor)


def pid_of(home: Path, kind: str) -> int:
    return next(server.pid for server in servers.status(home).servers if server.kind == kind)


def insert(url: str, *, row: int) -> None:
    with psycopg.connect(url, autocommit=True) as link:
        link.execute("CREATE TABLE IF NOT EXISTS kept (x int)")
        link.execute("INSERT INTO kept VALUES (%s)", (row,))


def rows(url: str) -> list[int]:
    with psycopg.connect(url, autocommit=True) as link:
        return [row[0] for row in link.execute("SELECT x FROM kept ORDER BY x")]


def remember(url: str, key: str) -> None:
    """A write that Valkey itself says is on disk."""
    with redis.Redis.from_url(url) as link:
        link.set(key, "1")
        assert link.execute_command("WAITAOF", 1, 0, 10_000)[0] == 1


def known(url: str) -> set[bytes]:
    with redis.Redis.from_url(url) as link:
        return set(link.keys("*"))


def test_processes_that_start_at_once_share_one_pair(home: Path) -> None:
    clients = [client(home) for _ in range(3)]
    assert len({word(process) for process in clients}) == 1
    told = servers.status(home)
    assert set(told.leases) == {process.pid for process in clients}
    with ending(*pids(home)):
        for process in clients:
            process.communicate("")
    assert servers.status(home).orphans == ()


def test_killed_clients_leave_no_server(home: Path) -> None:
    clients = [client(home) for _ in range(2)]
    for process in clients:
        word(process)
    clients[0].kill()
    clients[0].communicate()
    assert servers.status(home).leases == (clients[1].pid,)
    with servers.up(home) as third:
        insert(third.postgres_url, row=1)
    with ending(*pids(home)):
        clients[1].kill()
        clients[1].communicate()
    with servers.up(home) as again:
        assert rows(again.postgres_url) == [1]


def test_a_client_killed_while_it_starts_leaves_no_server(home: Path) -> None:
    starter = client(home)
    while not locks.held(Layout(home).owner):
        assert starter.poll() is None
        time.sleep(0.005)
    starter.kill()
    starter.communicate()
    while locks.held(Layout(home).owner):
        time.sleep(0.02)
    told = servers.status(home)
    assert (told.pid, told.servers, told.orphans) == (None, (), ())


def test_a_killed_supervisor_takes_its_servers_along(home: Path) -> None:
    with servers.up(home) as first:
        insert(first.postgres_url, row=1)
        remember(first.redis_url, "one")
        with ending(*pids(home)):
            os.kill(first.pid or 0, signal.SIGKILL)
        told = servers.status(home)
        assert (told.phase, told.pid, told.orphans) == ("stopped", None, ())
        with servers.up(home) as second:
            assert second.pid != first.pid
            assert (second.postgres_url, second.redis_url) == (first.postgres_url, first.redis_url)
            assert rows(first.postgres_url) == [1]
            assert known(first.redis_url) == {b"one"}


def test_a_start_right_after_a_killed_supervisor_waits_for_its_servers(home: Path) -> None:
    with servers.up(home) as up:
        insert(up.postgres_url, row=1)
        for row in (2, 3):
            supervisor = servers.status(home).pid or 0
            with ending(supervisor):  # until then nobody can know that it was killed
                os.kill(supervisor, signal.SIGKILL)
            with servers.up(home) as again:
                insert(again.postgres_url, row=row)
        assert rows(up.postgres_url) == [1, 2, 3]


def test_killed_servers_come_back_by_themselves(home: Path) -> None:
    with servers.up(home) as up:
        insert(up.postgres_url, row=1)
        remember(up.redis_url, "one")
        for kind in ("postgres", "valkey"):
            number = pid_of(home, kind)
            with ending(number):
                os.kill(number, signal.SIGKILL)
            with servers.up(home) as again:
                assert again.pid == up.pid
                assert pid_of(home, kind) != number
        assert rows(up.postgres_url) == [1]
        assert known(up.redis_url) == {b"one"}


def test_a_server_that_keeps_dying_is_given_up_and_the_log_is_shown(home: Path) -> None:
    with servers.up(home, tune="test") as up:
        with ending(up.pid or 0):
            for _ in range(6):
                number = pid_of(home, "valkey")
                with ending(number):
                    os.kill(number, signal.SIGKILL)
                while locks.held(Layout(home).owner) and number in pids(home):
                    time.sleep(0.02)
                while locks.held(Layout(home).owner) and "valkey" not in {
                    server.kind for server in servers.status(home).servers
                }:
                    time.sleep(0.02)
        told = servers.status(home)
        assert (told.phase, told.pid, told.orphans) == ("failed", None, ())
        assert told.error is not None
        assert "died 6 times within a minute" in told.error
        with servers.up(home, tune="test") as again:
            assert again.pid != up.pid


def test_an_interrupted_first_start_begins_anew(home: Path) -> None:
    starter = client(home)
    fresh = home / "servers" / "postgres.new" / "base"
    while not fresh.exists():
        assert starter.poll() is None
        time.sleep(0.002)
    os.kill(locks.holders(Layout(home).owner)[0], signal.SIGKILL)
    starter.communicate("")
    assert starter.returncode != 0
    with servers.up(home) as up:
        insert(up.postgres_url, row=1)
        assert rows(up.postgres_url) == [1]
    assert not (home / "servers" / "postgres.new").exists()


def test_a_stale_pid_file_of_another_process_is_no_obstacle(home: Path) -> None:
    with servers.up(home, tune="test", grace_s=0):
        pass
    servers.down(home)
    (home / "servers" / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n/x\n1\n5432\n")
    with servers.up(home, tune="test") as up:
        insert(up.postgres_url, row=1)


@pytest.mark.crash
def test_two_hundred_random_kills_lose_nothing(home: Path) -> None:
    dice = random.Random(7)
    done = 0
    with servers.up(home, grace_s=1) as first:
        for round_ in range(200):
            with servers.up(home) as up:
                insert(up.postgres_url, row=round_)
                remember(up.redis_url, str(round_))
                done += 1
                victim = dice.choice(pids(home))
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            if round_ % 5 == 4:
                servers.down(home)
        with servers.up(home):
            assert rows(first.postgres_url) == list(range(done))
            assert known(first.redis_url) == {str(row).encode() for row in range(done)}
    servers.down(home)
    assert servers.status(home).orphans == ()
