"""Seeded faults of rough days: retries, timeouts, cancels, torn logs; see `testing.faults`."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from langchain_core.tools import tool
from langgraph.types import RetryPolicy

from plumbgraph.errors import (
    MemoryExpired,
    SkillNotFound,
    StoreUnavailable,
    ThreadBusy,
    WorkspaceQuota,
)
from plumbgraph.testing.faults import FAULTS, Stage, dies, fault, plain_graph
from plumbgraph.testing.script import call
from plumbgraph.testing.scripted import ScriptedChatModel


def _raising(stage: Stage, error: BaseException) -> None:
    @tool
    def act(q: str) -> str:
        """Do something that cannot be done."""
        raise error from ValueError(q)

    stage.ask(stage.agent([call("look", q="a"), call("act", q="b"), "done"], [act]))


@fault("skill_error", 4)
def a_skill_that_is_not_there(stage: Stage) -> None:
    """A skill that is not there."""
    _raising(stage, SkillNotFound("There is no skill 'pdf'."))


@fault("store_unavailable", 4)
def a_database_that_does_not_answer(stage: Stage) -> None:
    """A database that does not answer."""
    _raising(stage, StoreUnavailable("Redis at 'cache:6379' did not answer."))


@fault("memory_error", 4)
def a_memory_that_expired(stage: Stage) -> None:
    """A memory that expired."""
    _raising(stage, MemoryExpired("'color' expired yesterday."))


@fault("workspace_error", 4)
def too_many_files(stage: Stage) -> None:
    """Too many files."""
    _raising(stage, WorkspaceQuota("The workspace holds 30,000 files."))


@fault("two_writers", 4)
def a_thread_that_is_busy(stage: Stage) -> None:
    """A thread that is busy."""
    _raising(stage, ThreadBusy("Another process owns thread 't'."))


@fault("tool_error", 4)
def a_tool_that_takes_too_long(stage: Stage) -> None:
    """A tool that takes too long."""
    _raising(stage, TimeoutError("no answer within 30 s"))


class AuthenticationError(Exception):
    """As model providers' packages name it."""


@fault("model_error", 1)
def a_key_that_is_refused(stage: Stage) -> None:
    """A key that is refused."""
    stage.ask(stage.agent([AuthenticationError("401: invalid api key")]))


class BadRequestError(Exception):
    """As model providers' packages name it."""


@fault("model_error", 5)
def a_context_that_is_too_long(stage: Stage) -> None:
    """A context that is too long."""
    looks = [call("look", q="a"), call("look", q="b")]
    stage.ask(stage.agent([*looks, BadRequestError("400: 210,000 tokens > 200,000 maximum")]))


@fault("looping", 2)
def a_tool_that_fails_again_and_again(stage: Stage) -> None:
    """A tool that fails again and again."""
    from langchain_core.tools import ToolException  # noqa: PLC0415 - beside its use

    @tool
    def fetch(q: str) -> str:
        """Fetch a page."""
        raise ToolException(f"cannot reach {q}")

    fetch.handle_tool_error = True
    pages = [call("fetch", q=f"page {letter}") for letter in "abcdefgh"]
    stage.ask(stage.agent([*pages, "I give up"], [fetch], max_steps=40))


@fault("failed", 2)
def retries_that_were_used_up(stage: Stage) -> None:
    """Retries that were used up."""
    _retried(stage, times=9)


@fault("finished", 2)
def a_retry_that_helped(stage: Stage) -> None:
    """A retry that helped."""
    _retried(stage, times=2)


def _retried(stage: Stage, *, times: int) -> None:
    left = iter(range(times))

    def flaky(_: Any) -> Any:
        if next(left, None) is not None:
            raise ValueError("not yet")
        return {"value": 2}

    graph = plain_graph({"a": lambda _: {"value": 1}}, [])
    policy = RetryPolicy(max_attempts=3, initial_interval=0.001, retry_on=ValueError)
    graph.add_node("b", flaky, retry_policy=policy)
    graph.add_edge("a", "b")
    with stage.watched():
        graph.compile(checkpointer=stage.saver).invoke({"value": 0}, stage.config)


@fault("failed", 2)
def a_subgraph_that_raises(stage: Stage) -> None:
    """A subgraph that raises."""

    def wrong(_: Any) -> Any:
        raise KeyError("price")

    inner = plain_graph({"first": lambda _: {}, "second": wrong}, [("first", "second")]).compile()
    graph = plain_graph({"before": lambda _: {}, "inner": inner}, [("before", "inner")])
    with stage.watched():
        graph.compile(checkpointer=stage.saver).invoke({"value": 0}, stage.config)


@fault("failed", 1)
def a_node_that_returns_nonsense(stage: Stage) -> None:
    """A node that returns nonsense."""
    graph = plain_graph({"a": lambda _: 42}, [])
    with stage.watched():
        graph.compile(checkpointer=stage.saver).invoke({"value": 0}, stage.config)


@fault("cancelled", 2)
def a_run_that_was_cancelled(stage: Stage) -> None:
    """A run that was cancelled."""

    async def long(_: Any) -> Any:
        await asyncio.sleep(60)

    graph = plain_graph({"a": lambda _: {"value": 1}}, [])
    graph.add_node("b", long)
    graph.add_edge("a", "b")
    compiled = graph.compile(checkpointer=stage.saver)

    async def call_it() -> None:
        with stage.watched():
            await asyncio.wait_for(compiled.ainvoke({"value": 0}, stage.config), 0.5)

    asyncio.run(call_it())


@fault("cancelled", 2, log_only=False)
def a_stream_nobody_read_to_its_end(stage: Stage) -> None:
    """A stream nobody read to its end."""
    nodes = {"a": lambda _: {"value": 1}, "b": lambda _: {"value": 2}}
    compiled = plain_graph(nodes, [("a", "b")]).compile(checkpointer=stage.saver)
    with stage.watched():
        stream = compiled.stream({"value": 0}, stage.config)
        next(stream)
        stream.close()


def child_dies_at_once(stage: Stage) -> None:
    """In the child: the first node kills the process."""

    def end(_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    with stage.watched():
        graph = plain_graph({"a": end}, []).compile(checkpointer=stage.saver)
        graph.invoke({"value": 0}, stage.config)


@fault("crashed", 1)
def killed_in_the_first_node(stage: Stage) -> None:
    """Killed in the first node."""
    dies(stage, "child_dies_at_once")


@fault("crashed", 4)
def killed_while_a_line_was_written(stage: Stage) -> None:
    """Killed while a line was written."""
    dies(stage, "child_dies_in_tool")
    whole = stage.log.read_bytes()
    stage.log.write_bytes(whole + whole.splitlines()[-1][:50])


@fault("finished", 3)
def a_loop_next_door(stage: Stage) -> None:
    """A loop in another thread of the same log."""
    other = Stage(stage.folder, thread_id=f"{stage.thread_id}-other")
    FAULTS["same_call_again_and_again"].play(other)
    FAULTS["all_is_well"].play(stage)


@fault("finished", 6)
def a_new_question_after_an_error(stage: Stage) -> None:
    """A new question after an error: the last question counts."""
    FAULTS["a_tool_raises"].play(stage)
    fresh = Stage(stage.folder, stage.postgres_url, stage.schema, thread_id=stage.thread_id)
    fresh.__dict__["saver"] = stage.saver
    fresh.ask(fresh.agent(ScriptedChatModel(["all is well now"])), "and now?")


@fault("finished", 3, "redis")
def a_conflict_that_was_settled(stage: Stage) -> None:
    """A conflict that was settled in the same turn."""
    from plumbgraph.memory import Fact, MemoryStore  # noqa: PLC0415 - needs a server

    assert stage.redis_url is not None
    with MemoryStore(stage.redis_url, tenant=stage.thread_id) as store:

        @tool
        def note(color: str) -> str:
            """Remember colors, and settle what contradicts."""
            for source, each in (("ann", "red"), ("bob", color)):
                fact = Fact("car", "color", each, source=source, cardinality="one")
                store.remember(("facts",), fact, policy="contest")
            store.resolve(("facts",), "car", "color", color)
            return color

        stage.ask(stage.agent([call("note", color="blue"), "done"], [note]))
