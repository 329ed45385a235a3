"""Seeded faults: real graphs that go wrong in a known way, to check that a timeline says so.

Each fault declares the verdict's code and step that must come out::

    for fault in FAULTS.values():
        fault.play(stage)
        assert (verdict.code, verdict.step) == (fault.code, fault.step)
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from typing_extensions import TypedDict

from plumbgraph.testing.script import call
from plumbgraph.testing.scripted import ScriptedChatModel
from plumbgraph.tracing.handler import trace


@dataclass
class Stage:
    """Where a fault plays.

    Attributes:
        folder: For the event log and files.
        postgres_url: With one, checkpoints are kept by PlumbSaver and survive a crash.
        schema: Its schema.
        redis_url: For faults of the memory.
    """

    folder: Path
    postgres_url: str | None = None
    schema: str = "plumbgraph"
    redis_url: str | None = None
    thread_id: str = "t"

    @property
    def log(self) -> Path:
        """The event log."""
        return self.folder / "events.jsonl"

    @property
    def config(self) -> dict[str, Any]:
        """The run's config."""
        return {"configurable": {"thread_id": self.thread_id}}

    @cached_property
    def saver(self) -> Any:
        """The checkpointer."""
        if self.postgres_url is None:
            return InMemorySaver()
        from plumbgraph.state import PlumbSaver  # noqa: PLC0415 - needs a server

        return PlumbSaver(self.postgres_url, schema=self.schema)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Log what happens, and let errors of the fault pass."""
        with trace(path=self.log), suppress(Exception):
            yield

    def agent(self, script: Any, tools: Any = (), **parts: Any) -> Any:
        """An agent whose model plays a script by turns, so that a resumed process goes on."""
        from plumbgraph.agents import create_agent  # noqa: PLC0415 - higher than this package

        model = script if hasattr(script, "invoke") else scripted(script)
        return create_agent(model, [*TOOLS, *tools], checkpointer=self.saver, **parts)

    def ask(self, agent: Any, text: str = "do it") -> Any:
        """Ask it, logged."""
        answers: list[Any] = [None]
        with self.watched():
            answers.append(agent.invoke({"messages": [("user", text)]}, self.config))
        return answers[-1]

    def go_on(self, agent: Any, value: Any = None) -> None:
        """Resume, logged."""
        with self.watched():
            agent.invoke(value, self.config)


Play: TypeAlias = Callable[[Stage], None]


@dataclass(frozen=True)
class Fault:
    """One way to go wrong, and what the verdict must say.

    Attributes:
        needs: `postgres` or `redis`, for faults that play on them.
        log_only: Whether the log alone tells it.
    """

    name: str
    code: str
    step: int
    play: Play
    needs: frozenset[str] = field(default_factory=frozenset)
    log_only: bool = True


FAULTS: dict[str, Fault] = {}
"""Every fault by its name."""


def fault(code: str, step: int, *needs: str, log_only: bool = True) -> Callable[[Play], Play]:
    """Register a play under its function's name."""

    def keep(play: Play) -> Play:
        name = play.__name__
        FAULTS[name] = Fault(name, code, step, play, frozenset(needs), log_only)
        return play

    return keep


def scripted(script: Any, **options: Any) -> ScriptedChatModel:
    """A model that plays by turns."""
    return ScriptedChatModel(list(script), replay="turn", **options)


def dies(stage: Stage, name: str) -> None:
    """Play the function of this name in a process of its own that does not survive it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["plumbgraph.testing.faults_crash", "plumbgraph.agents.create"])
    told = (str(stage.folder), stage.postgres_url, stage.schema, stage.thread_id, name)
    child = context.Process(target=_in_child, args=told)
    child.start()
    child.join(120)
    if child.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"{name} ended with {child.exitcode} and was to be killed")


def _in_child(folder: str, url: str | None, schema: str, thread_id: str, name: str) -> None:
    from plumbgraph.testing import (  # noqa: PLC0415 - they import this
        faults_crash,
        faults_domains,
        faults_rough,
    )

    parts = (faults_crash, faults_domains, faults_rough)
    play = next(getattr(part, name) for part in parts if hasattr(part, name))
    play(Stage(Path(folder), url, schema, thread_id=thread_id))


@tool
def look(q: str) -> str:
    """Look something up."""
    return f"found {q}"


@tool
def status(job: str) -> str:
    """Say how a job is doing."""
    return f"{job} is pending"


@tool
def search(q: str) -> str:
    """Search without success."""
    return f"no hit for {q}"


@tool
def broken(q: str) -> str:
    """Fail always."""
    raise RuntimeError(f"cannot read {q}")


@tool
def kill(q: str) -> str:
    """End this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)
    return q


TOOLS = (look, status, search, broken, kill)


@fault("finished", 3)
def all_is_well(stage: Stage) -> None:
    """All is well."""
    stage.ask(stage.agent([call("look", q="a"), "done"]))


@fault("finished", 41)
def polling_is_no_loop(stage: Stage) -> None:
    """Polling is no loop."""
    states = iter(range(20))

    @tool
    def progress() -> str:
        """Say how far it is."""
        return f"{next(states) * 5} %"

    stage.ask(stage.agent([*[call("progress")] * 20, "done"], [progress]))


@fault("looping", 2)
def same_call_again_and_again(stage: Stage) -> None:
    """Same call again and again."""
    stage.ask(stage.agent([*[call("status", job="a")] * 12, "done"], max_steps=20))


@fault("looping", 6)
def loop_after_good_work(stage: Stage) -> None:
    """Loop after good work."""
    good = [call("look", q="a"), call("look", q="b")]
    stage.ask(stage.agent([*good, *[call("status", job="a")] * 12], max_steps=30))


@fault("looping", 2)
def two_calls_in_turn(stage: Stage) -> None:
    """Two calls in turn."""
    pair = [call("status", job="a"), call("look", q="a")]
    stage.ask(stage.agent(pair * 8, max_steps=30))


@fault("looping", 4)
def five_calls_in_turn(stage: Stage) -> None:
    """Five calls in turn."""
    five = [call("status", job=name) for name in "abcde"]
    stage.ask(stage.agent([call("look", q="x"), *five * 4], max_steps=40))


@fault("looping", 2)
def only_a_number_changes(stage: Stage) -> None:
    """Only a number changes."""
    calls = [call("search", q=f"invoice {number}") for number in range(1000, 1014)]
    stage.ask(stage.agent([*calls, "done"], max_steps=40))


@fault("looping", 2)
def stopped_by_the_guard(stage: Stage) -> None:
    """Stopped by the guard."""
    from plumbgraph.tracing.guard import Guard  # noqa: PLC0415 - beside its use

    stage.ask(stage.agent([call("status", job="a")] * 40, guard=Guard(), max_steps=200))


@fault("looping", 2)
def loop_that_ended_by_itself(stage: Stage) -> None:
    """Loop that ended by itself."""
    stage.ask(stage.agent([*[call("status", job="a")] * 8, "I give up"]))


@fault("looping", 1)
def nodes_going_round(stage: Stage) -> None:
    """Nodes going round."""
    graph = plain_graph({"a": lambda _: {}, "b": lambda _: {}}, [("a", "b"), ("b", "a")])
    compiled = graph.compile(checkpointer=stage.saver)
    with stage.watched():
        compiled.invoke({"value": 1}, {**stage.config, "recursion_limit": 30})


@fault("stopped_by_budget", 7)
def too_many_turns(stage: Stage) -> None:
    """Too many turns."""
    from plumbgraph.tracing.guard import Guard  # noqa: PLC0415 - beside its use

    calls = [call("look", q=letter) for letter in "abcdefghij"]
    stage.ask(stage.agent(calls, guard=Guard(max_steps=3)))


@fault("stopped_by_budget", 5)
def too_many_dollars(stage: Stage) -> None:
    """Too many dollars."""
    from plumbgraph.tracing.costs import Costs  # noqa: PLC0415 - beside its use
    from plumbgraph.tracing.guard import Guard  # noqa: PLC0415 - beside its use

    calls = [call("look", q=letter) for letter in "abcdefghij"]
    agent = stage.agent(calls, guard=Guard(max_usd=0.5))
    stage.ask(agent.with_config(callbacks=[Costs(lambda _, __: 0.4)]))


@fault("stopped_by_budget", 12)
def a_long_way_over_the_limit(stage: Stage) -> None:
    """A long way over the limit."""
    calls = [call("look", q=letter) for letter in "abcdefghijkl"]
    stage.ask(stage.agent(calls, max_steps=12))


@fault("tool_error", 4)
def a_tool_raises(stage: Stage) -> None:
    """A tool raises."""
    stage.ask(stage.agent([call("look", q="a"), call("broken", q="b"), "done"]))


@fault("tool_error", 2)
def a_tool_answers_with_an_error(stage: Stage) -> None:
    """A tool answers with an error."""
    from langchain_core.tools import ToolException  # noqa: PLC0415 - beside its use

    @tool
    def refuse(q: str) -> str:
        """Refuse."""
        raise ToolException(f"{q} is not allowed")

    refuse.handle_tool_error = True
    stage.ask(stage.agent([call("refuse", q="a"), call("look", q="b"), "sorry"], [refuse]))


@fault("finished", 5)
def a_tool_that_works_the_second_time(stage: Stage) -> None:
    """A tool that works the second time."""
    from langchain_core.tools import ToolException  # noqa: PLC0415 - beside its use

    tries = iter([True, False])

    @tool
    def flaky(q: str) -> str:
        """Fail once."""
        if next(tries):
            raise ToolException("try again")
        return q

    flaky.handle_tool_error = True
    stage.ask(stage.agent([call("flaky", q="a"), call("flaky", q="a"), "done"], [flaky]))


@fault("model_error", 3)
def a_model_does_not_answer(stage: Stage) -> None:
    """A model does not answer."""
    stage.ask(stage.agent([call("look", q="a"), ConnectionError("no route to the model")]))


@fault("failed", 2)
def a_node_raises(stage: Stage) -> None:
    """A node raises."""
    graph = plain_graph({"a": lambda _: {}, "b": _raises}, [("a", "b")])
    with stage.watched():
        graph.compile(checkpointer=stage.saver).invoke({"value": 1}, stage.config)


def _raises(_: Any) -> Any:
    raise ValueError("this node cannot count")


class PlainState(TypedDict):
    """State of the graphs of plain nodes."""

    value: int


def plain_graph(nodes: dict[str, Callable[[Any], Any]], edges: list[tuple[str, str]]) -> Any:
    """A graph of plain nodes that starts with the first."""
    from langgraph.graph import START, StateGraph  # noqa: PLC0415 - beside its use

    graph: Any = StateGraph(PlainState)
    for name, node in nodes.items():
        graph.add_node(name, node)
    graph.add_edge(START, next(iter(nodes)))
    for first, second in edges:
        graph.add_edge(first, second)
    return graph
