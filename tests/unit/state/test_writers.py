"""One writer wins: stale puts, deliberate forks, branches, claims, tombstones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from plumbgraph.errors import ClaimLost, StaleWriter, ThreadBusy, ThreadDeleted, ThreadNotFound
from plumbgraph.state import PlumbSaver, current_branch


class State(TypedDict):
    log: Annotated[list[str], lambda a, b: [*a, *b]]


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema) as made:
        yield made


BRANCHES: list[str] = []


def _graph(saver: PlumbSaver, *, sub: bool = False) -> Any:
    def step(name: str) -> Any:
        def work(_: State) -> dict[str, list[str]]:
            BRANCHES.append(current_branch("t"))
            return {"log": [name]}

        return work

    inner = StateGraph(State)
    inner.add_node("in", step("in"))
    inner.add_edge(START, "in")
    graph = StateGraph(State)
    graph.add_node("a", step("a"))
    graph.add_node("b", inner.compile(checkpointer=True) if sub else step("b"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("b", END)
    return graph.compile(checkpointer=saver)


CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}}


def _put(saver: PlumbSaver, parent: RunnableConfig) -> RunnableConfig:
    config: RunnableConfig = {"configurable": {"checkpoint_ns": "", **parent["configurable"]}}
    return saver.put(config, empty_checkpoint(), {"source": "loop", "step": 0}, {})


def test_two_first_runs_leave_one_winner(saver: PlumbSaver) -> None:
    _put(saver, CONFIG)
    with pytest.raises(StaleWriter, match='on_stale="fork"') as caught:
        _put(saver, CONFIG)
    assert caught.value.thread_id == "t"
    assert len(list(saver.list(CONFIG))) == 1


def test_a_race_on_the_head_has_one_winner(saver: PlumbSaver) -> None:
    saver.setup()
    outcomes: list[str] = []

    def race() -> None:
        try:
            _put(saver, CONFIG)
        except StaleWriter:
            outcomes.append("stale")
        else:
            outcomes.append("won")

    racers = [threading.Thread(target=race) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(outcomes) == ["stale", "stale", "stale", "won"]


def test_a_repeated_put_changes_nothing(saver: PlumbSaver) -> None:
    first = _put(saver, CONFIG)
    config: RunnableConfig = {"configurable": {"checkpoint_ns": "", **first["configurable"]}}
    again = empty_checkpoint()
    for _ in range(2):
        saver.put(config, again, {"source": "loop", "step": 1}, {})
    _put(saver, {"configurable": {"thread_id": "t", "checkpoint_id": again["id"]}})
    saver.put(config, again, {"source": "loop", "step": 1}, {})
    assert len(list(saver.list(CONFIG))) == 3


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("sub", [False, True])
def test_time_travel_forks_and_names_its_branch(
    saver: PlumbSaver, durability: str, *, sub: bool
) -> None:
    graph = _graph(saver, sub=sub)
    BRANCHES.clear()
    graph.invoke({"log": []}, CONFIG, durability="sync")
    assert set(BRANCHES) == {""}
    older = next(s for s in graph.get_state_history(CONFIG) if s.next == ("b",))
    BRANCHES.clear()
    graph.invoke(None, older.config, durability=durability)
    assert len(set(BRANCHES)) == 1
    branch = BRANCHES[0]
    assert branch
    graph.invoke({"log": ["more"]}, CONFIG, durability=durability)
    assert set(BRANCHES) == {branch}
    expected = ["a", "a", "in", "more", "a", "a", "in"] if sub else ["a", "b", "more", "a", "b"]
    assert set(graph.get_state(CONFIG).values["log"]) == set(expected)


def test_update_state_of_an_older_checkpoint_forks(saver: PlumbSaver) -> None:
    graph = _graph(saver)
    graph.invoke({"log": []}, CONFIG)
    older = next(s for s in graph.get_state_history(CONFIG) if s.next == ("b",))
    BRANCHES.clear()
    forked = graph.update_state(older.config, {"log": ["edited"]})
    graph.invoke(None, forked)
    assert BRANCHES[-1] != ""
    assert graph.get_state(CONFIG).values["log"] == ["a", "edited", "b"]
    graph.update_state(CONFIG, None, as_node="__copy__")
    assert graph.get_state(CONFIG).values["log"] == ["a", "edited", "b"]


async def test_async_time_travel_forks(postgres_url: str, schema: str) -> None:
    async with PlumbSaver(postgres_url, schema=schema) as saver:
        graph = _graph(saver, sub=True)
        await graph.ainvoke({"log": []}, CONFIG)
        history = [s async for s in graph.aget_state_history(CONFIG)]
        older = next(s for s in history if s.next == ("b",))
        BRANCHES.clear()
        await graph.ainvoke(None, older.config)
        assert BRANCHES[0]
        forked = await graph.aupdate_state(older.config, {"log": ["edited"]})
        await graph.ainvoke(None, forked)
        assert len(set(BRANCHES)) == 2


def test_a_stale_run_is_refused_though_others_forked(saver: PlumbSaver) -> None:
    graph = _graph(saver)
    graph.invoke({"log": []}, CONFIG)
    graph.get_state(graph.get_state(CONFIG).config)
    stale = saver.get_tuple({"configurable": {"thread_id": "t", "checkpoint_ns": ""}})
    assert stale is not None
    moved = threading.Thread(target=graph.invoke, args=({"log": ["x"]}, CONFIG))
    moved.start()
    moved.join()
    with pytest.raises(StaleWriter):
        _put(saver, stale.config)


def test_interrupts_resume_on_one_branch(saver: PlumbSaver) -> None:
    def ask(state: State) -> dict[str, list[str]]:
        return {"log": [interrupt("one?"), interrupt("two?")]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    made = graph.compile(checkpointer=saver)
    made.invoke({"log": []}, CONFIG)
    assert saver.run_status("t").state == "interrupted"
    made.invoke(Command(resume="1"), CONFIG)
    made.invoke(Command(resume="2"), CONFIG)
    assert made.get_state(CONFIG).values["log"] == ["1", "2"]
    assert saver.run_status("t").state == "finished"


def test_deleted_threads_stay_deleted(saver: PlumbSaver) -> None:
    head = _put(saver, CONFIG)
    saver.delete_thread("t")
    with pytest.raises(ThreadDeleted):
        _put(saver, head)
    with pytest.raises(ThreadDeleted):
        saver.put_writes(
            {"configurable": {"checkpoint_ns": "", **head["configurable"]}}, [("c", 1)], "task"
        )
    with pytest.raises(ThreadDeleted), saver.claim("t"):
        pass
    with pytest.raises(ThreadDeleted):
        saver.accept("t", {"log": []})
    assert saver.get_tuple(CONFIG) is None
    with pytest.raises(ThreadNotFound):
        saver.run_status("t")


def test_a_claim_keeps_others_out(saver: PlumbSaver) -> None:
    head = _put(saver, CONFIG)
    with saver.claim("t", ttl_s=5, owner="me") as lease:
        head = _put(saver, head)
        outsider = threading.Thread(target=lambda: seen.append(_try(saver, head)))
        seen: list[Any] = []
        outsider.start()
        outsider.join()
        assert isinstance(seen[0], ThreadBusy)
        assert "'me'" in str(seen[0])
        with pytest.raises(ThreadBusy), saver.claim("t"):
            pass
        assert saver.run_status("t").state == "running"
        assert saver.run_status("t").owner == "me"
        assert lease.epoch == 1
    assert _put(saver, head)
    with saver.claim("t") as again:
        assert again.epoch == 2


def _try(saver: PlumbSaver, head: RunnableConfig) -> Any:
    try:
        return _put(saver, head)
    except ThreadBusy as error:
        return error


def test_an_expired_owner_is_refused(saver: PlumbSaver) -> None:
    head = _put(saver, CONFIG)
    with saver.claim("t", ttl_s=30) as lease:
        saver._core.db.send(_expire())
        with pytest.raises(ClaimLost):
            _put(saver, head)
        taken = threading.Thread(target=_take_over, args=(saver, head))
        taken.start()
        taken.join()
        with pytest.raises(ClaimLost):
            _put(saver, head)
        assert lease.epoch == 1
    assert len(list(saver.list(CONFIG))) == 2


def _expire() -> Any:
    from plumbgraph.postgres.statement import Statement

    return (Statement("UPDATE {schema}.thread SET lease_until = now() - interval '1s'"),)


def _take_over(saver: PlumbSaver, head: RunnableConfig) -> None:
    with saver.claim("t") as lease:
        assert lease.epoch == 2
        _put(saver, head)


def test_a_lease_is_renewed(saver: PlumbSaver) -> None:
    head = _put(saver, CONFIG)
    with saver.claim("t", ttl_s=1.5) as lease:
        time.sleep(2.0)
        head = _put(saver, head)
        assert not lease.lost


async def test_an_async_claim(postgres_url: str, schema: str) -> None:
    async with PlumbSaver(postgres_url, schema=schema) as saver:
        graph = _graph(saver)
        async with saver.claim("t", ttl_s=1.5):
            await asyncio.sleep(2.0)
            await graph.ainvoke({"log": []}, CONFIG)
            with pytest.raises(ThreadBusy):
                async with saver.claim("t"):
                    pass
        assert (await saver.arun_status("t")).state == "finished"


def test_commits_can_be_waited_for(saver: PlumbSaver, postgres_url: str, schema: str) -> None:
    head = _put(saver, CONFIG)["configurable"]["checkpoint_id"]
    assert saver.wait_committed("t", "", head)
    with PlumbSaver(postgres_url, schema=schema) as other:
        assert other.wait_committed("t", "", head)
        assert not other.wait_committed(
            "t", "", "1f000000-0000-6000-8000-000000000000", timeout_s=0
        )


async def test_commits_can_be_awaited(postgres_url: str, schema: str) -> None:
    async with PlumbSaver(postgres_url, schema=schema) as saver:
        config: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        later = empty_checkpoint()
        waiter = asyncio.create_task(saver.await_committed("t", "", later["id"]))
        await asyncio.sleep(0)
        await saver.aput(config, later, {"source": "loop", "step": 0}, {})
        assert await waiter
