"""A server that dies in the middle of a run: a typed error or none, nothing acknowledged lost."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from operator import add
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from plumbgraph import PlumbSaver, servers
from plumbgraph.errors import StoreUnavailable

CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 500}
STEPS = 60


class State(TypedDict):
    done: Annotated[list[int], add]


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Endpoints]:
    for name in ("POSTGRES_URL", "REDIS_URL", "HOME"):
        monkeypatch.delenv(f"PLUMBGRAPH_{name}", raising=False)
    folder = Path(tempfile.mkdtemp(prefix="pgk-"))
    with servers.up(folder / "h") as up:
        yield up
    servers.down(folder / "h")
    shutil.rmtree(folder)


def graph(saver: PlumbSaver, finished: list[int]) -> Any:
    def work(state: State) -> State:
        step = len(state["done"])
        finished.append(step)
        time.sleep(0.01)
        return {"done": [step]}

    builder = StateGraph(State).add_node("work", work).add_edge(START, "work")
    builder.add_conditional_edges(
        "work", lambda state: "work" if len(state["done"]) < STEPS else "__end__"
    )
    return builder.compile(checkpointer=saver)


def kill_postgres(up: servers.Endpoints, after: list[int]) -> None:
    while len(after) < 15:
        time.sleep(0.005)
    found = next(one for one in servers.status(up.home).servers if one.kind == "postgres")
    assert found.pid
    os.kill(found.pid, signal.SIGKILL)


def test_postgres_killed_in_the_middle_of_a_run(up: servers.Endpoints) -> None:
    finished: list[int] = []
    with PlumbSaver(up.postgres_url) as saver:
        agent = graph(saver, finished)
        killer = threading.Thread(target=kill_postgres, args=(up, finished))
        killer.start()
        try:
            agent.invoke({"done": []}, CONFIG, durability="sync")
        except StoreUnavailable as error:
            assert error.hint  # noqa: PT017 - either outcome is right
        killer.join()
        acknowledged = len(finished) - 2  # the running step, and the one whose put may be under way
        state = eventually(lambda: agent.get_state(CONFIG))
        assert state.values["done"] == list(range(len(state.values["done"])))
        assert len(state.values["done"]) >= min(acknowledged, STEPS)
        # No `state.next` may also mean a task that has written in a step that was not closed.
        result = agent.invoke(None, CONFIG)
        assert result["done"] == list(range(STEPS))


def eventually(read: Any) -> Any:
    """Try until the supervisor has the server back."""
    for _ in range(100):
        try:
            return read()
        except StoreUnavailable:
            time.sleep(0.1)
    return read()
