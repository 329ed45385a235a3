"""Memory against its peers: speed, bytes, exactness, expiry, facts, recall, sleep.

    python -m benchmarks memory --data FOLDER [--redis URL] [--postgres URL]
                                [--peer-python VENV/bin/python --peer-redis URL]

`make bench-peers` prepares the peer's Python and a server with the modules it needs; without it
its column is measured as absent and says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import memory_exact, memory_quality, memory_recall, memory_speed, setting
from benchmarks.tables import machine, write_json

USES_DATA = True


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--redis", default=setting.redis_url())
    parser.add_argument("--postgres", default=setting.postgres_url())
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--peer-redis", default=setting.stack_url())
    parser.add_argument("--only", nargs="*", default=["speed", "exact", "recall", "quality"])
    args = parser.parse_args(argv)
    with ExitStack() as ending:
        redis_url, postgres_url = args.redis, args.postgres
        if not redis_url:
            from plumbgraph import servers

            up = ending.enter_context(servers.up())
            redis_url, postgres_url = up.redis_url, postgres_url or up.postgres_url
        results = measure(args, redis_url, postgres_url)
    results["machine"] = machine("redis", "langgraph-checkpoint")
    write_json("memory", results)


def measure(args: Any, redis_url: str, postgres_url: str | None) -> dict[str, Any]:
    results: dict[str, Any] = {}
    if "speed" in args.only:
        stores = {**memory_speed.ours(redis_url), **memory_speed.peers(postgres_url)}
        results["speed"] = memory_speed.measure(stores)
        results["speed"].update(_redis_store(args))
        results["bytes"] = memory_speed.sizes(redis_url)
        memory_speed.show(results["speed"], results["bytes"])
    if "exact" in args.only:
        results["exact"] = memory_exact.measure(redis_url)
        memory_exact.show(results["exact"])
    if "recall" in args.only:
        results["recall"] = memory_recall.measure(redis_url)
        memory_recall.show(results["recall"])
    if "quality" in args.only:
        results["quality"] = memory_quality.measure(redis_url, args.data)
        memory_quality.show(results["quality"])
    return results


def _redis_store(args: Any) -> dict[str, Any]:
    """RedisStore's figures, measured by the same code in an environment of its own."""
    if not args.peer_python or not args.peer_redis:
        return {"RedisStore": {}}
    command = [args.peer_python, Path(__file__).parent / "memory_speed.py", args.peer_redis]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"RedisStore": json.loads(done.stdout.splitlines()[-1])}


if __name__ == "__main__":
    main()
