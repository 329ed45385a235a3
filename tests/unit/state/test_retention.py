"""What retention keeps, what goes, and that the space comes back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import interrupt

from plumbgraph.cli.maintain import _leads
from plumbgraph.clock import SYSTEM
from plumbgraph.errors import SettingsError, ThreadNotFound
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver, Retention
from plumbgraph.state.claims import UPKEEP, default_owner
from plumbgraph.state.retention import Row, age_s, to_keep


class State(TypedDict):
    messages: Annotated[list[Any], add_messages]
    n: int


def _config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 500}


def _run(saver: PlumbSaver, thread: str, steps: int = 8, *, ask: bool = False) -> Any:
    def work(state: State) -> dict[str, Any]:
        n = state["n"] + 1
        return {"messages": [AIMessage(f"{n} " + "word " * 150, id=f"m{n}")], "n": n}

    def human(state: State) -> dict[str, Any]:
        return {"n": interrupt("go on?")}

    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_node("human", human)
    graph.add_edge(START, "work")
    end = "human" if ask else END
    graph.add_conditional_edges("work", lambda s: "work" if s["n"] < steps else end)
    made = graph.compile(checkpointer=saver)
    made.invoke({"messages": [], "n": 0}, _config(thread))
    return made


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema) as made:
        yield made


def _count(saver: PlumbSaver, thread: str) -> int:
    return len(list(saver.list(_config(thread))))


def _row(at: int, *, head: bool = False, asks: bool = False) -> Row:
    return Row(1, "", bytes([at]) * 16, head, asks, frozenset())


def test_rules_decide_without_a_database() -> None:
    rows = [_row(at, head=at == 4, asks=at == 1) for at in range(5)]

    def kept(rules: Retention) -> list[int]:
        return sorted(key[0] for _, key in to_keep(rows, rules, 0.0))

    assert kept(Retention()) == [0, 1, 2, 3, 4]
    assert kept(Retention(keep_last=2)) == [1, 3, 4]
    assert kept(Retention(keep_last=2, keep_interrupts=False)) == [3, 4]
    assert kept(Retention(ttl_s=1)) == [0, 1, 2, 3, 4]
    with pytest.raises(SettingsError):
        Retention(keep_last=0)
    with pytest.raises(SettingsError):
        Retention(ttl_s=-1)


def test_an_id_tells_its_age() -> None:
    from langgraph.checkpoint.base.id import uuid6

    now = SYSTEM.now()
    age = age_s(uuid6().bytes, now)
    assert age is not None
    assert abs(age) < 5
    assert age_s(b"no uuid", now) is None


def test_sweeping_thins_threads_by_their_rules(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    graph = _run(saver, "own")
    _run(saver, "other")
    saver.retain("own", Retention(keep_last=3))
    found = saver.sweep(dry_run=True)
    assert found.threads_thinned == ("own",)
    assert found.checkpoints_removed == 7
    assert _count(saver, "own") == 10
    assert saver.sweep() == found
    assert _count(saver, "own") == 3
    assert _count(saver, "other") == 10
    with PlumbSaver(postgres_url, schema=schema, retention=Retention(keep_last=1)) as default:
        assert default.sweep().threads_thinned == ("other",)
        assert _count(default, "own") == 3
    assert len(graph.get_state(_config("own")).values["messages"]) == 8
    saver.retain("own", None)
    with pytest.raises(ThreadNotFound):
        saver.retain("nobody", None)


def test_questions_to_humans_stay(saver: PlumbSaver) -> None:
    from langgraph.types import Command

    graph = _run(saver, "t", ask=True)
    asked = graph.get_state(_config("t")).config["configurable"]["checkpoint_id"]
    graph.invoke(Command(resume=1), _config("t"))
    graph.invoke({"n": 8}, _config("t"))
    saver.retain("t", Retention(keep_last=1))
    saver.sweep()
    ids = [s.config["configurable"]["checkpoint_id"] for s in graph.get_state_history(_config("t"))]
    assert asked in ids
    assert len(ids) == 2


def test_whole_threads_expire_and_activity_renews_them(saver: PlumbSaver) -> None:
    _run(saver, "idle")
    _run(saver, "busy")
    _run(saver, "claimed")
    old = "UPDATE {schema}.stream SET touched_at = now() - interval '1 hour'"
    saver._core.db.send((Statement(old),))
    graph = _run(saver, "busy")
    for thread in ("idle", "busy", "claimed"):
        saver.retain(thread, Retention(ttl_s=60))
    with saver.claim("claimed"):
        assert saver.sweep().threads_removed == ("idle",)
    assert _count(saver, "idle") == 0
    assert _count(saver, "busy") == 20
    assert len(graph.get_state(_config("busy")).values["messages"]) == 8
    graph.invoke({"messages": [], "n": 0}, _config("idle"))
    assert len(graph.get_state(_config("idle")).values["messages"]) == 8


def test_a_live_run_survives_being_pruned(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    with PlumbSaver(postgres_url, schema=schema) as other:

        def work(state: State) -> dict[str, Any]:
            n = state["n"] + 1
            if n % 5 == 0:
                other.prune(["t"])
            return {"messages": [AIMessage(f"{n} " + "word " * 150, id=f"m{n}")], "n": n}

        graph = StateGraph(State)
        graph.add_node("work", work)
        graph.add_edge(START, "work")
        graph.add_conditional_edges("work", lambda s: "work" if s["n"] < 40 else END)
        made = graph.compile(checkpointer=saver)
        made.invoke({"messages": [], "n": 0}, _config("t"), durability="async")
        other.prune(["t"])
        with PlumbSaver(postgres_url, schema=schema) as cold:
            found = cold.get_tuple(_config("t"))
            assert found is not None
            assert len(found.checkpoint["channel_values"]["messages"]) == 40


def test_space_is_used_again(saver: PlumbSaver, postgres_url: str, schema: str) -> None:
    tables, sizes = ("element", "checkpoint", "write"), []
    for _ in range(4):
        _run(saver, "t", 60)
        saver.prune(["t"], strategy="delete")
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            for table in tables:
                connection.execute(f'VACUUM (TRUNCATE off) "{schema}".{table}')
        told = saver.size().table_bytes
        sizes.append(sum(told[table] for table in tables))
    assert max(sizes[1:]) <= sizes[0] * 1.1


def test_size_names_the_largest_threads(saver: PlumbSaver) -> None:
    _run(saver, "small", 2)
    _run(saver, "large", 40)
    saver.copy_thread("large", "copy")
    found = saver.size()
    assert {each.thread_id for each in found.threads[:2]} == {"large", "copy"}
    assert found.threads[0].checkpoints == 42
    assert found.threads[0].shared_bytes > 0
    assert found.threads[2].shared_bytes == 0
    assert found.table_bytes["element"] > 0


async def test_async_sweeping(postgres_url: str, schema: str) -> None:
    async with PlumbSaver(postgres_url, schema=schema, retention=Retention(keep_last=1)) as saver:
        config: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        from langgraph.checkpoint.base import empty_checkpoint

        head = await saver.aput(config, empty_checkpoint(), {"step": 0}, {})
        await saver.aput(head, empty_checkpoint(), {"step": 1}, {})
        assert (await saver.asweep()).checkpoints_removed == 1
        assert (await saver.asize()).threads[0].checkpoints == 1


def test_leases_that_nobody_needs_are_ended(saver: PlumbSaver) -> None:
    _run(saver, "done")
    graph = _run(saver, "half", ask=True)
    for thread in ("done", "half", "begun"):
        left = "UPDATE {schema}.thread SET owner = 'gone', lease_until = now() - interval '1 s'"
        if thread == "begun":
            saver.accept(thread, {"messages": [], "n": 0})
        saver.database.send((Statement(left + f" WHERE thread_id = '{thread}'"),))
    assert saver.sweep(dry_run=True).leases_freed == ()
    assert saver.sweep().leases_freed == ("done", "half")
    assert saver.run_status("begun").state == "crashed", "what tells of a crash stays"
    assert saver.sweep().leases_freed == ()
    assert graph.get_state(_config("half")).next == ("human",)


def test_one_process_maintains_at_a_time(saver: PlumbSaver, postgres_url: str, schema: str) -> None:
    _run(saver, "t")
    with PlumbSaver(postgres_url, schema=schema) as other:
        first: Any = SimpleNamespace(saver=saver)
        second: Any = SimpleNamespace(saver=other)
        with _leads(first) as leads, _leads(second) as also:
            assert (leads, also) == (True, False)
            assert saver.tenants() == ["default"], "the lease is nobody's thread"
            with psycopg.connect(postgres_url) as connection:
                # An open transaction would keep autovacuum from what the round removes.
                sql = (
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'plumbgraph' "
                    "AND datname = current_database() AND state LIKE 'idle in transaction%'"
                )
                assert connection.execute(sql).fetchone() == (0,)
        with _leads(second) as leads:
            assert leads


def test_a_maintainer_that_died_is_followed_at_once(
    saver: PlumbSaver, postgres_url: str, schema: str
) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    dead = ":".join([*default_owner().split(":")[:-2], gone.stdout.strip(), "abc"])
    lease = saver.for_tenant(UPKEEP).claim("maintain", owner=dead)
    with lease, PlumbSaver(postgres_url, schema=schema) as other:
        second: Any = SimpleNamespace(saver=other)
        with _leads(second) as leads:
            assert leads
