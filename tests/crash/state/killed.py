"""Runs a small job in forked children that kill themselves, for test_kills.

Usage: killed.py URL SCHEMA MODE COUNT. Modes: `points` kills before or after the n-th statement,
n = 1, 2, …; `random` kills at random moments under sync and async durability with a database
that answers late. Prints one JSON line a child with what it had been told is stored.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, StateGraph, add_messages

from plumbgraph.state import PlumbSaver

STEPS = 10


class State(TypedDict):
    messages: Annotated[list[Any], add_messages]
    n: int


def graph(saver: PlumbSaver) -> Any:
    """A loop of ten steps."""

    def work(state: State) -> dict[str, Any]:
        n = state["n"] + 1
        return {"messages": [AIMessage(f"{n} " + "word " * 150, id=f"m{n}")], "n": n}

    made = StateGraph(State)
    made.add_node("work", work)
    made.add_edge(START, "work")
    made.add_conditional_edges("work", lambda s: "work" if s["n"] < STEPS else END)
    return made.compile(checkpointer=saver)


def job(saver: PlumbSaver, thread: str, tell: Any, durability: str) -> None:
    """Run, fork, copy, prune and delete, telling what is acknowledged."""
    config: Any = {"configurable": {"thread_id": thread}}
    start = {"messages": [HumanMessage("hi", id="h")], "n": 0}
    with saver.claim(thread, ttl_s=1):
        saver.accept(thread, start)
        tell("accepted")
        made = graph(saver)
        made.invoke(start, config, durability=durability)
        tell("ran")
    saver.copy_thread(thread, f"{thread}-copy")
    tell("copied")
    saver.prune([thread])
    tell("pruned")
    saver.delete_thread(f"{thread}-copy")
    tell("deleted")


def child(url: str, schema: str, mode: str, number: int, pipe: int) -> None:
    """The life of one process."""

    def tell(what: Any) -> None:
        os.write(pipe, json.dumps(what).encode() + b"\n")

    saver = PlumbSaver(url, schema=schema, adopt="off", auto_setup=False)
    inner, calls = saver._core.db.send, 0

    def send(batch: Any) -> Any:
        nonlocal calls
        calls += 1
        at, after = (number + 1) // 2, number % 2 == 0
        if mode == "points" and calls == at and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "random":
            time.sleep(random.random() * 0.02)
        replies = inner(batch)
        if mode == "points" and calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return replies

    put = saver.put

    def telling(config: Any, checkpoint: Any, metadata: Any, versions: Any) -> Any:
        stored = put(config, checkpoint, metadata, versions)
        tell(metadata["step"])
        return stored

    saver._core.db.send = send  # type: ignore[method-assign]
    saver.put = telling  # type: ignore[assignment, method-assign]
    if mode == "random":
        delay = random.random() * 0.6
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    job(saver, f"{mode}{number}", tell, "async" if number % 2 and mode == "random" else "sync")
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Fork the children one after another."""
    url, schema, mode, count = sys.argv[1:5]
    for number in range(1, int(count) + 1):
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(out)
            child(url, schema, mode, number, into)
        os.close(into)
        with os.fdopen(out, "rb") as told:
            lines = [json.loads(line) for line in told]
        os.waitpid(pid, 0)
        sys.stdout.write(json.dumps({"thread": f"{mode}{number}", "told": lines}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
