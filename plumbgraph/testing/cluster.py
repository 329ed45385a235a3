"""A real six-node Valkey or Redis Cluster on this machine: three primaries, a replica each."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any, Self

import redis

from plumbgraph.errors import ServerStartFailed, StoreUnavailable
from plumbgraph.servers.binaries import redis_candidates, site_folders

_MOST = 55_000
SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


class ValkeyCluster:
    """Six servers on ports of their own, in a folder; stopped when the block ends.

    Args:
        folder: Where they keep their files.
        append: Keep an append-only file, as a cluster that holds budgets should.
        node_timeout_ms: A server that is silent for so long is taken over by its replica.
    """

    def __init__(self, folder: Path, *, append: bool = False, node_timeout_ms: int = 1_500) -> None:
        self._append = "yes" if append else "no"
        self._node_timeout_ms = node_timeout_ms
        program, _ = next(iter(redis_candidates(site_folders())))
        self._program, self._folder = str(program), folder
        self.ports = [_free() for _ in range(6)]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for port in self.ports:
            self.start(port)

    def __enter__(self) -> Self:
        try:
            self.form()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, port: int) -> None:
        """Start the server of a port, or start it again."""
        home = self._folder / str(port)
        home.mkdir(exist_ok=True)
        options = f"--port {port} --bind 127.0.0.1 --dir {home} --appendonly {self._append}"
        options += f" --cluster-enabled yes --cluster-node-timeout {self._node_timeout_ms}"
        options += " --cluster-config-file nodes.conf --repl-diskless-sync-delay 0"
        self.processes[port] = subprocess.Popen(  # noqa: S603 - a binary we chose
            [self._program, *options.split(), "--save", ""], stdout=subprocess.DEVNULL
        )
        _until(lambda: self.node(port).ping())

    def node(self, port: int) -> Any:
        """A client of one server."""
        return redis.Redis(port=port, socket_timeout=5)

    def form(self) -> None:
        """Make one cluster of the six."""
        ids = [self.node(port).execute_command("CLUSTER MYID") for port in self.ports]
        for port, (first, last) in zip(self.ports, SLOTS, strict=False):
            self.node(port).execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        for port in self.ports[1:]:
            self.node(port).execute_command("CLUSTER MEET", "127.0.0.1", self.ports[0])
        for i, port in enumerate(self.ports[3:]):
            _until(partial(self.node(port).execute_command, "CLUSTER REPLICATE", ids[i]))
        _until(self.settled)

    def settled(self) -> bool:
        """Whether every server that runs is content, and every replica has caught up."""
        infos = [self.node(p).execute_command("CLUSTER INFO") for p in self.alive]
        links = [self.node(p).info("replication") for p in self.alive]
        ok = all(i.get("cluster_state") == "ok" for i in infos)
        return ok and all(i.get("master_link_status", "up") == "up" for i in links)

    @property
    def alive(self) -> list[int]:
        """The ports that are served."""
        return [port for port, process in self.processes.items() if process.poll() is None]

    def primary_of(self, slot: int) -> int:
        """The port of the server that owns a slot.

        Raises:
            StoreUnavailable: Nobody does.
        """
        for port in self.alive:
            for first, last, (_, owner, *_), *_ in self.node(port).execute_command("CLUSTER SLOTS"):
                if first <= slot <= last:
                    return int(owner)
        raise StoreUnavailable(f"Nobody owns slot {slot}.")

    @property
    def url(self) -> str:
        """Where to begin."""
        return f"redis://127.0.0.1:{self.ports[0]}/0"

    def stop(self) -> None:
        """Kill them all."""
        for process in self.processes.values():
            process.kill()
            process.wait()


def _free() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < _MOST:  # its bus listens ten thousand above
            return port


def _until(met: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(redis.RedisError, OSError):
            if met():
                return
        time.sleep(0.1)
    raise ServerStartFailed("The cluster did not settle.")
