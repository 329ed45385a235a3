"""A writer that kills itself at any step loses no acknowledged write and leaves nothing half."""

from __future__ import annotations

import subprocess
import sys

import pytest
import redis

from plumbgraph.memory import MemoryStore

NS = ("crash",)
WRITER = """
import os, signal, sys
from plumbgraph.memory import Fact, MemoryStore

url, job, fatal = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = MemoryStore(url)
steps = 0

class Dying:
    def __init__(self, inner): self._inner = inner
    def send(self, batch):
        global steps
        steps += 1
        if steps == fatal and job.endswith("before"): os.kill(os.getpid(), signal.SIGKILL)
        replies = self._inner.send(batch)
        if steps == fatal: os.kill(os.getpid(), signal.SIGKILL)
        return replies
    def run(self, plan):
        from plumbgraph import plan as drivers
        return drivers.run(plan, self.send)
    facts = None

store._redis = Dying(store._redis)
for n in range(4):
    store.put(("crash",), f"k{n}", {"text": "we met yesterday", "n": n}, idempotency_key=f"a{n}")
    print(f"put {n}", flush=True)
store.remember(("crash",), Fact("Ana", "city", "Rome"))
print("fact", flush=True)
store.sleep(("crash",))
print("slept", flush=True)
store.erase("yesterday")
print("erased", flush=True)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fatal", [1, 4, 6, 8, 9, 12])
def test_killed_at_a_step(redis_url: str, fatal: int, when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITER, redis_url, when, str(fatal)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = done.stdout.splitlines()
    with MemoryStore(redis_url) as store, redis.Redis.from_url(redis_url) as raw:
        if "erased" in told:
            assert store.get(NS, "k0") is None
            return
        assert done.returncode == -9, done.stderr
        if "slept" not in told:
            for n in range(sum(line.startswith("put") for line in told)):
                item = store.get(NS, f"k{n}")
                assert item is not None
                assert item.value["n"] == n
                assert store.put(NS, f"k{n}", {"n": "again"}, idempotency_key=f"a{n}") == 1
            assert ("fact" not in told) or len(store.facts(NS, "Ana")) == 1
        live = {key.decode() for key in raw.zrange(store.terms.shard(NS).live("crash"), 0, -1)}
        held = {item.key for item in store.search(NS, limit=100)}
        assert live == held
        for key in held:
            assert [v.version for v in store.history(NS, key)]
        store.erase("yesterday")
        left = [item.key for item in store.search(NS, limit=100)]
        assert all(not key.startswith("k") for key in left)
