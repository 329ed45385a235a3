from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plumbgraph.cli import checks
from plumbgraph.cli.app import app
from plumbgraph.cli.checks import Check
from plumbgraph.cli.config_traps import examine

runner = CliRunner()
GOOD = """
from langgraph.graph import StateGraph
from typing_extensions import TypedDict
class State(TypedDict):
    x: int
async def node(state):
    await something()
    def inside():
        import time
        time.sleep(1)
graph = StateGraph(State)
graph.add_node(node)
built = graph.compile(checkpointer=None).with_config(recursion_limit=50)
"""


def codes(found: list[Check]) -> dict[str, str]:
    return {each.code: each.verdict for each in found if each.verdict != "ok"}


def look(folder: Path, code: str = GOOD, **config: Any) -> dict[str, str]:
    (folder / "agent.py").write_text(code)
    whole = {
        "dependencies": ["."],
        "graphs": {"agent": "./agent.py:graph"},
        "checkpointer": {"path": "./agent.py:graph"},
        **config,
    }
    (folder / "langgraph.json").write_text(json.dumps(whole))
    return codes(list(examine(folder / "langgraph.json")))


def test_a_good_set_up_has_no_finding(tmp_path: Path) -> None:
    assert look(tmp_path) == {}


@pytest.mark.parametrize(
    ("code", "config", "expected"),
    [
        ("", {"checkpointer": {"path": "agent:make"}}, {"config.module_path": "fault"}),
        ("", {"store": {"path": "pkg.agent:make"}}, {"config.module_path": "fault"}),
        ("", {"graphs": {"a": "./none.py:graph"}}, {"config.no_file": "fault"}),
        ("", {"graphs": {"a": "./agent.py:nope"}}, {"config.no_attribute": "fault"}),
        ("", {"graphs": {"a": "./agent.py:inside"}}, {"config.no_attribute": "fault"}),
        ("", {"graphs": {"a": "nonsense"}}, {"config.place": "fault"}),
        ("", {"graphs": {}}, {"config.no_graphs": "fault"}),
        ("", {"dependencies": []}, {"config.no_dependencies": "warning"}),
        ("", {"env": ".env"}, {"config.no_env": "fault"}),
        ("", {"checkpointer": None}, {}),
        (
            "",
            {"store": {"path": "./agent.py:graph", "ttl": {}}},
            {"config.store_ttl": "warning"},
        ),
        ("def broken(:\n", {}, {"config.no_python": "fault"}),
        (
            "\nimport time as t\nasync def slow(state):\n    t.sleep(1)\n",
            {},
            {"code.blocking": "fault"},
        ),
        (
            "\nfrom requests import get\nasync def slow(state):\n    return get('x')\n",
            {},
            {"code.blocking": "fault"},
        ),
        (
            (
                "\nfrom langgraph.checkpoint.memory import InMemorySaver\n"
                "graph = graph.compile(checkpointer=InMemorySaver())\n"
            ),
            {},
            {"code.own_persistence": "fault"},
        ),
        (
            "\ndef agent():\n    return StateGraph(State).compile(store=object())\n",
            {"graphs": {"a": "./agent.py:agent"}},
            {"code.own_persistence": "fault"},
        ),
        (
            (
                "\nclass Context(TypedDict):\n    model: str\n    api_key: str\n"
                "other = StateGraph(State, context_schema=Context)\n"
            ),
            {},
            {"code.secret_context": "warning"},
        ),
        (
            "\nclass Half:\n    async def aput(self): ...\n    async def aput_writes(self): ...\n",
            {},
            {"code.half_saver": "warning"},
        ),
    ],
)
def test_each_trap_is_found(
    tmp_path: Path, code: str, config: dict[str, Any], expected: dict[str, str]
) -> None:
    found = look(tmp_path, GOOD + code, **config)
    for name, verdict in expected.items():
        assert found[name] == verdict
    if not expected:
        assert found == {}


@pytest.mark.parametrize("depth", [3_000, 200_000])
@pytest.mark.parametrize(
    "nested",
    [
        lambda n: "graph = " + "-" * n + "1",
        lambda n: "graph = " + "(" * n + ")" * n,
        lambda n: "graph = a" + ".b" * n,
        lambda n: "graph = a" + "()" * n,
        lambda n: "graph = 1" + "+1" * n,
        lambda n: "if 1: graph = 1\n" + "elif 2: pass\n" * n,
        lambda n: f"async def f():\n    a{'.b' * n}()\ngraph = 1",
    ],
    ids=["signs", "brackets", "attributes", "calls", "sums", "branches", "call"],
)
def test_deeply_nested_code_is_a_finding(
    tmp_path: Path, nested: Callable[[int], str], depth: int
) -> None:
    found = look(tmp_path, nested(depth) + "\n", checkpointer=None)
    if depth > 100_000:  # beyond what any supported Python builds a tree of
        assert found.keys() & {"config.too_deep", "config.no_python"}


@pytest.mark.parametrize("fault", [RecursionError, MemoryError, SystemError])
def test_each_way_in_which_python_gives_up_on_code_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(ast, "parse", give_up)
    assert look(tmp_path) == {"config.too_deep": "warning"}


def test_long_chains_of_names_are_followed(tmp_path: Path) -> None:
    code = f"\nimport time\nasync def f():\n    a{'.b' * 900}()\n    time.sleep(1)\n"
    assert look(tmp_path, GOOD + code) == {"code.blocking": "fault"}


def test_code_is_read_in_the_encoding_it_names_and_its_warnings_stay_its_own(
    tmp_path: Path,
) -> None:
    look(tmp_path)
    for data in (
        b"\xef\xbb\xbf" + GOOD.encode(),
        f"# -*- coding: latin-1 -*-\n{GOOD}name = 'é'\n".encode("latin-1"),
        f"{GOOD}pattern = '\\d'\n".encode(),
    ):
        (tmp_path / "agent.py").write_bytes(data)
        assert codes(list(examine(tmp_path / "langgraph.json"))) == {}


@pytest.mark.parametrize("place", ["", ".", "..", "a..b", "\0", "x" * 5_000, "sys"])
@pytest.mark.parametrize("suffix", ["", ".py"])
def test_a_place_that_cannot_be_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, suffix: str
) -> None:
    look(tmp_path, graphs={"a": f"{place}{suffix}:graph"}, env="x" * 5_000)
    monkeypatch.chdir(tmp_path)
    found = codes(list(examine(Path("langgraph.json"))))
    assert found == {"config.no_file": "fault", "config.no_env": "fault"}


def test_code_of_an_installed_package_is_found_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "elsewhere" / "that_package" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("raise SystemExit('it was run')")
    (package / "__init__.py").write_text("raise SystemExit('it was run')")
    (package / "agent.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    assert look(tmp_path, graphs={"a": "that_package.inner.agent:graph"}) == {}
    assert look(tmp_path, graphs={"a": "that_package.none.agent:graph"}) == {
        "config.no_file": "fault"
    }


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the trap is Python 3.11's")
def test_typing_typed_dict_is_found(tmp_path: Path) -> None:
    code = GOOD.replace("from typing_extensions", "from typing")
    assert look(tmp_path, code) == {"code.typed_dict": "warning"}


def test_an_unbound_recursion_limit_is_noted_unless_the_environment_bounds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANGGRAPH_DEFAULT_RECURSION_LIMIT", raising=False)
    code = GOOD.replace(".with_config(recursion_limit=50)", "")
    assert look(tmp_path, code) == {"code.recursion_limit": "note"}
    limit = {"LANGGRAPH_DEFAULT_RECURSION_LIMIT": "100"}
    assert look(tmp_path, code, env=limit) == {}


def test_the_servers_own_pickle_is_noted(tmp_path: Path) -> None:
    (tmp_path / ".langgraph_api").mkdir()
    assert look(tmp_path) == {"config.server_pickle": "note"}


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_malformed_json_is_a_fault(tmp_path: Path, text: str) -> None:
    path = tmp_path / "langgraph.json"
    path.write_text(text)
    assert codes(list(examine(path))) == {"config.malformed": "fault"}


def test_our_own_langgraph_json_has_no_fault(root: Path) -> None:
    found = list(examine(root / "langgraph.json"))
    assert "fault" not in {each.verdict for each in found}


def test_doctor_tells_faults_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUMBGRAPH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    good = runner.invoke(app, ["doctor", "--json"])
    assert good.exit_code == 0
    told = json.loads(good.stdout)
    assert told["faults"] == 0
    assert {"python", "langgraph", "home", "servers", "event log"} <= {
        each["topic"] for each in told["checks"]
    }
    look(tmp_path, "graph = 3 +")
    bad = runner.invoke(app, ["doctor"])
    assert bad.exit_code == 1
    assert "✗ langgraph.json" in bad.output
    assert not (tmp_path / "home").exists()


def test_unusable_settings_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", "mysql://u:hidden@h/d")
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "PLUMBGRAPH_POSTGRES_URL" in result.output
    assert "hidden" not in result.output


def test_lost_and_torn_lines_of_the_event_log_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"v":1,"event":"trace.lost","count":4}\n{"v":1,"ev\n')
    (found,) = checks.event_log(path)
    assert found.code == "log.lost"
    assert "4 events lost, 1 lines torn" in found.text
