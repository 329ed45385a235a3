"""The same skills in `create_agent` and deepagents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from plumbgraph.agents.skill_middleware import SkillMiddleware
from plumbgraph.content.folder import FolderBlobs
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.testing.script import call
from plumbgraph.testing.scripted import ScriptedChatModel

CONFIG: Any = {"configurable": {"thread_id": "t"}}
SCRIPT: list[Any] = [
    call("secret", x=1),
    call("load_skill", name="keys"),
    call("secret", x=2),
    call("unload_skill", name="keys"),
    call("secret", x=3),
    "end",
]


@tool
def secret(x: int) -> str:
    """Do the secret thing."""
    return f"secret {x}"


def texts(result: dict[str, Any]) -> list[str]:
    return [str(m.text) for m in result["messages"] if isinstance(m, ToolMessage)]


def check(model: ScriptedChatModel, result: dict[str, Any]) -> None:
    names = [[t["function"]["name"] for t in made.tools] for made in model.calls]
    assert ["secret" in seen for seen in names] == [False, False, True, True, False, False]
    systems = [str(made.messages[0].text) for made in model.calls]
    assert ["KEYS body" in text for text in systems] == [False, False, True, True, False, False]
    assert all("- keys: Opens doors" in text for text in systems)
    said = texts(result)
    assert ["No loaded skill brings" in text for text in said] == [True, False, False, False, True]
    assert said[2] == "secret 2"


def test_create_agent(make_skill: Any, library: SkillLibrary, blobs: FolderBlobs) -> None:
    make_skill("keys", "Opens doors", "KEYS body", metadata={"requires_tools": "secret"})
    model = ScriptedChatModel(SCRIPT, replay="turn")
    middleware = SkillMiddleware(library, tools=[secret], blobs=blobs)
    agent = create_agent(
        model, [], system_prompt="Base.", middleware=[middleware], checkpointer=InMemorySaver()
    )
    result = agent.invoke({"messages": [HumanMessage("go")]}, CONFIG)
    check(model, result)
    assert str(model.calls[0].messages[0].text).startswith("Base.\n\n<available_skills>")


async def test_create_agent_async(
    make_skill: Any, library: SkillLibrary, blobs: FolderBlobs
) -> None:
    make_skill("keys", "Opens doors", "KEYS body", metadata={"requires_tools": "secret"})
    model = ScriptedChatModel(SCRIPT, replay="turn")
    middleware = SkillMiddleware(library, tools=[secret], blobs=blobs)
    agent = create_agent(model, [], middleware=[middleware])
    check(model, await agent.ainvoke({"messages": [HumanMessage("go")]}))


def test_a_summary_cannot_eat_a_loaded_skill(
    make_skill: Any, library: SkillLibrary, blobs: FolderBlobs
) -> None:
    make_skill("keys", "Opens doors", "KEYS body")
    model = ScriptedChatModel.from_messages(
        lambda messages: call("load_skill", name="keys") if len(messages) < 4 else "end"
    )
    summary = ScriptedChatModel(["SUMMARY"], on_end="repeat")
    middleware: list[Any] = [
        SummarizationMiddleware(summary, trigger=("messages", 6), keep=("messages", 1)),
        SkillMiddleware(library, blobs=blobs),
    ]
    agent = create_agent(model, [], middleware=middleware, checkpointer=InMemorySaver())
    for turn in range(4):
        agent.invoke({"messages": [HumanMessage(f"turn {turn}")]}, CONFIG)
    assert summary.calls
    assert "KEYS body" in str(model.calls[-1].messages[0].text)


def test_the_same_folder_works_in_deepagents(
    make_skill: Any, library: SkillLibrary, blobs: FolderBlobs, tmp_path: Path
) -> None:
    from deepagents import create_deep_agent
    from deepagents.backends import FilesystemBackend

    make_skill("keys", "Opens doors", "KEYS body", metadata={"requires_tools": "secret"})
    own = ScriptedChatModel(["end"])
    agent = create_deep_agent(
        model=own,
        skills=["/skills/"],
        backend=FilesystemBackend(root_dir=str(tmp_path), virtual_mode=True),
    )
    agent.invoke({"messages": [HumanMessage("go")]})
    assert "keys" in str(own.calls[0].messages[0].text)
    model = ScriptedChatModel(SCRIPT, replay="turn")
    middleware = SkillMiddleware(library, tools=[secret], blobs=blobs)
    deep = create_deep_agent(model=model, middleware=[middleware])
    result = deep.invoke({"messages": [HumanMessage("go")]})
    said = [text for text in texts(result) if "secret" in text or "No loaded" in text]
    assert "secret 2" in said
    assert sum("No loaded skill brings" in text for text in said) == 2
