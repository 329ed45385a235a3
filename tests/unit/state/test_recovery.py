"""Nothing accepted is lost: accepted runs, crashed owners, retries, parking."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import copy_context
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph

from plumbgraph.errors import ClaimLost
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver
from plumbgraph.state.recovery import RecoveryRules

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}}
NOW = RecoveryRules(grace_s=0, backoff_s=0)


class State(TypedDict):
    log: Annotated[list[str], lambda a, b: [*a, *b]]


class Flaky:
    """A graph of two steps whose second fails as often as told."""

    def __init__(self, saver: PlumbSaver) -> None:
        self.failures = 0
        graph = StateGraph(State)
        graph.add_node("a", lambda _: {"log": ["a"]})
        graph.add_node("b", self._second)
        graph.add_edge(START, "a")
        graph.add_edge("a", "b")
        graph.add_edge("b", END)
        self.made = graph.compile(checkpointer=saver)

    def _second(self, state: State) -> dict[str, list[str]]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not today")
        return {"log": ["b"]}


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema) as made:
        yield made


def _crash(saver: PlumbSaver, flaky: Flaky) -> None:
    """Leave a thread as a killed owner does: half done, its lease not released."""
    flaky.failures = 1
    with pytest.raises(RuntimeError, match="not today"):
        flaky.made.invoke({"log": ["in"]}, CONFIG)
    sql = "UPDATE {schema}.thread SET owner = 'dead', epoch = 1, lease_until = now()"
    saver._core.db.send((Statement(sql),))


def _outcomes(found: Any) -> list[tuple[str, str]]:
    return [(each.thread_id, each.outcome) for each in found]


def test_a_crashed_thread_is_finished(saver: PlumbSaver) -> None:
    flaky = Flaky(saver)
    _crash(saver, flaky)
    assert saver.run_status("t").state == "crashed"
    assert saver.run_status("t").next == ("b",)
    assert _outcomes(saver.recover(lambda: flaky.made, NOW)) == [("t", "finished")]
    assert flaky.made.get_state(CONFIG).values["log"] == ["in", "a", "b"]
    assert saver.run_status("t").state == "finished"
    assert saver.recover(lambda: flaky.made, NOW) == []


def test_an_owner_who_slept_past_his_lease_leaves_the_run_to_others(saver: PlumbSaver) -> None:
    flaky = Flaky(saver)
    expire = "UPDATE {schema}.thread SET lease_until = now() - interval '1 s'"

    def asleep() -> None:
        with saver.claim("t", ttl_s=60):
            flaky.failures = 1
            with pytest.raises(RuntimeError, match="not today"):
                flaky.made.invoke({"log": ["in"]}, CONFIG)
            saver.database.send((Statement(expire),))
            flaky.made.invoke(None, CONFIG, durability="sync")

    with pytest.raises(ClaimLost):
        copy_context().run(asleep)
    assert saver.run_status("t").state == "crashed"
    assert _outcomes(saver.recover(lambda: flaky.made, NOW)) == [("t", "finished")]
    assert flaky.made.get_state(CONFIG).values["log"] == ["in", "a", "b"]


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_an_owner_who_is_told_to_stop_leaves_the_run_to_others(
    saver: PlumbSaver, signal: type[BaseException]
) -> None:
    flaky = Flaky(saver)

    def stopped() -> None:
        with saver.claim("t", ttl_s=60):
            flaky.failures = 1
            with pytest.raises(RuntimeError, match="not today"):
                flaky.made.invoke({"log": ["in"]}, CONFIG)
            raise signal

    with pytest.raises(signal):
        copy_context().run(stopped)
    assert saver.run_status("t").state == "crashed"
    assert _outcomes(saver.recover(lambda: flaky.made, NOW)) == [("t", "finished")]
    assert saver.run_status("t").state == "finished"


def test_accepted_runs_begin_once(saver: PlumbSaver) -> None:
    flaky = Flaky(saver)
    copy_context().run(saver.accept, "t", {"log": ["one"]})
    copy_context().run(saver.accept, "t", {"log": ["two"]})
    assert saver.run_status("t").state == "crashed"
    assert saver.run_status("t").accepted == 2
    assert _outcomes(saver.recover(lambda: flaky.made, NOW)) == [("t", "finished")]
    expected = ["one", "a", "b", "two", "a", "b"]
    assert flaky.made.get_state(CONFIG).values["log"] == expected
    assert saver.recover(lambda: flaky.made, NOW) == []


def test_a_run_that_starts_uses_its_record_up(saver: PlumbSaver) -> None:
    flaky = Flaky(saver)

    def job() -> None:
        saver.accept("t", {"log": ["one"]})
        flaky.made.invoke({"log": ["one"]}, CONFIG)

    copy_context().run(job)
    assert saver.run_status("t").accepted == 0
    assert saver.recover(lambda: flaky.made, NOW) == []


def test_a_thread_that_keeps_failing_is_parked(saver: PlumbSaver) -> None:
    flaky = Flaky(saver)
    _crash(saver, flaky)
    flaky.failures = 99
    rules = RecoveryRules(attempts=2, backoff_s=0, grace_s=0)
    assert _outcomes(saver.recover(lambda: flaky.made, rules)) == [("t", "failed")]
    assert _outcomes(saver.recover(lambda: flaky.made, rules)) == [("t", "parked")]
    status = saver.run_status("t")
    assert status.state == "parked"
    assert status.reason == "RuntimeError: not today"
    assert saver.recover(lambda: flaky.made, rules) == []
    saver.unpark("t")
    flaky.failures = 0
    assert saver.run_status("t").state == "runnable"
    assert _outcomes(saver.recover(lambda: flaky.made, rules)) == [("t", "finished")]


def test_a_failed_thread_waits(saver: PlumbSaver) -> None:
    flaky = Flaky(saver)
    _crash(saver, flaky)
    flaky.failures = 1
    rules = RecoveryRules(backoff_s=60, grace_s=0)
    assert _outcomes(saver.recover(lambda: flaky.made, rules)) == [("t", "failed")]
    assert saver.recover(lambda: flaky.made, rules) == []


def test_unclaimed_threads_are_taken_up_when_asked(saver: PlumbSaver) -> None:
    flaky = Flaky(saver)
    flaky.failures = 1
    with pytest.raises(RuntimeError):
        flaky.made.invoke({"log": []}, CONFIG)
    assert saver.run_status("t").state == "runnable"
    assert saver.recover(lambda: flaky.made, NOW) == []
    rules = RecoveryRules(idle_s=0)
    assert _outcomes(saver.recover(lambda: flaky.made, rules)) == [("t", "finished")]
    assert saver.recover(lambda: flaky.made, rules) == []


async def test_async_recovery(postgres_url: str, schema: str) -> None:
    async with PlumbSaver(postgres_url, schema=schema) as saver:
        flaky = Flaky(saver)
        await saver.aaccept("t", {"log": ["one"]})
        assert _outcomes(await saver.arecover(lambda: flaky.made, NOW)) == [("t", "finished")]
        assert [each.status for each in await saver.athreads()] == ["finished"]


def test_threads_are_listed_newest_first(saver: PlumbSaver) -> None:
    flaky = Flaky(saver)
    for name in ("x", "y"):
        flaky.made.invoke({"log": []}, {"configurable": {"thread_id": name}})
    found = saver.threads()
    assert [(each.thread_id, each.steps, each.status) for each in found] == [
        ("y", 2, "finished"),
        ("x", 2, "finished"),
    ]
    assert len(saver.threads(limit=1)) == 1
