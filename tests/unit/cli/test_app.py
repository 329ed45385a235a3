from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from plumbgraph import errors
from plumbgraph.cli import app as app_module
from plumbgraph.cli import console
from plumbgraph.cli.app import NOUNS, Noun, app

runner = CliRunner()
HEAVY = ("langgraph", "langchain_core", "redis", "psycopg", "pydantic", "rich", "numpy")


def plumbgraph(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plumbgraph.cli", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_help_lists_every_noun_that_is_there_and_the_exit_codes() -> None:
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    for name in ("demo", "doctor", "run", "resume", "threads", "up", "status", "down", "setup"):
        assert name in result.output
    assert "Exit codes" in result.output


def test_every_noun_has_its_own_help_and_json() -> None:
    for name, noun in NOUNS.items():
        if not Path(app_module.__file__).with_name(f"{noun.module}.py").exists():
            continue
        result = runner.invoke(app, [name, "--help"])
        assert result.exit_code == 0, name
        if "COMMAND" not in result.output.partition("\n\n")[0]:
            assert "--json" in result.output, name


def test_asking_for_the_version_imports_nothing_heavy() -> None:
    code = (
        "import sys; from plumbgraph.cli.app import app\n"
        "try: app(['--version'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("plumbgraph 0")
    assert done.stdout.splitlines()[1] == "[]"


def test_a_noun_is_one_line_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = typer.Typer()

    @own.command()
    def hello(*, json: console.Json = False) -> None:
        console.Out(json=json).show({"hello": 1}, lambda: None)

    @own.command()
    def other() -> None:
        """Make it a group."""

    monkeypatch.setitem(NOUNS, "mynoun", Noun("mynoun", "Parts", "Mine."))
    monkeypatch.setattr(app_module, "_is_there", lambda _: True)
    module = type(sys)("plumbgraph.cli.mynoun")
    module.app = own  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plumbgraph.cli.mynoun", module)
    result = runner.invoke(app, ["mynoun", "hello", "--json"])
    assert json.loads(result.output) == {"hello": 1}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.StoreUnavailable("no server"), console.UNAVAILABLE),
        (errors.ServerStartFailed("no start"), console.UNAVAILABLE),
        (errors.MissingExtra("no extra", extra="otel"), console.UNAVAILABLE),
        (errors.SettingsError("bad"), console.USAGE),
        (errors.ThreadNotFound("gone"), console.NOT_FOUND),
        (errors.AccessDenied("not you"), console.REFUSED),
        (errors.PolicyDenied("no"), console.REFUSED),
        (errors.BudgetSpent("empty"), console.REFUSED),
        (errors.StaleWriter("late"), console.FAILED),
        (ValueError("what"), console.FAILED),
        (KeyError("what"), console.FAILED),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert console.exit_code(error) == code
    assert code in console.EXIT_CODES


def test_an_error_is_one_message_with_a_next_step() -> None:
    done = plumbgraph("run", "no-such-graph", "hi")
    assert done.returncode == console.NOT_FOUND
    assert done.stdout == ""
    assert "error: There is no graph 'no-such-graph'" in done.stderr
    assert "next: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_debug_shows_the_traceback() -> None:
    done = plumbgraph("run", "no-such-graph", "hi", PLUMBGRAPH_DEBUG="1")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "words", [["stat"], ["up", "--nope"], ["resume"], ["threads", "--limit", "0"]]
)
def test_wrong_usage_names_the_help(words: list[str]) -> None:
    result = runner.invoke(app, words)
    assert result.exit_code == console.USAGE
    assert "--help" in result.output
    assert "error: " in result.output


def test_a_near_miss_is_suggested() -> None:
    assert "'status'" in runner.invoke(app, ["statsu"]).output


def test_errors_are_json_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    result = runner.invoke(app, ["run", "no-such-graph", "hi", "--json"])
    told: dict[str, Any] = json.loads(result.stdout)
    assert told["error"]["code"] == "cli.graph_not_found"
    assert told["exit_code"] == result.exit_code == console.NOT_FOUND


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m plumbgraph.cli setup --print-sql | head -1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_text_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.Out(json=False).text("a\x1b[31mb\x07[bold]c")
    assert capsys.readouterr().out == "a [31mb [bold]c\n"


def test_tables_are_not_cut_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.Out(json=False).table(("a", "b"), [("x" * 150, None), (1234567, "y" * 150)])
    out = capsys.readouterr().out
    assert "x" * 150 in out
    assert "y" * 150 in out
    assert "1,234,567" in out
