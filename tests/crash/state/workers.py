"""Worker processes that recover the same threads, for test_workers.

Usage: workers.py URL SCHEMA THREADS WORKERS PAUSE. With PAUSE the first worker is stopped in the
middle of a step for longer than its lease, and then goes on.
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


def graph(saver: PlumbSaver, ledger: Any, *, stops: bool = False) -> Any:
    """A loop whose every step leaves a row in the ledger when it begins."""

    def work(state: State, config: RunnableConfig) -> dict[str, Any]:
        n = len(state["log"])
        thread = config["configurable"]["thread_id"]
        ledger.execute("INSERT INTO ledger VALUES (%s, %s, %s)", (thread, n, os.getpid()))
        if stops and n == STEPS // 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        return {"log": [f"{n}"]}

    made = StateGraph(State)
    made.add_node("work", work)
    made.add_edge(START, "work")
    made.add_conditional_edges("work", lambda s: "work" if len(s["log"]) < STEPS else END)
    return made.compile(checkpointer=saver)


def worker(url: str, schema: str, *, stops: bool) -> None:
    """Recover until nothing is left to do."""
    options = f"-csearch_path={schema}"
    with psycopg.connect(url, autocommit=True, options=options) as ledger:
        saver = PlumbSaver(url, schema=schema, adopt="off", auto_setup=False)
        rules = RecoveryRules(grace_s=0, backoff_s=0.1, ttl_s=LEASE_S)
        until = time.monotonic() + 25
        while time.monotonic() < until:
            found = saver.recover(lambda: graph(saver, ledger, stops=stops), rules)
            waiting = saver.threads(1000)
            if not found and all(each.status == "finished" for each in waiting):
                return
            time.sleep(0.05)


def main() -> None:
    """Fork the workers, wake the stopped one after its lease, wait for all."""
    url, schema, _, count, pause = sys.argv[1:6]
    pids = []
    for number in range(int(count)):
        pid = os.fork()
        if pid == 0:
            worker(url, schema, stops=bool(int(pause)) and number == 0)
            os._exit(0)
        pids.append(pid)
    if int(pause):
        os.waitpid(pids[0], os.WUNTRACED)
        time.sleep(LEASE_S * 2)
        # It stops once a thread, so it is woken as often as it takes.
        while os.waitpid(pids[0], os.WNOHANG)[0] == 0:
            os.kill(pids[0], signal.SIGCONT)
            time.sleep(0.1)
        pids = pids[1:]
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
