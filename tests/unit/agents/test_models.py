from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plumbgraph.agents import resolve_model
from plumbgraph.errors import MissingExtra, SettingsError


def test_a_provider_is_loaded_by_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    model = resolve_model("openai:gpt-5.5", temperature=0)
    assert type(model).__name__ == "ChatOpenAI"


def test_without_a_key_the_setting_is_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="API key"):
        resolve_model("openai:gpt-5.5")


def test_a_missing_provider_package_is_named() -> None:
    with pytest.raises(MissingExtra, match="pip install langchain-mistralai"):
        resolve_model("mistralai:mistral-large-latest")


def test_missing_langchain_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(MissingExtra, match=r"plumbgraph\[agents\]"):
        resolve_model("openai:gpt-5.5")


@pytest.mark.parametrize("spec", ["gpt-5.5", "", "nobody:x", ":x", "openai:", "OPENAI:x y"])
def test_what_names_no_model_is_refused(spec: str) -> None:
    with pytest.raises(SettingsError):
        resolve_model(spec)


def test_a_model_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from plumbgraph.testing import ScriptedChatModel\n"
        "model = ScriptedChatModel(['hi'])\n"
        "def make(): return ScriptedChatModel(['ho'])\n"
        "number = 3\n"
    )
    assert resolve_model(f"{file}:model").invoke("x").text == "hi"
    assert resolve_model(f"{file}:make").invoke("x").text == "ho"
    for wrong in (f"{file}:number", f"{file}:nothing", f"{tmp_path / 'no.py'}:model"):
        with pytest.raises(SettingsError):
            resolve_model(wrong)


def test_a_provider_name_never_runs_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil:x").mkdir()
    (tmp_path / "evil:x" / "m.py").write_text("raise SystemExit")
    with pytest.raises(SettingsError):
        resolve_model("evil:x/m.py:model")
