from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from plumbgraph import Workspace
from plumbgraph.content import FolderBlobs

REPORTS = 6


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def assistant(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The assistant, its files kept in a folder, so that no server is needed here."""
    module = loaded(root / "graphs" / "assistant.py")

    def kept(folder: str | Path) -> Workspace:
        return Workspace(folder, blobs=FolderBlobs(tmp_path_factory.mktemp("blobs")))

    module.__dict__["kept_workspace"] = kept
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


def test_context_chooses_model_and_prompt(assistant: ModuleType, tmp_path: Path) -> None:
    agent = assistant.build("no:such", tmp_path).compile()
    (tmp_path / "documents").mkdir()
    done = agent.invoke({"messages": ["x"]}, context={"model": "scripted"})
    assert "I am a script" in done["messages"][-1].text
    with pytest.raises(ValueError, match="no:such"):
        agent.invoke({"messages": ["x"]})


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
    done = assistant.build(workspace=tmp_path).compile().invoke({"messages": ["x"]})
    again = assistant.build(workspace=tmp_path).compile()
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
