"""A Redis with the search module: the one that `make bench-peers` prepares."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

_SERVE = """
from benchmarks.setting import stack_up
with stack_up() as url:
    print(url, flush=True)
    input()
"""


@pytest.fixture(scope="session")
def stack_server(root: Path) -> Iterator[str]:
    given = os.environ.get("PLUMBGRAPH_TEST_REDIS_STACK_URL")
    if given:
        yield given
        return
    python = root / ".bench" / "bin" / "python"
    if not python.exists():
        pytest.fail("No Redis with modules here: run `make bench-peers` first.")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [str(python), "-c", _SERVE], cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("\n")


@pytest.fixture
def stack_url(stack_server: str) -> Iterator[str]:
    with redis.Redis.from_url(stack_server) as raw:
        raw.flushall()
        yield stack_server
        raw.flushall()
