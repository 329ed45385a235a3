"""Seeded faults of crashes, questions and refusals; see `plumbgraph.testing.faults`."""

from __future__ import annotations

import os
import signal
from typing import Any

from langchain_core.tools import tool
from langgraph.types import Command, Send, interrupt

from plumbgraph.errors import BlobMissing, PolicyDenied, VersionConflict
from plumbgraph.testing.faults import Stage, dies, fault, plain_graph
from plumbgraph.testing.script import call


def child_dies_in_tool(stage: Stage) -> None:
    """In the child: a tool kills the process."""
    stage.ask(stage.agent([call("look", q="a"), call("kill", q="b"), "done"]))


@fault("crashed", 4)
def killed_in_a_tool(stage: Stage) -> None:
    """Killed in a tool."""
    dies(stage, "child_dies_in_tool")


def child_dies_in_model(stage: Stage) -> None:
    """In the child: the model kills the process."""

    def answer(messages: Any) -> Any:
        if len(messages) > 2:  # noqa: PLR2004 - question, call, result
            os.kill(os.getpid(), signal.SIGKILL)
        return call("look", q="a")

    from plumbgraph.testing import ScriptedChatModel  # noqa: PLC0415 - beside its use

    stage.ask(stage.agent(ScriptedChatModel.from_messages(answer)))


@fault("crashed", 3)
def killed_in_the_model(stage: Stage) -> None:
    """Killed in the model."""
    dies(stage, "child_dies_in_model")


def child_dies_in_branch(stage: Stage) -> None:
    """In the child: one of several parallel branches kills the process."""

    def work(state: Any) -> Any:
        if state["value"] == 3:  # noqa: PLR2004 - the third of four
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    graph = plain_graph({"start": lambda _: {}, "work": work}, [])
    graph.add_conditional_edges("start", lambda _: [Send("work", {"value": n}) for n in range(4)])
    with stage.watched():
        graph.compile(checkpointer=stage.saver).invoke({"value": 0}, stage.config)


@fault("crashed", 2)
def killed_in_a_parallel_branch(stage: Stage) -> None:
    """Killed in a parallel branch."""
    dies(stage, "child_dies_in_branch")


def child_dies_in_subgraph(stage: Stage) -> None:
    """In the child: a node of a subgraph kills the process."""

    def end(_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    inner = plain_graph({"first": lambda _: {}, "second": end}, [("first", "second")]).compile()
    graph = plain_graph({"before": lambda _: {}, "inner": inner}, [("before", "inner")])
    with stage.watched():
        graph.compile(checkpointer=stage.saver).invoke({"value": 0}, stage.config)


@fault("crashed", 2)
def killed_in_a_subgraph(stage: Stage) -> None:
    """Killed in a subgraph."""
    dies(stage, "child_dies_in_subgraph")


def child_dies_again(stage: Stage) -> None:
    """In the child: the resumed thread's next tool kills the process again."""
    stage.go_on(stage.agent([call("look", q="a"), call("kill", q="b"), "done"]))


@fault("crashed", 4, "postgres")
def killed_again_after_resume(stage: Stage) -> None:
    """Killed again after resume."""
    dies(stage, "child_dies_in_tool")
    dies(stage, "child_dies_again")


@fault("finished", 5, "postgres")
def killed_and_brought_to_its_end(stage: Stage) -> None:
    """Killed and brought to its end."""
    dies(stage, "child_dies_in_tool")
    quiet = tool("kill")(_harmless)
    from plumbgraph.agents import create_agent  # noqa: PLC0415 - beside its use
    from plumbgraph.testing.faults import look, scripted  # noqa: PLC0415 - beside its use

    script = [call("look", q="a"), call("kill", q="b"), "done"]
    stage.go_on(create_agent(scripted(script), [look, quiet], checkpointer=stage.saver))


def _harmless(q: str) -> str:
    """Do nothing this time."""
    return q


def child_dies_under_claim(stage: Stage) -> None:
    """In the child: the process dies while it owns the thread."""
    with stage.saver.claim(stage.thread_id, ttl_s=2.0):
        stage.ask(stage.agent([call("look", q="a"), call("kill", q="b"), "done"]))


@fault("crashed", 4, "postgres")
def killed_while_it_owned_the_thread(stage: Stage) -> None:
    """Killed while it owned the thread."""
    dies(stage, "child_dies_under_claim")


@fault("parked", 4, "postgres", log_only=False)
def given_up_by_recovery(stage: Stage) -> None:
    """Given up by recovery."""
    dies(stage, "child_dies_under_claim")

    def again() -> Any:
        script = [call("look", q="a"), call("kill", q="b")]
        raising = tool("kill")(_always_raises)
        from plumbgraph.agents import create_agent  # noqa: PLC0415 - beside its use
        from plumbgraph.testing.faults import look, scripted  # noqa: PLC0415 - beside its use

        return create_agent(scripted(script), [look, raising], checkpointer=stage.saver)

    import time  # noqa: PLC0415 - beside its use

    time.sleep(2.2)  # the lease of the dead owner runs out
    from plumbgraph.state import RecoveryRules  # noqa: PLC0415 - beside its use

    rules = RecoveryRules(attempts=2, backoff_s=0.01, grace_s=0.0)
    for _ in range(2):
        with stage.watched():
            stage.saver.recover(again, rules)
        time.sleep(0.1)


def _always_raises(q: str) -> str:
    """Fail."""
    raise RuntimeError(f"still cannot do {q}")


@fault("interrupted", 2)
def asks_a_question(stage: Stage) -> None:
    """Asks a question."""

    @tool
    def confirm(q: str) -> str:
        """Ask a person."""
        return str(interrupt(f"really {q}?"))

    stage.ask(stage.agent([call("confirm", q="send"), "done"], [confirm]))


@fault("interrupted", 2, log_only=False)
def stops_before_a_node(stage: Stage) -> None:
    """Stops before a node."""
    graph = plain_graph({"a": lambda _: {}, "b": lambda _: {}}, [("a", "b")])
    compiled = graph.compile(checkpointer=stage.saver, interrupt_before=["b"])
    with stage.watched():
        compiled.invoke({"value": 1}, stage.config)


@fault("finished", 3)
def an_answered_question(stage: Stage) -> None:
    """An answered question."""

    @tool
    def confirm(q: str) -> str:
        """Ask a person."""
        return str(interrupt(f"really {q}?"))

    agent = stage.agent([call("confirm", q="send"), "done"], [confirm])
    stage.ask(agent)
    stage.go_on(agent, Command(resume="yes"))


def _failing(stage: Stage, error: Exception) -> None:
    @tool
    def act(q: str) -> str:
        """Do something that is refused."""
        raise error from ValueError(q)

    stage.ask(stage.agent([call("look", q="a"), call("act", q="b"), "done"], [act]))


@fault("denied", 4)
def refused_by_a_rule(stage: Stage) -> None:
    """Refused by a rule."""
    _failing(stage, PolicyDenied("The tool 'act' is forbidden.", rule="tools.deny[0]"))


@fault("memory_conflict", 4)
def memory_moved_on(stage: Stage) -> None:
    """Memory moved on."""
    _failing(stage, VersionConflict("'color' has version 3.", expected=2, found=3))


@fault("lost_workspace", 4)
def content_of_a_file_is_gone(stage: Stage) -> None:
    """Content of a file is gone."""
    _failing(stage, BlobMissing("Content 'ab12…' of 'notes.md' is missing."))


@fault("memory_conflict", 2, "redis")
def two_claims_about_one_thing(stage: Stage) -> None:
    """Two claims about one thing."""
    from plumbgraph.memory import Fact, MemoryStore  # noqa: PLC0415 - needs a server

    assert stage.redis_url is not None
    with MemoryStore(stage.redis_url) as store:

        @tool
        def note(source: str, color: str) -> str:
            """Remember a color."""
            fact = Fact("car", "color", color, source=source, cardinality="one")
            return str(store.remember(("facts",), fact, policy="contest").said)

        calls = [call("note", source="ann", color="red"), call("note", source="bob", color="blue")]
        stage.ask(stage.agent([calls, "done"], [note]))


@fault("two_writers", 4, "postgres")
def another_run_was_faster(stage: Stage) -> None:
    """Another run was faster."""
    agent = stage.agent([call("look", q="a"), call("late", q="b"), "done"], [_late(stage)])
    stage.ask(agent)


def _late(stage: Stage) -> Any:
    from plumbgraph.errors import StaleWriter  # noqa: PLC0415 - beside its use

    @tool
    def late(q: str) -> str:
        """Notice that another run was here."""
        raise StaleWriter(f"Thread {stage.thread_id!r} was moved on while {q!r} ran.")

    return late
