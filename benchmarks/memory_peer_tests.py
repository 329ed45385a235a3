"""Run LangGraph's own store tests with `MemoryStore` in the place of the store they were made for.

The tests come from the source distributions of langgraph-checkpoint, -sqlite and -postgres (their
`tests` folders); nothing of them is kept here.

    python -m benchmarks.memory_peer_tests --tests FOLDER --redis redis://127.0.0.1:6379/0
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

SUITES = {
    "base": ("langgraph_checkpoint-*", "tests/test_store.py"),
    "sqlite": ("langgraph_checkpoint_sqlite-*", "tests/test_store.py"),
    "sqlite ttl": ("langgraph_checkpoint_sqlite-*", "tests/test_ttl.py"),
    "postgres": ("langgraph_checkpoint_postgres-*", "tests/test_store.py"),
}
NOT_APPLICABLE = {
    "test_async_batch_store_resilience": "tests LangGraph's own batching class",
    "test_dedupe_ops_maps_repeated_reads_and_puts_to_one_op": "tests LangGraph's own batching",
    "test_get_text_at_path": "tests LangGraph's own path function",
    "test_async_batch_store": "tests LangGraph's own batching class",
    "test_nonnull_migrations": "SQL migrations",
    "test_escape_glob_literal": "a private function of the SQLite store",
    "test_escape_like_literal": "a private function of the PostgreSQL store",
    "test_namespace_match_pattern": "private SQL patterns",
    "test_list_namespaces_prefix_uses_indexable_condition": "a private SQL plan",
    "test_omit_expired": "reads rows through a private SQL cursor",
    "test_sql_injection_vulnerability": "asks for the refusal of an SQL path",
    "test_ttl_override_default": "expects that a read does not refresh, against the contract",
}
PGVECTOR = re.compile(r"\[.*(?:vector|halfvec)[-_]")
"""Parameters that only pgvector knows; the same tests run without them in the other suites."""


def run(suite: str, folder: Path, redis: str) -> dict[str, int]:
    pattern, file = SUITES[suite]
    root = next(iter(sorted(folder.glob(pattern))))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.memory_peer_shim"]
    command += ["-p", "no:cacheprovider", "--asyncio-mode=auto", "-rA", "--no-header", file]
    command += ["-W", "ignore", "--tb=short", "-o", "addopts=", "--timeout=100"]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(Path.cwd()), os.environ.get("PYTHONPATH", ""))),
        "MEMORY_PEER_REDIS": redis,
    }
    done = subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=900
    )
    lines = re.findall(r"^(PASSED|FAILED|ERROR) \S*?::(\S+)", done.stdout, re.MULTILINE)
    counts = {"passed": 0, "failed": 0, "left out": 0}
    for outcome, name in lines:
        bare = name.split("::")[-1].split("[")[0]
        private = bare.startswith("test_omit_expired") or PGVECTOR.search(name)
        if bare in NOT_APPLICABLE or private:
            counts["left out"] += 1
        elif outcome == "PASSED":
            counts["passed"] += 1
        else:
            counts["failed"] += 1
            print(f"  {suite}: {outcome.lower()} {name}", file=sys.stderr)
    if not lines:
        print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=Path, required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = {suite: run(suite, args.tests, args.redis) for suite in SUITES}
    for suite, counts in results.items():
        applicable = counts["passed"] + counts["failed"]
        print(f"{suite:12} {counts['passed']}/{applicable} pass, {counts['left out']} left out")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
