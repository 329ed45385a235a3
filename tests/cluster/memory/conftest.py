"""A real cluster: three primaries with a replica each, started and stopped by the tests."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from plumbgraph.servers.binaries import redis_candidates, site_folders

SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


class Cluster:
    """Six servers on ports of their own."""

    def __init__(self, folder: Path) -> None:
        program, _ = next(iter(redis_candidates(site_folders())))
        self._program, self._folder = str(program), folder
        self.ports = [_free() for _ in range(6)]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for port in self.ports:
            self.start(port)

    def start(self, port: int) -> None:
        home = self._folder / str(port)
        home.mkdir(exist_ok=True)
        options = f"--port {port} --bind 127.0.0.1 --dir {home} --appendonly no"
        options += " --cluster-enabled yes --cluster-node-timeout 1500"
        options += " --cluster-config-file nodes.conf --repl-diskless-sync-delay 0"
        self.processes[port] = subprocess.Popen(
            [self._program, *options.split(), "--save", ""], stdout=subprocess.DEVNULL
        )
        _until(lambda: self.node(port).ping())

    def node(self, port: int) -> Any:
        return redis.Redis(port=port, socket_timeout=5)

    def form(self) -> None:
        ids = [self.node(port).execute_command("CLUSTER MYID") for port in self.ports]
        for port, (first, last) in zip(self.ports, SLOTS, strict=False):
            self.node(port).execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        for port in self.ports[1:]:
            self.node(port).execute_command("CLUSTER MEET", "127.0.0.1", self.ports[0])
        for i, port in enumerate(self.ports[3:]):
            _until(partial(self.node(port).execute_command, "CLUSTER REPLICATE", ids[i]))
        _until(self.settled)

    def settled(self) -> bool:
        infos = [self.node(p).execute_command("CLUSTER INFO") for p in self.alive]
        links = [self.node(p).info("replication") for p in self.alive]
        ok = all(i.get("cluster_state") == "ok" for i in infos)
        return ok and all(i.get("master_link_status", "up") == "up" for i in links)

    @property
    def alive(self) -> list[int]:
        return [port for port, process in self.processes.items() if process.poll() is None]

    def primary_of(self, slot: int) -> int:
        for port in self.alive:
            for first, last, (_, owner, *_), *_ in self.node(port).execute_command("CLUSTER SLOTS"):
                if first <= slot <= last:
                    return int(owner)
        raise AssertionError("no owner")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.ports[0]}/0"

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def _free() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


def _until(met: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(redis.RedisError, OSError):
            if met():
                return
        time.sleep(0.1)
    raise AssertionError("the cluster did not settle")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        made.form()
        yield made
    finally:
        made.stop()
