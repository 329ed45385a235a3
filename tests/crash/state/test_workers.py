"""Several workers recover the same threads: each step is stored once, whoever is paused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plumbgraph.state import PlumbSaver

SCRIPT = Path(__file__).parent / "workers.py"
STEPS = 6


def _work(url: str, schema: str, threads: int, *, every: int) -> dict[tuple[str, int], int]:
    with PlumbSaver(url, schema=schema, adopt="off") as saver:
        for at in range(threads):
            saver.accept(f"w{at}", {"log": []})
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'CREATE TABLE "{schema}".ledger (thread text, step int, pid int)')
        command = [sys.executable, str(SCRIPT), url, schema, str(threads), "3", str(every)]
        subprocess.run(command, check=True, timeout=100 + 4 * threads)
        for at in range(threads):
            config: Any = {"configurable": {"thread_id": f"w{at}"}}
            found: Any = saver.get_tuple(config)
            log = found.checkpoint["channel_values"]["log"]
            assert log == [str(step) for step in range(STEPS)]
            assert saver.run_status(f"w{at}").state == "finished"
            steps = [
                t.metadata["step"] for t in saver.list({"configurable": {"thread_id": f"w{at}"}})
            ]
            assert sorted(steps) == list(range(-1, STEPS + 1))
    with psycopg.connect(url) as connection:
        sql = f'SELECT thread, step, count(*) FROM "{schema}".ledger GROUP BY 1, 2'
        return {(row[0], row[1]): row[2] for row in connection.execute(sql)}


def _repeated(ledger: dict[tuple[str, int], int]) -> set[tuple[str, int]]:
    return {place for place, count in ledger.items() if count > 1}


def test_workers_share_without_doubling(postgres_url: str, schema: str) -> None:
    ledger = _work(postgres_url, schema, 8, every=0)
    assert len(ledger) == 8 * STEPS
    assert _repeated(ledger) == set()


def test_a_paused_owner_changes_nothing(postgres_url: str, schema: str) -> None:
    ledger = _work(postgres_url, schema, 3, every=2)
    # The step at which an owner was paused began again elsewhere; nothing else was repeated.
    assert _repeated(ledger) <= {("w0", STEPS // 2), ("w2", STEPS // 2)}
    assert _repeated(ledger)


@pytest.mark.crash
def test_many_threads_resumed_by_several(postgres_url: str, schema: str) -> None:
    ledger = _work(postgres_url, schema, 500, every=10)
    paused = {(f"w{at}", STEPS // 2) for at in range(0, 500, 10)}
    assert _repeated(ledger) <= paused
    assert len(_repeated(ledger)) > 10
    assert len(ledger) == 500 * STEPS
