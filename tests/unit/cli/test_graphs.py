from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from plumbgraph.cli import graphs
from plumbgraph.errors import SettingsError

GRAPH = """
from langgraph.graph import START, MessagesState, StateGraph
import neighbour
graph = StateGraph(MessagesState).add_node("a", lambda state: {}).add_edge(START, "a")
done = graph.compile()
def make(): return graph
def make_from(config): return graph
async def later(): return graph
def two(a, b): return graph
number = 42
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "agent.py").write_text(GRAPH)
    (tmp_path / "neighbour.py").write_text("")
    (tmp_path / "broken.py").write_text("import no_such_module_at_all\n")
    entries = {"one": "./agent.py:graph", "two": {"path": "./agent.py:make"}}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": entries}))
    before = list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = before
    sys.modules.pop("neighbour", None)


def test_names_of_langgraph_json_are_found_from_folders_below(folder: Path) -> None:
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    named = graphs.find("one", folder=below)
    assert named.source == str(folder / "agent.py")
    assert graphs.find(named.name, folder=Path("/")) == named


@pytest.mark.parametrize("spec", ["one", "two", "agent.py:done", "agent.py:make_from"])
def test_every_form_of_graph_gets_our_saver(folder: Path, spec: str) -> None:
    saver = InMemorySaver()
    graph = graphs.compiled(graphs.load(graphs.find(spec)), saver=saver, store=None)
    assert graph.checkpointer is saver


def test_a_file_is_found_again_from_anywhere(folder: Path) -> None:
    named = graphs.find("agent.py:graph")
    assert graphs.find(named.name, folder=Path("/")) == named


def test_the_assistant_is_shipped(tmp_path: Path) -> None:
    named = graphs.find("assistant", folder=tmp_path)
    graph = graphs.load(named)
    assert graphs.wants_model(graphs.compiled(graph, saver=None, store=None))
    assert not graphs.may_use_store(named) or "plumbgraph.memory" in sys.modules


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nope", "Known here: one, two, assistant"),
        ("nope.py:graph", "no file"),
        ("langgraph.json:nope", "no graph 'nope'"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(graphs.GraphNotFound, match=message):
        graphs.find(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("agent.py:nope", "no attribute 'nope'"),
        ("agent.py:number", "is no graph but 'int'"),
        ("agent.py:later", "cannot call"),
        ("agent.py:two", "cannot call"),
        ("broken.py:graph", "no_such_module_at_all"),
    ],
)
def test_what_cannot_be_loaded_says_why(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        graphs.load(graphs.find(spec))


@pytest.mark.parametrize("text", ["{", "[]", '{"graphs": 3}'])
def test_a_malformed_langgraph_json_is_refused(folder: Path, text: str) -> None:
    (folder / "langgraph.json").write_text(text)
    with pytest.raises(SettingsError, match=r"langgraph\.json"):
        graphs.find("one")
