from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

import plumbgraph
from plumbgraph import Workspace
from plumbgraph.cli.demo_stage import pager
from plumbgraph.content import FolderBlobs
from plumbgraph.errors import BudgetSpent, SettingsError, UnknownPrice

REPORTS = 6
TASK = "Read the incident reports in documents/, take notes, and write report.md."


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def assistant(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The assistant without the parts that want servers; its files are kept in a folder."""
    module = loaded(root / "graphs" / "assistant.py")
    whole = module.build

    def build(model: Any = None, folder: Any = None, **parts: Any) -> Any:
        blobs = FolderBlobs(tmp_path_factory.mktemp("blobs"))
        desk = Workspace(folder or module.default_workspace(), blobs=blobs)
        alone = {"memory": None, "effects": None, "skills": None, "workspace": desk}
        return whole(model, **{**alone, **parts})

    module.__dict__.update(build=build, whole=whole)
    return module


@pytest.fixture(scope="module")
def script(root: Path) -> Any:
    module = loaded(root / "graphs" / "demo_script.py")
    module.__dict__["THINKING_S"] = 0.0
    return module


@pytest.fixture
def desk(root: Path, tmp_path: Path) -> Path:
    shutil.copytree(root / "graphs" / "documents", tmp_path / "documents")
    return tmp_path


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def test_the_assistant_reads_takes_notes_and_reports(
    assistant: ModuleType, script: ModuleType, desk: Path
) -> None:
    agent = assistant.build(script.model(), desk).compile(checkpointer=InMemorySaver())
    done = agent.invoke({"messages": [script.TASK]}, config("t"))
    calls = [made for m in done["messages"] if isinstance(m, AIMessage) for made in m.tool_calls]
    names = [made["name"] for made in calls]
    assert names.count("read_file") == names.count("write_file") - 1 == REPORTS
    assert 10 <= sum(isinstance(m, AIMessage) for m in done["messages"]) <= 14
    assert all(m.status == "success" for m in done["messages"] if isinstance(m, ToolMessage))
    report = (desk / "report.md").read_text()
    for document in (desk / "documents").iterdir():
        title = document.read_text().splitlines()[0].removeprefix("# ")
        assert title in report
        note = (desk / "notes" / document.name).read_text()
        assert title in note
        assert re.search(r"^Cause: \w.+[.]$", note, re.MULTILINE)
        assert "unknown" not in note
        assert "not said" not in note


def test_from_every_step_a_new_process_takes_the_same_next_step(
    assistant: ModuleType, script: ModuleType, desk: Path
) -> None:
    saver = InMemorySaver()
    agent = assistant.build(script.model(), desk).compile(checkpointer=saver)
    whole = agent.invoke({"messages": [script.TASK]}, config("whole"))["messages"]
    for stop in range(2, len(whole)):
        if isinstance(whole[stop], AIMessage):
            again = script.model().invoke(whole[:stop])
            assert again.text == whole[stop].text
            assert again.tool_calls == whole[stop].tool_calls


def test_a_second_task_in_the_same_thread_starts_over(
    assistant: ModuleType, script: ModuleType, desk: Path
) -> None:
    agent = assistant.build(script.model(), desk).compile(checkpointer=InMemorySaver())
    agent.invoke({"messages": [script.TASK]}, config("t"))
    (desk / "report.md").unlink()
    agent.invoke({"messages": [HumanMessage("Once more, please.")]}, config("t"))
    assert (desk / "report.md").exists()


def test_files_go_back_with_the_thread(
    assistant: ModuleType, script: ModuleType, desk: Path
) -> None:
    agent = assistant.build(script.model(), desk).compile(checkpointer=InMemorySaver())
    agent.invoke({"messages": [script.TASK]}, config("t"))
    assert (desk / "report.md").exists()
    early = next(s for s in agent.get_state_history(config("t")) if len(s.values["messages"]) == 4)
    stopped = agent.invoke(None, early.config, interrupt_after="tools")
    assert stopped["workspace"]["files"] == REPORTS
    assert not (desk / "report.md").exists()
    assert not (desk / "notes").exists()


def test_without_documents_the_script_says_what_it_is(
    assistant: ModuleType, script: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "documents").mkdir()
    agent = assistant.build(script.model(), tmp_path).compile()
    done = agent.invoke({"messages": ["Hello, who are you?"]})
    assert "PLUMBGRAPH_MODEL" in done["messages"][-1].text


@pytest.fixture
def servers(
    assistant: ModuleType,
    postgres_url: str,
    redis_url: str,
    schema: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """Servers for the parts of the assistant that want them."""
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PLUMBGRAPH_REDIS_URL", redis_url)
    monkeypatch.setenv("PLUMBGRAPH_SCHEMA", schema)
    monkeypatch.setenv("PLUMBGRAPH_TENANT", schema)
    for cached in (assistant.services, assistant.router_for):
        cached.cache_clear()
    yield
    assistant.services().close()
    for cached in (assistant.services, assistant.router_for):
        cached.cache_clear()


@pytest.mark.usefixtures("servers")
def test_context_chooses_model_and_prompt(assistant: ModuleType, tmp_path: Path) -> None:
    agent = assistant.build("no:such", tmp_path).compile()
    (tmp_path / "documents").mkdir()
    done = agent.invoke({"messages": ["x"]}, context={"model": "scripted"})
    assert "I am a script" in done["messages"][-1].text
    assert done["route"]["model"] == "scripted:small"
    assert len(done["ledger"]) == 2
    with pytest.raises(ValueError, match="no:such"):
        agent.invoke({"messages": ["x"]})


@pytest.mark.usefixtures("servers")
def test_a_threads_money_is_bounded_by_the_environment(
    assistant: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = assistant.build("scripted", tmp_path).compile(checkpointer=InMemorySaver())
    (tmp_path / "documents").mkdir()
    monkeypatch.setenv("PLUMBGRAPH_THREAD_USD", "0.000001")
    with pytest.raises(BudgetSpent):
        agent.invoke({"messages": ["x"]}, config("poor"))
    monkeypatch.setenv("PLUMBGRAPH_THREAD_USD", "much")
    with pytest.raises(SettingsError, match="no sum of money"):
        agent.invoke({"messages": ["x"]}, config("wrong"))


@pytest.mark.usefixtures("servers")
def test_the_whole_assistant_recalls_loads_routes_alerts_and_remembers(
    assistant: ModuleType, root: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left out: recall, skills, route, effects, workspace, guard, remember."""
    monkeypatch.setenv("PLUMBGRAPH_SKILLS", str(root / "graphs" / "demo_skills"))
    with pager() as outside:
        outside.released.set()
        monkeypatch.setenv("PLUMBGRAPH_WEBHOOK", outside.url)
        graph = assistant.whole("scripted", desk)
        with plumbgraph.open() as p:
            agent = graph.compile(checkpointer=p.saver, store=p.store)
            done = agent.invoke({"messages": [TASK]}, config("whole"))
            kept = p.store.recall(("assistant", "me"), "incident reports")
    names = list(graph.nodes)
    assert names == ["repair", "recall", "model", "tools", "remember"]
    about = graph.nodes["model"].metadata["description"]
    assert about == "In this order: guard, skills, router, model."
    assert [text.split()[-1] for text in outside.alerts] == ["(2025-03-04).", "(2025-07-11)."]
    assert len(set(outside.requests)) == len(outside.requests) == 2
    assert done["skills"]["note-incidents"]["gone"]
    assert len(done["ledger"]) == sum(isinstance(m, AIMessage) for m in done["messages"])
    assert done["workspace"]["files"] == 2 * REPORTS + 1
    assert any("Read the incident reports" in hit.text for hit in kept)


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("part", ["memory", "skills", "effects", "workspace", "guard"])
def test_the_assistant_goes_on_without_a_part(
    assistant: ModuleType, desk: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.delenv("PLUMBGRAPH_WEBHOOK", raising=False)
    graph = assistant.whole("scripted", desk, **{part: None})
    with plumbgraph.open() as p:
        agent = graph.compile(checkpointer=p.saver, store=p.store)
        done = agent.invoke({"messages": [TASK]}, config(part))
        kept = p.store.recall(("assistant", "me"), "incident reports")
    assert (desk / "report.md").exists()
    assert len(done["ledger"]) == sum(isinstance(m, AIMessage) for m in done["messages"])
    traces = {
        "memory": any("Read the incident reports" in hit.text for hit in kept),
        "skills": "skills" in graph.channels,
        "workspace": bool(done.get("workspace")),
        "guard": "stop_reason" in done,
    }
    assert traces == {name: name != part for name in traces}


def test_an_address_that_is_none_is_refused(
    assistant: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUMBGRAPH_WEBHOOK", "file:///etc/passwd")
    with pytest.raises(SettingsError, match="no http address"):
        assistant.outside()


@pytest.mark.parametrize(
    ("configurable", "user"),
    [
        ({}, "me"),
        ({"user_id": "ann"}, "ann"),
        ({"user_id": "ann", "langgraph_auth_user_id": "bob"}, "bob"),
    ],
)
def test_memory_is_the_signed_in_users(
    assistant: ModuleType, configurable: dict[str, str], user: str
) -> None:
    assert assistant.place({"configurable": configurable}) == ("assistant", user)


@pytest.mark.usefixtures("servers")
def test_a_model_without_a_price_is_asked_plainly_unless_money_is_bounded(
    assistant: ModuleType, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assistant, "load", lambda _: script.model())
    assert assistant.router_for("nobody:knows", "", "").model_name == "demo-script"
    with pytest.raises(UnknownPrice):
        assistant.router_for("nobody:knows", "1.0", "")
    with pytest.raises(UnknownPrice):
        assistant.router_for("nobody:knows,nobody:either", "", "")


@pytest.mark.parametrize("model", ["./evil.py:model", "/tmp/evil.py:model", "a b", "x"])
def test_a_run_cannot_name_a_file_as_its_model(
    assistant: ModuleType, tmp_path: Path, model: str
) -> None:
    agent = assistant.build("scripted", tmp_path).compile()
    with pytest.raises(ValueError, match="model"):
        agent.invoke({"messages": ["x"]}, context={"model": model})


def test_the_operator_may_name_a_file(
    assistant: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = f"{root / 'graphs' / 'demo_script.py'}:model"
    monkeypatch.setenv("PLUMBGRAPH_MODEL", file)
    (tmp_path / "documents").mkdir()
    done = assistant.build(None, tmp_path).compile().invoke({"messages": ["x"]})
    again = assistant.build(None, tmp_path).compile()
    assert done["messages"][-1].text.startswith("I am a script")
    assert again.invoke({"messages": ["x"]}, context={"model": file})["messages"][-1].text


def test_the_environment_chooses_model_and_folder(
    assistant: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("PLUMBGRAPH_MODEL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    assert assistant.default_model() == "scripted"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    assert assistant.default_model().startswith("anthropic:")
    monkeypatch.setenv("PLUMBGRAPH_MODEL", "openai:gpt-5.5")
    assert assistant.default_model() == "openai:gpt-5.5"
    monkeypatch.setenv("PLUMBGRAPH_WORKSPACE", str(tmp_path / "new" / "desk"))
    assert assistant.default_workspace() == tmp_path / "new" / "desk"
    assert (tmp_path / "new" / "desk").is_dir()
