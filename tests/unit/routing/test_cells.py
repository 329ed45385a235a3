from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plumbgraph.cli.app import app
from plumbgraph.errors import SettingsError
from plumbgraph.routing import CostRouter, JsonlOutcomes, ModelCard, OutcomeRow, Price, Request
from plumbgraph.routing.feedback import parse_row
from plumbgraph.routing.outcomes import ALL, Outcome, Tallies, label_of, renamed

CARD = ModelCard(model="a:b", price=Price.per_mtok(1, 1), prior=0.8)


def chosen(path: Path, request: Request) -> Any:
    """What a router that has read the file expects of the model."""
    router = CostRouter([CARD], outcomes=JsonlOutcomes(path))
    router._load()
    return router.decide(request).chosen


def kept(path: Path, *rows: OutcomeRow) -> Path:
    """A file of outcomes, ten of each."""
    file = JsonlOutcomes(path)
    for row in rows * 10:
        file.append(row)
    return path


def ask(node: str = "model", task: str = "hard", skill: str = "") -> Request:
    """A request of a cell."""
    return Request(node=node, skill=skill, task=task, input_tokens=5, worst_input_tokens=9)


def test_outcomes_under_the_node_that_once_decided_speak_for_the_one_that_asks(
    tmp_path: Path,
) -> None:
    old = kept(tmp_path / "old.jsonl", OutcomeRow(model="a:b", score=0.0, task="router//hard"))
    new = kept(tmp_path / "new.jsonl", OutcomeRow(model="a:b", score=0.0, task="model//hard"))
    told = chosen(old, ask())
    assert told.p_source == "cell, 10 outcomes"
    assert told.p_ok == chosen(new, ask()).p_ok < 0.4
    assert json.loads(old.read_text().splitlines()[0])["task"] == "router//hard"


def test_a_node_that_is_called_router_and_asks_keeps_its_own(tmp_path: Path) -> None:
    own = OutcomeRow(model="a:b", score=0.0, task="router//hard", charge_id="c1")
    path = kept(tmp_path / "o.jsonl", own)
    assert chosen(path, ask("router")).p_source == "cell, 10 outcomes"
    assert chosen(path, ask()).p_source == "prior and 10 outcomes of other tasks"
    by_hand = kept(tmp_path / "h.jsonl", OutcomeRow(model="a:b", score=0.0, task="router//hard"))
    assert chosen(by_hand, ask("router")).p_source == "cell, 10 outcomes"


def test_a_bare_label_speaks_for_its_task_at_any_node(tmp_path: Path) -> None:
    path = kept(
        tmp_path / "o.jsonl",
        OutcomeRow(model="a:b", score=1.0, task="hard"),
        OutcomeRow(model="a:b", score=0.0, task="model/skill/hard"),
    )
    assert chosen(path, ask("any")).p_source == "cell, 10 outcomes"
    assert chosen(path, ask(skill="skill")).p_source == "cell, 20 outcomes"
    assert chosen(path, ask(task="easy")).p_source == "prior and 20 outcomes of other tasks"


def test_an_unknown_cell_is_told_and_still_counts_for_its_model(tmp_path: Path) -> None:
    path = kept(tmp_path / "o.jsonl", OutcomeRow(model="a:b", score=0.0, task="gone//x"))
    told = chosen(path, ask())
    assert told.p_source == "prior and 10 outcomes of other tasks"
    assert told.p_ok < CARD.prior
    empty = chosen(tmp_path / "none.jsonl", ask())
    assert (empty.p_source, empty.p_ok) == ("prior", CARD.prior)


def test_explain_says_which_cells_there_are(tmp_path: Path) -> None:
    path = kept(tmp_path / "o.jsonl", OutcomeRow(model="openai:gpt-5", score=1.0, task="gone//x"))
    words = ["router", "explain", "why", "--model", "openai:gpt-5", "--outcomes", str(path)]

    def note(*more: str) -> str:
        done = CliRunner().invoke(app, [*words, *more, "--json"])
        assert done.exit_code == 0
        return str(json.loads(done.stdout)["note"])

    assert note("--task", "y", "--node", "n") == (
        "No outcome stands under 'n//y' (node/skill/task); there are: 'gone//x'."
    )
    assert not note("--node", "gone", "--task", "x")
    assert "'gone//x'" in CliRunner().invoke(app, [*words, "--task", "y"]).stdout


@pytest.mark.parametrize(
    ("cell", "label", "now"),
    [
        ("model//hard", "hard", ALL),
        ("router/s/hard", "hard", "model/s/hard"),
        ("n//a/b", "a/b", ALL),
        ("n/s/", ALL, ALL),
        ("router", ALL, ALL),
        ("hard", ALL, ALL),
        (ALL, ALL, ALL),
    ],
)
def test_names_of_cells(cell: str, label: str, now: str) -> None:
    assert (label_of(cell), renamed(cell)) == (label, now)


def test_an_outcome_in_two_cells_counts_once_for_its_model() -> None:
    tallies = Tallies()
    tallies.add(Outcome("router//x", "a:b", 1.0, "model//x"))
    assert [tallies.get(cell, "a:b").count for cell in ("router//x", "model//x", ALL)] == [1, 1, 1]


@pytest.mark.parametrize("name", ["model", "task", "text", "charge_id"])
def test_names_that_are_no_strings_are_refused_with_their_line(name: str) -> None:
    line = json.dumps({"model": "a:b", "score": 1.0, name: 5})
    with pytest.raises(SettingsError, match=f"here:3: not an outcome: {name} is 5, not a string"):
        parse_row(line, "here:3")
