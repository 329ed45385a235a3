"""Agents as tools of an agent: one workspace, one memory, one bill, through kills."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from plumbgraph import Workspace
from plumbgraph.agents import create_agent, subagent
from plumbgraph.content import FolderBlobs
from plumbgraph.errors import SettingsError, ThreadBusy, WorkspaceConflict
from plumbgraph.testing import ScriptedChatModel, call

SOURCE = Path(__file__).with_name("subagents_agent.py")
CONFIG: Any = {"configurable": {"thread_id": "boss", "user_id": "ann"}}
GIVEN: Any = {"messages": [("user", "Write both chapters.")]}


def load() -> Any:
    spec = spec_from_file_location("subagents_agent", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["subagents_agent"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def told(postgres_url: str, redis_url: str, schema: str, tmp_path: Path) -> dict[str, str]:
    servers = {"postgres": postgres_url, "redis": redis_url, "schema": schema}
    return {**servers, "folder": str(tmp_path)}


@pytest.fixture
def team(told: dict[str, str]) -> Iterator[Any]:
    made = load().Team(told)
    yield made
    made.close()


def process(told: dict[str, str]) -> int:
    done = subprocess.run(
        [sys.executable, str(SOURCE), json.dumps(told)],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
    return done.returncode


def everything_agrees(team: Any, values: Any) -> None:
    replies = [m for m in values["messages"] if isinstance(m, AIMessage)]
    answers = [m.text for m in values["messages"] if isinstance(m, ToolMessage)]
    assert [m.text for m in replies][-1] == "both are there"
    assert sorted(answers)[:2] == ["chapter one is written", "chapter two is written"]
    folder = team.workspace.folder
    assert {f.name: f.read_text() for f in folder.iterdir()} == {
        "plan.md": "two chapters",
        "one.md": "chapter one, after plan: two chapters",
        "two.md": "chapter two, after plan: two chapters",
        "index.md": "one.md two.md",
    }
    assert team.workspace.status().digest == team.workspace.digest(values["workspace"])
    sent = team.outside.read_text().splitlines()
    assert sorted(line.split()[1] for line in sent) == ["one", "two"]
    facts = {item.value["subject"]: item.value["value"] for item in team.store.facts(("book",))}
    assert facts == {"one": "written", "two": "written"}
    period = team.period()
    charges = {charge.charge_id for charge in team.budget.charges(period)}
    assert charges == set(values["ledger"])
    assert len(charges) == 4 + 2 * 3


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_parallel_subagents_share_files_memory_effects_and_bill(team: Any, colour: str) -> None:
    if colour == "async":
        values = asyncio.run(team.agent.ainvoke(GIVEN, CONFIG, durability="sync"))
    else:
        values = team.agent.invoke(GIVEN, CONFIG, durability="sync")
    everything_agrees(team, values)


@pytest.mark.parametrize(
    ("colour", "moments"), [("sync", ["one:written", "two:sent"]), ("async", ["one:sent"])]
)
def test_killed_inside_a_subagent_each_goes_on_where_it_was(
    colour: str, moments: list[str], told: dict[str, str], team: Any
) -> None:
    for moment in moments:
        assert process({**told, "colour": colour, "moment": moment}) == -signal.SIGKILL, moment
    assert process({**told, "colour": colour, "moment": ""}) == 0
    state = team.agent.get_state(CONFIG)
    assert state.next == ()
    everything_agrees(team, state.values)
    threads = [t.thread_id for t in team.saver.threads() if "writer-" in t.thread_id]
    assert len(threads) == 2


def writer(text: str, workspace: Workspace | None = None, **parts: Any) -> Any:
    def write(name: str, text: str) -> str:
        """Write a file."""
        (Workspace.current().folder / name).write_text(text)
        return "written"

    script: Any = [call("write", name="shared.md", text=text), f"wrote {text}"]
    parts = {"checkpointer": InMemorySaver(), "workspace": workspace, **parts}
    return create_agent(ScriptedChatModel(script, replay="turn"), [write], **parts)


def boss(*tools: Any, workspace: Workspace | None = None) -> Any:
    calls = [call(tool.name, task="go") for tool in tools]
    model = ScriptedChatModel([calls, "done", calls, "done"], replay="turn")
    return create_agent(model, tools, checkpointer=InMemorySaver(), workspace=workspace)


def test_two_that_change_one_file_are_a_conflict_when_the_caller_goes_on(tmp_path: Path) -> None:
    shared = Workspace(tmp_path / "desk", blobs=FolderBlobs(tmp_path / "blobs"))
    tools = [
        subagent(writer(text, shared), name=text, description=f"Writes {text}.")
        for text in ("red", "blue")
    ]
    agent = boss(*tools, workspace=shared)
    done = agent.invoke(GIVEN, CONFIG)
    assert len(done["workspace"]["heads"]) == 3  # where they began, and what each left
    again = boss(tools[0], workspace=shared)
    again.checkpointer = agent.checkpointer
    with pytest.raises(WorkspaceConflict, match=r"shared\.md"):
        again.invoke({"messages": [("user", "again")]}, CONFIG)


def test_a_question_of_a_subagent_is_the_callers(tmp_path: Path) -> None:
    def ask(what: str) -> str:
        """Ask a person."""
        return f"they say {interrupt(what)}"

    model = ScriptedChatModel([call("ask", what="Which colour?"), "it is red"], replay="turn")
    asking = create_agent(model, [ask], checkpointer=InMemorySaver())
    agent = boss(subagent(asking, name="asker", description="Asks."))
    waits = agent.invoke(GIVEN, CONFIG)
    assert [each.value for each in waits["__interrupt__"]] == ["Which colour?"]
    done = agent.invoke(Command(resume="red"), CONFIG)
    assert [m.text for m in done["messages"] if isinstance(m, ToolMessage)] == ["it is red"]
    assert len(model.calls) == 2


def asking(name: str, *questions: str, slow: float = 0.0) -> Any:
    """A subagent that asks a person, and answers with what it was told."""

    def ask(what: str) -> str:
        """Ask a person."""
        time.sleep(slow)
        return str(interrupt(what))

    def respond(messages: Any) -> Any:
        told = [m.text for m in messages if isinstance(m, ToolMessage)]
        return (
            call("ask", what=questions[len(told)])
            if len(told) < len(questions)
            else "; ".join(told)
        )

    agent = create_agent(
        ScriptedChatModel.from_messages(respond), [ask], checkpointer=InMemorySaver()
    )
    return subagent(agent, name=name, description="Asks.")


async def answered(agent: Any, colour: str) -> list[str]:
    """Answer each question with itself; the questions in their order."""
    value, asked = GIVEN, []
    while True:
        ran = agent.ainvoke(value, CONFIG) if colour == "async" else in_thread(agent, value)
        done = await ran
        if not (waits := done.get("__interrupt__")):
            break
        asked += [each.value for each in waits]
        value = Command(resume={each.id: f"about {each.value}" for each in waits})
    texts = [m.text for m in done["messages"] if isinstance(m, ToolMessage)]
    return [*asked, *texts]


def in_thread(agent: Any, value: Any) -> Any:
    return asyncio.to_thread(agent.invoke, value, CONFIG)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_each_of_several_questions_gets_its_own_answer(colour: str) -> None:
    """The first subagent is the slowest to ask, and is asked about first all the same."""
    tools = [
        asking("one", "a", "b", slow=0.3),
        asking("two"),
        asking("three", "c"),
        asking("four", "d", "e", slow=0.1),
    ]
    agent = await asyncio.to_thread(boss, *tools)
    assert await answered(agent, colour) == [
        *"abcde",
        *("about a; about b", "", "about c", "about d; about e"),
    ]


def test_one_that_was_refused_holds_up_nobody_for_long() -> None:
    agent = boss(asking("one", "a"), asking("two", "b"))
    refused = {"messages": [AIMessage("", tool_calls=[wrong("one"), right("two")])]}
    agent.update_state(CONFIG, {"messages": [("user", "go")]})
    agent.update_state(CONFIG, refused, as_node="model")
    waits = agent.invoke(None, CONFIG)
    assert [each.value for each in waits["__interrupt__"]] == ["b"]
    done = agent.invoke(Command(resume="yes"), CONFIG)
    answers = [m for m in done["messages"] if isinstance(m, ToolMessage)]
    assert [m.status for m in answers] == ["error", "success"]
    assert answers[1].text == "yes"


def right(name: str) -> Any:
    return {"name": name, "args": {"task": "go"}, "id": f"call-{name}", "type": "tool_call"}


def wrong(name: str) -> Any:
    return {**right(name), "args": {"job": 5}}


def test_without_a_checkpointer_it_works_and_begins_anew(tmp_path: Path) -> None:
    plain = create_agent(ScriptedChatModel(["hello"], on_end="repeat"))
    agent = boss(subagent(plain, name="plain", description="Says hello."))
    done = agent.invoke(GIVEN, CONFIG)
    assert [m.text for m in done["messages"] if isinstance(m, ToolMessage)] == ["hello"]


def test_another_call_is_another_thread(team: Any) -> None:
    team.agent.invoke(GIVEN, CONFIG, durability="sync")
    (first, second) = sorted(t.thread_id for t in team.saver.threads() if "writer-" in t.thread_id)
    assert first.startswith("boss/writer-")
    assert second.startswith("boss/writer-")
    assert first != second


def test_a_task_that_another_process_is_at_is_waited_for(team: Any, tmp_path: Path) -> None:
    """A lease of somebody alive elsewhere: the caller waits for its time, then says so."""
    module = sys.modules["subagents_agent"]
    impatient = module.Team({**team.told, "ttl_s": "0.3"})
    taken: list[str] = []
    claim = impatient.saver.claim

    def first_taken(thread: str, **options: Any) -> Any:
        if not taken:
            taken.append(thread)
            held.enter_context(claim(thread, ttl_s=60, owner="elsewhere/1:2:3"))
        return claim(thread, **options)

    with ExitStack() as held:
        impatient.saver.claim = first_taken
        with pytest.raises(ThreadBusy, match="elsewhere"):
            impatient.agent.invoke(GIVEN, CONFIG, durability="sync")
    values = team.agent.invoke(None, CONFIG, durability="sync")
    everything_agrees(team, values)
    impatient.close()


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(SettingsError, match="compiled graph"):
        subagent("openai:gpt-5.5", name="x", description="x")  # type: ignore[arg-type]
