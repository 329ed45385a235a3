from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from plumbgraph.errors import SettingsError
from plumbgraph.routing import (
    Aim,
    CostRouter,
    EmbeddingPredictor,
    JsonlOutcomes,
    ModelCard,
    OutcomeRow,
    Price,
    Request,
    TextPredictor,
    load_text_model,
    save_text_model,
)
from plumbgraph.routing.evaluate import calibration_error, curve, folds
from plumbgraph.routing.features import featurize
from plumbgraph.routing.feedback import parse_row
from plumbgraph.routing.learner import fit
from plumbgraph.routing.report import pairs, tasks
from plumbgraph.routing.training import compare, fit_table, table_of

EASY = ["what is the capital of", "translate the word", "spell the name of"]
HARD = ["prove the theorem about", "derive the integral of", "find all roots of"]
THINGS = ["france", "apple", "river", "primes", "sets", "curves", "bonn", "groups"]


def rows(count: int, *, seed: int = 0, task: str = "") -> list[OutcomeRow]:
    """The weak model does the easy requests only, the strong one all."""
    draw = random.Random(seed)
    told = []
    for n in range(count):
        hard = draw.random() < 0.5
        text = f"{draw.choice(HARD if hard else EASY)} {draw.choice(THINGS)} {n}"
        told.append(OutcomeRow(model="a:weak", score=float(not hard), text=text, task=task))
        told.append(OutcomeRow(model="a:strong", score=1.0, text=text, task=task))
    return told


def test_features_are_the_same_in_every_process() -> None:
    code = (
        "from plumbgraph.routing.features import featurize;"
        "print(featurize('Who wrote the 2 books?').indices.tolist())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == featurize("Who wrote the 2 books?").indices.tolist()


@pytest.mark.parametrize("text", ["", "a", "a b", "ß 12 . ?", "x" * 100_000])
def test_any_text_has_features(text: str) -> None:
    features = featurize(text)
    assert len(set(features.indices.tolist())) == len(features.indices) > 0
    assert np.isfinite(features.shape).all()


def test_the_text_model_learns_and_moves_the_choice(tmp_path: Path) -> None:
    table = table_of(rows(600))
    assert table.heads == ("a:weak", "a:strong")
    model = fit_table(table)
    save_text_model(model, tmp_path / "model.npz")
    predict = TextPredictor(load_text_model(tmp_path / "model.npz"))
    hard, easy = predict("derive the integral of sets"), predict("spell the name of bonn")
    assert hard["a:weak"][0] < 0.3
    assert easy["a:weak"][0] > 0.7
    assert predict("x") == TextPredictor(model)("x")
    price = {"a:weak": Price.per_mtok(1, 1), "a:strong": Price.per_mtok(9, 9)}
    cards = [ModelCard(model=name, price=told, prior=0.8) for name, told in price.items()]
    router = CostRouter(cards, predict=predict, aim=Aim.quality(0.7))
    for text, model_name in (("prove the theorem about primes", "a:strong"), (EASY[0], "a:weak")):
        request = Request(text=text, input_tokens=10, worst_input_tokens=20)
        assert router.decide(request).model == model_name


def test_labels_that_say_nothing_new_leave_the_belief_in_charge() -> None:
    draw = np.random.default_rng(3)
    words = [f"w{n}" for n in range(300)]
    sizes = draw.integers(4, 120, 120)
    texts = [" ".join(draw.choice(words, size)) for size in sizes]
    longer = (np.log(sizes) - np.log(sizes).mean()) / np.log(sizes).std()
    right = np.column_stack([1 / (1 + np.exp(0.4 * longer)), np.full(120, 0.8)])
    outcomes = (draw.random((120, 2)) < right).astype(float)
    model = fit(("a:weak", "a:strong"), [featurize(text) for text in texts], outcomes)
    assert model.trust.tolist() == [0.0, 0.0]
    short, long = (model.predict(featurize("x" * size)) for size in (40, 4_000))
    assert short[0] - short[1] > long[0] - long[1]


def test_labels_that_say_much_count_though_they_are_few() -> None:
    assert fit_table(table_of(rows(30))).trust.min() >= 0.5


def test_unknown_outcomes_teach_nothing_about_their_model() -> None:
    only_weak = [row for row in rows(200) if row.model == "a:weak"]
    extra = [OutcomeRow(model="a:strong", score=1.0, text="prove the theorem about sets 0")]
    table = table_of(only_weak + extra)
    assert fit_table(table).labels == (200, 1)


def test_too_few_outcomes_are_refused_and_bad_lines_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="too few"):
        table_of(rows(10))
    path = tmp_path / "o.jsonl"
    path.write_text('{"model": "a:b", "score": 1}\n{"model": "a:b", "score": 7}\n')
    with pytest.raises(SettingsError, match=r"o\.jsonl:2.*not in 0 to 1"):
        JsonlOutcomes(path).read()
    with pytest.raises(SettingsError, match="not an outcome"):
        parse_row("[]", "here:1")


def test_promotion_needs_evidence() -> None:
    good = compare(table_of(rows(600)))
    assert good.promote
    assert good.log_loss_text < good.log_loss_cells
    draw = random.Random(1)
    noise = [
        OutcomeRow(model="a:weak", score=float(draw.random() < 0.6), text=f"{THINGS[n % 8]} {n}")
        for n in range(400)
    ]
    assert not compare(table_of(noise)).promote


def test_metrics_of_a_perfect_and_a_useless_score() -> None:
    weak = np.array([0.0, 0.0, 1.0, 1.0] * 50)
    strong = np.ones(200)
    fold = folds(200, 5)
    perfect = curve(1 - weak, weak, strong, fold)
    assert perfect.cpt50 == pytest.approx(25, abs=1.5)
    assert perfect.apgr > 0.7
    drawn = np.random.default_rng(0).random(200)
    assert curve(drawn, weak, strong, fold).apgr == pytest.approx(0.5, abs=0.06)
    assert calibration_error(np.full(200, 0.5), weak) == pytest.approx(0.0)


def test_embeddings_may_speak_instead() -> None:
    table = table_of(rows(60))
    embeddings = DeterministicFakeEmbedding(size=16)
    predict = EmbeddingPredictor(embeddings, table.texts, table.heads, table.outcomes, neighbors=1)
    p, labels = predict(table.texts[0])["a:weak"]
    assert (p, labels) == (table.outcomes[0, 0], 60)
    with pytest.raises(SettingsError, match="do not fit"):
        EmbeddingPredictor(embeddings, ["x"], table.heads, table.outcomes)


def test_a_planted_drop_from_benchmark_to_experience_is_flagged() -> None:
    draw = random.Random(4)
    told = [OutcomeRow(model="a:b", score=1.0, benchmark=True) for _ in range(85)]
    told += [OutcomeRow(model="a:b", score=0.0, benchmark=True) for _ in range(15)]
    told += [
        OutcomeRow(model="a:b", score=float(draw.random() < 0.7), task="code") for _ in range(400)
    ]
    (row,) = tasks(told)
    assert row.flagged
    assert row.gap == pytest.approx(-0.15, abs=0.06)
    same = [OutcomeRow(model="a:b", score=float(n % 20 < 17), task="chat") for n in range(400)]
    assert not tasks(told[:100] + same)[0].flagged


def paired(own: float, other: float, pair: int) -> list[OutcomeRow]:
    return [
        OutcomeRow(model="a:big", score=own, pair=str(pair), usd=0.1),
        OutcomeRow(model="a:small", score=other, pair=str(pair), usd=0.01, shadow=True),
    ]


def test_a_notebook_shows_reports_as_tables() -> None:
    told = [OutcomeRow(model="a:b", score=1.0, task="<t>")] * 3
    told.append(OutcomeRow(model="a:b", score=0.2, task="<t>", benchmark=True))
    told += [OutcomeRow(model="a:b", score=1.0, task="t", pair="p", charge_id="1")]
    told += [OutcomeRow(model="c:d", score=0.0, task="t", pair="p", shadow=True)]
    shown = tasks(told)._repr_html_() + pairs(told)._repr_html_()
    assert "&lt;t&gt;" in shown
    assert "+0.80 !" in shown
    assert "<td>wait</td>" in shown


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([(1.0, 1.0)] * 200, "promote"),
        ([(1.0, 0.0)] * 30 + [(1.0, 1.0)] * 30, "keep"),
        ([(1.0, 1.0)] * 5, "wait"),
        ([(1.0, 0.0), (0.0, 1.0)] * 10, "wait"),
    ],
)
def test_shadow_pairs_decide_promotion(scores: list[tuple[float, float]], verdict: str) -> None:
    told = [row for n, (own, other) in enumerate(scores) for row in paired(own, other, n)]
    (row,) = pairs(told)
    assert row.verdict == verdict
    assert row.saved_usd == pytest.approx(0.09)
