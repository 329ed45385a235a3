"""The parts as middleware, in LangChain's agent and in deepagents, in both colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from plumbgraph import effect
from plumbgraph.agents import journal_for
from plumbgraph.content import FolderBlobs, PostgresBlobs
from plumbgraph.effects import Journal
from plumbgraph.errors import SettingsError
from plumbgraph.memory import MemoryStore
from plumbgraph.middleware import (
    EffectMiddleware,
    GuardMiddleware,
    MemoryMiddleware,
    RouterMiddleware,
    SkillMiddleware,
    WorkspaceMiddleware,
)
from plumbgraph.routing import CostRouter
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.workspace import Workspace

THREAD: RunnableConfig = {"configurable": {"thread_id": "t", "user_id": "u"}}
GIVEN: Any = {"messages": [("user", "write about Portland")]}
MAKERS: dict[str, Callable[..., Any]] = {"langchain": create_agent, "deepagents": create_deep_agent}
makers = pytest.mark.parametrize("maker", MAKERS)
colours = pytest.mark.parametrize("colour", ["sync", "async"])


class Crash(BaseException):
    """Ends the run as a kill does: nothing that catches `Exception` sees it."""


def note(name: str, text: str) -> str:
    """Write a note.

    Args:
        name: The file.
        text: What stands in it.
    """
    (Workspace.current().folder / name).write_text(text)
    return f"wrote {name}"


def notes() -> str:
    """Show all notes."""
    files = sorted(Workspace.current().folder.iterdir())
    return ", ".join(f"{file.name}={file.read_text()}" for file in files)


async def run(agent: Any, value: Any, colour: str, config: Any = THREAD) -> Any:
    if colour == "async":
        return await agent.ainvoke(value, config)
    return await asyncio.to_thread(agent.invoke, value, config)


def answers(done: Any) -> list[str]:
    return [message.text for message in done["messages"] if isinstance(message, ToolMessage)]


@pytest.fixture
def journal(saver: PlumbSaver) -> Iterator[Journal]:
    with journal_for(saver) as made:
        yield made


@pytest.fixture
def workspace(tmp_path: Path, saver: PlumbSaver) -> Workspace:
    return Workspace(tmp_path / "desk", blobs=PostgresBlobs(saver._core.db))


@pytest.fixture
def store(redis_url: str) -> Iterator[MemoryStore]:
    with MemoryStore(redis_url) as made:
        yield made


@makers
@colours
async def test_files_follow_the_thread(
    maker: str, colour: str, workspace: Workspace, saver: PlumbSaver
) -> None:
    script: Any = [call("note", name="a", text="one"), call("note", name="a", text="two"), "done"]
    model = ScriptedChatModel(script, replay="turn")
    agent = MAKERS[maker](
        model, [note, notes], middleware=[WorkspaceMiddleware(workspace)], checkpointer=saver
    )
    await run(agent, GIVEN, colour)
    assert await asyncio.to_thread((workspace.folder / "a").read_text) == "two"
    history = [state async for state in agent.aget_state_history(THREAD)]
    early = [state for state in history if answers(state.values) == ["wrote a"]][-1]
    again = MAKERS[maker](
        ScriptedChatModel([call("notes"), "done"]),
        [note, notes],
        middleware=[WorkspaceMiddleware(workspace)],
        checkpointer=saver,
    )
    done = await run(again, None, colour, early.config)
    assert answers(done)[-1] == "a=one"


@makers
@colours
async def test_calls_that_run_in_parallel_are_merged(
    maker: str, colour: str, workspace: Workspace, saver: PlumbSaver
) -> None:
    both = [call("note", name="a", text="one"), call("note", name="b", text="two")]
    model = ScriptedChatModel([both, call("notes"), "done"])
    agent = MAKERS[maker](
        model, [note, notes], middleware=[WorkspaceMiddleware(workspace)], checkpointer=saver
    )
    done = await run(agent, GIVEN, colour)
    assert answers(done)[-1] == "a=one, b=two"


@makers
@colours
async def test_an_effect_happens_once_through_a_crash(
    maker: str, colour: str, journal: Journal, saver: PlumbSaver
) -> None:
    paid: list[str] = []
    crashes = [True]

    @effect(idempotent=True)
    def pay(what: str) -> str:
        """Pay for something."""
        paid.append(what)
        return f"paid {what}"

    def stumble() -> str:
        """Stumble, once."""
        if crashes:
            raise Crash(crashes.pop())
        return "stood"

    def agent() -> Any:
        model = ScriptedChatModel(
            [call("pay", what="rent"), call("stumble"), "done"], replay="turn"
        )
        middleware = [EffectMiddleware(journal, [pay])]
        return MAKERS[maker](model, [stumble], middleware=middleware, checkpointer=saver)

    with pytest.raises(Crash):
        await run(agent(), GIVEN, colour)
    done = await run(agent(), None, colour)
    assert answers(done) == ["paid rent", "stood"]
    assert paid == ["rent"]


@colours
async def test_a_call_left_open_is_answered_before_the_model_sees_it(
    colour: str, journal: Journal, saver: PlumbSaver
) -> None:
    @effect(idempotent=True)
    def pay(what: str) -> str:
        """Pay for something."""
        raise Crash(what)

    def agent(*script: Any) -> Any:
        middleware = [EffectMiddleware(journal, [pay])]
        return create_agent(
            ScriptedChatModel(script), [], middleware=middleware, checkpointer=saver
        )

    with pytest.raises(Crash):
        await run(agent(call("pay", what="rent")), GIVEN, colour)
    done = await run(agent("fine"), {"messages": [("user", "and?")]}, colour)
    assert "unknown" in answers(done)[0]
    assert done["messages"][-1].text == "fine"


def test_effects_need_a_journal() -> None:
    with pytest.raises(SettingsError, match="needs a journal"):
        EffectMiddleware(None)  # type: ignore[arg-type]


@makers
@colours
async def test_all_of_them_together(
    maker: str,
    colour: str,
    workspace: Workspace,
    journal: Journal,
    saver: PlumbSaver,
    store: MemoryStore,
    skills: Path,
    tmp_path: Path,
    router: Callable[..., CostRouter],
) -> None:
    sent: list[str] = []

    @effect(idempotent=True)
    def send(text: str) -> str:
        """Send a message."""
        sent.append(text)
        return f"sent {text}"

    script: Any = [
        call("load_skill", name="pdf"),
        [call("note", name="a", text="one"), call("send", text="hello")],
        call("notes"),
        "all notes finished",
    ]
    model = ScriptedChatModel(script, model_name="m")
    blobs = FolderBlobs(tmp_path / "blobs", space="skills")

    def make() -> Any:
        middleware = [
            MemoryMiddleware(("users", "{user_id}")),
            SkillMiddleware(str(skills), blobs=blobs),
            GuardMiddleware(),
            RouterMiddleware(router(model), journal=journal),
            WorkspaceMiddleware(workspace),
            EffectMiddleware(journal, [send]),
        ]
        never = ScriptedChatModel([], model_name="never")
        return MAKERS[maker](
            never, [note, notes], middleware=middleware, checkpointer=saver, store=store
        )

    done = await run(await asyncio.to_thread(make), GIVEN, colour)
    assert sent == ["hello"]
    assert "BLUE" in model.calls[-1].messages[0].text
    found = await store.arecall(("users", "u"), "notes finished")
    assert "all notes finished" in found.text
    everything_was_done(done)


def everything_was_done(done: Any) -> None:
    assert done["messages"][-1].text == "all notes finished"
    assert answers(done)[-1] == "a=one"
    assert len(done["ledger"]) == len([m for m in done["messages"] if isinstance(m, AIMessage)])
    assert done["stop_reason"] is None
    assert done["workspace"]["files"] == 1
