"""One statement a step where one task writes; whatever happens, each call stores its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from plumbgraph.errors import StaleWriter, StoreUnavailable, TypeRefused
from plumbgraph.state import PlumbSaver, pace
from plumbgraph.state.pace import Paces
from plumbgraph.state.serde import PlumbSerializer
from plumbgraph.state.task_writes import WritesRequest

STREAM = ("default", "t", "")
CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
MESSAGES = [AIMessage(f"{at} " + "word " * 140, id=str(at)) for at in range(3)]


class State(TypedDict):
    log: Annotated[list[str], lambda a, b: [*a, *b]]


class Unknown:
    pass


@pytest.fixture
def saver(postgres_url: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlumbSaver]:
    # Long enough that only what a test does ends the wait.
    monkeypatch.setattr(pace, "WAIT_S", 60)
    with PlumbSaver(postgres_url, schema=schema, adopt="off") as made:
        yield made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def _seen(saver: PlumbSaver) -> list[str]:
    """What kinds of writing statements are sent from now on."""
    seen, inner = list[str](), saver.database.send

    def send(batch: Any) -> Any:
        params = dict(batch[0].params) if batch[0].params else {}
        if "mint" in params:
            seen.append("both" if "base" in params else "put")
        elif "at" in params:
            seen.append("writes")
        return inner(batch)

    saver.database.send = send  # type: ignore[method-assign]
    return seen


def _learn(saver: PlumbSaver, path: str = "") -> None:
    saver._core.paces._alone.put((STREAM, path), True)


def _await(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.001)


def _checkpoint(messages: list[AIMessage], version: int) -> Any:
    made = empty_checkpoint()
    made["channel_values"] = {"messages": list(messages)}
    made["channel_versions"] = {"messages": version}
    return made


def _put(saver: PlumbSaver, parent: Any, count: int) -> Any:
    config: Any = {"configurable": {"checkpoint_ns": "", **parent["configurable"]}}
    new = _checkpoint(MESSAGES[:count], count)
    return saver.put(config, new, {"source": "loop", "step": count}, {"messages": count})


def _stored(saver: PlumbSaver, config: Any) -> tuple[int, list[Any]]:
    saver.forget()
    found = saver.get_tuple(config)
    assert found is not None
    writes = [value for _, _, value in found.pending_writes or ()]
    return len(found.checkpoint["channel_values"]["messages"]), writes


def _offered(saver: PlumbSaver, threads: ThreadPoolExecutor, head: Any, *writes: Any) -> Any:
    """Writes that wait for their put."""
    _learn(saver)
    call = threads.submit(saver.put_writes, head, list(writes), "task")
    _await(lambda: saver._core.paces._offers)
    return call


def _asked(checkpoint_id: str, path: str = "") -> WritesRequest:
    return WritesRequest(STREAM, checkpoint_id, [("a", 1)], "t", path, PlumbSerializer(), None)


def test_a_put_that_waits_is_learnt_from() -> None:
    paces = Paces()
    assert paces.offer(_asked("a")) is None
    with paces.put_on(STREAM, "a", flying=1):
        paces.stored(_asked("a"))
    assert paces.offer(_asked("b", "another kind of task")) is None
    offer = paces.offer(_asked("c"))
    assert offer is not None
    assert paces.offer(_asked("c")) is None, "two tasks write"
    assert offer.outcome.result() is False
    assert not paces.withdraw(offer)
    with paces.put_on(STREAM, "c", flying=2) as taken:
        assert taken is None
        paces.stored(_asked("c"))
    assert paces.offer(_asked("d")) is None, "two tasks wrote"
    with paces.put_on(STREAM, "d", flying=1):
        paces.stored(_asked("d"))
    with paces.put_on(STREAM, "e", flying=0):
        assert paces.offer(_asked("e")) is None, "the put is under way"
    with paces.offered(_asked("f")) as offer, paces.put_on(STREAM, "f", flying=2) as taken:
        assert taken is None
    assert offer is not None
    assert offer.outcome.result() is False
    with paces.offered(_asked("g")) as offer:
        assert offer is not None
    assert paces.offer(_asked("h")) is None, "no put came"


def test_one_statement_stores_both(saver: PlumbSaver, threads: ThreadPoolExecutor) -> None:
    head = _put(saver, CONFIG, 1)
    seen = _seen(saver)
    call = _offered(saver, threads, head, ("messages", [MESSAGES[1]]), ("n", 1))
    newest = _put(saver, head, 2)
    call.result()
    assert seen == ["both"]
    assert _stored(saver, head) == (1, [[MESSAGES[1]], 1])
    assert _stored(saver, CONFIG) == (2, [])
    assert _stored(saver, newest) == (2, [])
    assert not saver._core.paces._offers


async def test_and_so_it_is_in_a_loop(saver: PlumbSaver) -> None:
    head = await asyncio.to_thread(_put, saver, CONFIG, 1)
    calls, inner = list[int](), saver.database.asend

    async def asend(batch: Any) -> Any:
        calls.append(1)
        return await inner(batch)

    saver.database.asend = asend  # type: ignore[method-assign]
    _learn(saver)
    config: Any = {"configurable": {"checkpoint_ns": "", **head["configurable"]}}
    new = _checkpoint(MESSAGES[:2], 2)
    await asyncio.gather(
        saver.aput_writes(head, [("n", 1)], "task"),
        saver.aput(config, new, {"source": "loop", "step": 2}, {"messages": 2}),
    )
    assert len(calls) == 1
    assert await asyncio.to_thread(_stored, saver, head) == (1, [1])
    assert await asyncio.to_thread(_stored, saver, CONFIG) == (2, [])
    _learn(saver)
    config = {"configurable": {**config["configurable"], "checkpoint_id": new["id"]}}
    late = asyncio.create_task(saver.aput_writes(config, [("n", 2)], "late"))
    await asyncio.sleep(0)
    assert saver._core.paces._offers
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    assert not saver._core.paces._offers
    await saver.aclose()


def test_writes_that_nobody_follows_are_stored(
    saver: PlumbSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = _put(saver, CONFIG, 1)
    monkeypatch.setattr(pace, "WAIT_S", 0.001)
    seen = _seen(saver)
    _learn(saver)
    saver.put_writes(head, [("a", 1)], "t1")
    saver.put_writes(head, [("a", 2)], "t2")
    _learn(saver)
    asyncio.run(_both(saver, head))
    assert seen == ["writes"] * 2
    assert sorted(_stored(saver, head)[1]) == [1, 2, 3]


async def _both(saver: PlumbSaver, head: Any) -> None:
    await saver.aput_writes(head, [("a", 3)], "t3")
    await saver.aclose()


def test_another_task_frees_the_first(saver: PlumbSaver, threads: ThreadPoolExecutor) -> None:
    head = _put(saver, CONFIG, 1)
    seen = _seen(saver)
    call = _offered(saver, threads, head, ("a", 1))
    saver.put_writes(head, [("a", 2)], "task-2")
    call.result()
    _put(saver, head, 2)
    assert seen == ["writes", "writes", "put"]
    assert sorted(_stored(saver, head)[1]) == [1, 2]


def test_writes_outlive_a_stale_put(saver: PlumbSaver, threads: ThreadPoolExecutor) -> None:
    head = _put(saver, CONFIG, 1)
    _put(saver, head, 2)
    seen = _seen(saver)
    call = _offered(saver, threads, head, ("a", 1))
    with pytest.raises(StaleWriter):
        _put(saver, head, 3)
    call.result()
    assert seen == ["both", "writes", "put"]
    assert _stored(saver, head) == (1, [1])
    assert _stored(saver, CONFIG)[0] == 2


def test_a_refused_type_is_its_tasks_fault(saver: PlumbSaver, threads: ThreadPoolExecutor) -> None:
    head = _put(saver, CONFIG, 1)
    call = _offered(saver, threads, head, ("messages", [MESSAGES[1]]), ("a", Unknown()))
    _put(saver, head, 2)
    with pytest.raises(TypeRefused):
        call.result()
    assert _stored(saver, head) == (1, [])
    assert _stored(saver, CONFIG) == (2, [])


def test_what_another_stored_first_stays(saver: PlumbSaver, threads: ThreadPoolExecutor) -> None:
    head = _put(saver, CONFIG, 1)
    saver.put_writes(head, [("a", 1)], "task")
    saver._core.paces._known.pop(STREAM)
    seen = _seen(saver)
    call = _offered(saver, threads, head, ("a", 8), ("b", 2))
    _put(saver, head, 2)
    call.result()
    assert seen == ["both", "writes", "writes"]
    assert _stored(saver, head) == (1, [1, 2])
    assert _stored(saver, CONFIG) == (2, [])


def test_under_another_right_each_stores_its_own(
    saver: PlumbSaver, threads: ThreadPoolExecutor
) -> None:
    head = _put(saver, CONFIG, 1)
    seen = _seen(saver)
    call = _offered(saver, threads, head, ("a", 1))
    with saver.claim("t"):
        _put(saver, head, 2)
    with pytest.raises(Exception, match="claimed"):
        call.result()
    assert seen == ["writes", "put"]


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_connection_leaves_the_writes_to_their_task(
    saver: PlumbSaver, threads: ThreadPoolExecutor, *, after: bool
) -> None:
    head = _put(saver, CONFIG, 1)
    call = _offered(saver, threads, head, ("messages", [MESSAGES[1]]))
    inner, cut = saver.database.send, list[int]()

    def send(batch: Any) -> Any:
        if cut:
            return inner(batch)
        cut.append(1)
        if after:
            inner(batch)
        raise StoreUnavailable("cut")

    saver.database.send = send  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        _put(saver, head, 2)
    call.result()
    assert _stored(saver, head) == (1, [[MESSAGES[1]]])
    assert _stored(saver, CONFIG)[0] == (2 if after else 1)


def test_a_line_of_single_tasks_and_one_of_many(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    def work(state: State) -> dict[str, Any]:
        return {"log": [str(len(state["log"]))]}

    made = StateGraph(State)
    made.add_node("work", work)
    made.add_node("branch", lambda _: {"log": ["b"]})
    made.add_edge(START, "work")
    made.add_conditional_edges(
        "work",
        lambda s: "work" if len(s["log"]) < 20 else [Send("branch", s)] * 4,
        ["work", "branch"],
    )
    made.add_edge("branch", END)
    seen = _seen(saver)
    graph: Any = made.compile(checkpointer=saver)
    graph.invoke({"log": []}, CONFIG, durability="sync")
    assert seen.count("writes") + seen.count("both") == 25
    assert seen.count("put") + seen.count("both") == 23
    assert len(graph.get_state(CONFIG).values["log"]) == 24
    with psycopg.connect(postgres_url) as connection:
        sql = f'SELECT count(*) FROM "{schema}".write'
        assert connection.execute(sql).fetchone() == (25,)
