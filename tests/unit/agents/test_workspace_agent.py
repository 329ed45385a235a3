from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from plumbgraph.agents import create_agent, file_tools
from plumbgraph.content import FolderBlobs
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.workspace import Workspace

SCRIPT: Any = [
    call("write_file", path="a.txt", content="one"),
    call("write_file", path="a.txt", content="two"),
    "done",
]


THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
GIVEN = {"messages": [("user", "go")]}
MODELS: dict[str, Callable[[], ScriptedChatModel]] = {
    "first": lambda: ScriptedChatModel(SCRIPT, replay="turn"),
    "again": lambda: ScriptedChatModel([call("list_files"), call("read_file", path="a.txt"), "ok"]),
}


@pytest.fixture
def agents(tmp_path: Path) -> dict[str, Any]:
    saver = InMemorySaver()
    return {
        name: create_agent(
            make(),
            file_tools(),
            system="Work.",
            workspace=Workspace(tmp_path / "desk", blobs=FolderBlobs(tmp_path / "blobs")),
            checkpointer=saver,
        )
        for name, make in MODELS.items()
    }


def after_first_write(agent: Any) -> RunnableConfig:
    history = agent.get_state_history(THREAD)
    at = (s for s in history if s.next == ("model",) and len(s.values["messages"]) == 3)
    config: RunnableConfig = next(at).config
    return config


def seen(done: Any) -> list[str]:
    return [message.text for message in done["messages"] if message.type == "tool"][1:]


def test_files_go_back_with_the_thread(agents: Any, tmp_path: Path) -> None:
    agents["first"].invoke(GIVEN, THREAD)
    assert (tmp_path / "desk" / "a.txt").read_text() == "two"
    early = after_first_write(agents["first"])
    assert seen(agents["again"].invoke(None, early)) == ["a.txt\t3", "one"]


async def test_files_go_back_with_the_thread_in_a_loop(agents: Any, tmp_path: Path) -> None:
    await agents["first"].ainvoke(GIVEN, THREAD)
    early = after_first_write(agents["first"])
    assert seen(await agents["again"].ainvoke(None, early)) == ["a.txt\t3", "one"]
