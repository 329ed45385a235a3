"""Memory against its peers: speed, bytes, exactness, expiry, facts, recall, sleep, the contract.

    python -m benchmarks memory --data FOLDER [--only PART …]

`make bench-peers` prepares the peers and a server with the modules that RedisStore needs; without
it their columns are absent and say so.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import (
    memory_contract,
    memory_exact,
    memory_peers,
    memory_quality,
    memory_recall,
    memory_speed,
)
from benchmarks.setting import postgres_url, redis_url, stack_url
from benchmarks.tables import machine, write_json

USES_DATA = True
PARTS = ("speed", "exact", "facts", "recall", "module", "sleep", "quality", "contract")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--redis", default=redis_url())
    parser.add_argument("--postgres", default=postgres_url())
    parser.add_argument("--stack", default=stack_url())
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    args = parser.parse_args(argv)
    results = measure(args)
    results["machine"] = machine("redis", "langgraph-checkpoint")
    write_json("memory", results)


def measure(args: Any) -> dict[str, Any]:
    makers = memory_peers.makers(args.redis, postgres=args.postgres, stack=args.stack)
    results: dict[str, Any] = {}
    if "speed" in args.only:
        results["speed"] = memory_speed.measure(makers)
        results["bytes"] = memory_speed.sizes(args.redis)
        memory_speed.show(results["speed"], results["bytes"])
    if "exact" in args.only:
        results["exact"] = memory_exact.measure(makers, args.redis)
        memory_exact.show("Exactness", results["exact"])
    if "facts" in args.only:
        results["facts"] = memory_exact.facts(args.redis)
        memory_exact.show("Facts: 100,000 updates by 64 writers", {"": results["facts"]})
    if "recall" in args.only:
        results["recall"] = memory_recall.measure(args.redis)
        memory_recall.show(results["recall"])
    if "module" in args.only:
        results["module"] = memory_recall.module(args.stack)
        memory_recall.show(results["module"])
    if "sleep" in args.only:
        results["sleep"] = memory_exact.sleep(args.redis)
        memory_exact.show("Sleep over 10,000 items", {"": results["sleep"]})
    if "quality" in args.only:
        results["quality"] = memory_quality.measure(args.redis, args.data)
        memory_quality.show(results["quality"])
    if "contract" in args.only:
        results["contract"] = memory_contract.measure(makers)
        memory_contract.show(results["contract"])
    return results


if __name__ == "__main__":
    main()
