"""Worker processes that recover the same threads, for test_workers.

Usage: workers.py URL SCHEMA THREADS WORKERS EVERY. In the middle of each EVERYth thread whoever
runs it first is stopped for longer than its lease, while others take the thread over, and then
goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Annotated, Any, TypedDict

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph

from plumbgraph.state import PlumbSaver, RecoveryRules

STEPS = 6
LEASE_S = 1.0


class State(TypedDict):
    log: Annotated[list[str], lambda a, b: [*a, *b]]


def graph(saver: PlumbSaver, ledger: Any, every: int) -> Any:
    """A loop whose every step leaves a row in the ledger when it begins."""

    def work(state: State, config: RunnableConfig) -> dict[str, Any]:
        n = len(state["log"])
        thread = config["configurable"]["thread_id"]
        ledger.execute("INSERT INTO ledger VALUES (%s, %s, %s)", (thread, n, os.getpid()))
        stops = every and n == STEPS // 2 and int(thread[1:]) % every == 0
        if stops and _tries(ledger, thread, n) == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        return {"log": [f"{n}"]}

    made = StateGraph(State)
    made.add_node("work", work)
    made.add_edge(START, "work")
    made.add_conditional_edges("work", lambda s: "work" if len(s["log"]) < STEPS else END)
    return made.compile(checkpointer=saver)


def _tries(ledger: Any, thread: str, step: int) -> int:
    sql = "SELECT count(*) FROM ledger WHERE thread = %s AND step = %s"
    return int(ledger.execute(sql, (thread, step)).fetchone()[0])


def worker(url: str, schema: str, threads: int, every: int) -> None:
    """Recover until nothing is left to do."""
    options = f"-csearch_path={schema}"
    with psycopg.connect(url, autocommit=True, options=options) as ledger:
        saver = PlumbSaver(url, schema=schema, adopt="off", auto_setup=False)
        rules = RecoveryRules(grace_s=0, backoff_s=0.1, ttl_s=LEASE_S)
        until = time.monotonic() + 25 + 4 * threads
        while time.monotonic() < until:
            found = saver.recover(lambda: graph(saver, ledger, every), rules)
            if not found and all(each.status == "finished" for each in saver.threads(10_000)):
                return
            time.sleep(0.05)


def main() -> None:
    """Fork the workers, wake each stopped one after its lease, wait for all."""
    url, schema, threads, count, every = sys.argv[1:6]
    living = set()
    for _ in range(int(count)):
        pid = os.fork()
        if pid == 0:
            worker(url, schema, int(threads), int(every))
            os._exit(0)
        living.add(pid)
    asleep: dict[int, float] = {}
    failed = 0
    while living:
        for pid in tuple(living):
            ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if ended and os.WIFSTOPPED(status):
                asleep[pid] = time.monotonic() + LEASE_S * 1.5
            elif ended:
                living.discard(pid)
                failed += status != 0
            elif asleep.get(pid, float("inf")) < time.monotonic():
                del asleep[pid]
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
    sys.exit(failed)


if __name__ == "__main__":
    main()
