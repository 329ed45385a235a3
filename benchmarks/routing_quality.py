"""How well the text model routes between two models, beside RouteLLM's published figures."""

from __future__ import annotations

import csv
import gzip
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plumbgraph.policy import Policy
from plumbgraph.routing import Aim, CostRouter, ModelCard, Price, Request, TextPredictor
from plumbgraph.routing.evaluate import Curve, calibration_error, curve, folds, out_of_fold
from plumbgraph.routing.features import Features, featurize
from plumbgraph.routing.learner import TextModel, fit
from plumbgraph.routing.quantile import LiveQuantile

PEERS = {
    "mmlu": {"apgr": 0.603, "cpt50": 35.4, "cpt80": 70.3},
    "gsm8k": {"apgr": 0.622, "cpt50": 33.6, "cpt80": 63.3},
}
TARGETS = {
    "mmlu": {"apgr": 0.69, "cpt50": 26.0, "cpt80": 56.0},
    "gsm8k": {"apgr": 0.64},
}
HEADS = ("weak", "strong")
SHARE = 0.2
Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Pair:
    """Right or wrong of a weak and a strong model on the same prompts."""

    name: str
    texts: list[str]
    outcomes: NDArray[np.float64]
    labels: list[str]
    seen: list[Features]

    def curve(self, p: NDArray[np.float64], fold: NDArray[np.intp]) -> Curve:
        return curve(p[:, 1] - p[:, 0], self.outcomes[:, 0], self.outcomes[:, 1], fold)


def load(path: Path) -> Pair:
    """A table with the columns prompt, weak, strong, label."""
    csv.field_size_limit(sys.maxsize)
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.reader(file))[1:]
    outcomes = np.array([[float(row[1]), float(row[2])] for row in rows])
    texts = [row[0] for row in rows]
    name = path.name.removesuffix("_pair.csv.gz")
    return Pair(name, texts, outcomes, [row[3] for row in rows], [featurize(t) for t in texts])


def fitted(pair: Pair, rows: Sequence[int]) -> TextModel:
    return fit(HEADS, [pair.seen[i] for i in rows], pair.outcomes[rows])


def predicted(model: TextModel, seen: Sequence[Features]) -> NDArray[np.float64]:
    return np.array([model.predict(features) for features in seen])


def row(figure: str, ours: float, peer: float | None, target: float | None, *, up: bool) -> Any:
    met = None if target is None else "yes" if (ours >= target) == up else "no"
    return {"figure": figure, "ours": round(ours, 5), "peer": peer, "target": target, "met": met}


def five_fold(pair: Pair, *, seeds: int) -> Rows:
    """In-domain, the mean over draws of the folds; the length of the prompt alone beside it."""
    curves, prior = [], []
    error = 0.0
    for seed in range(seeds):
        fold = folds(len(pair.texts), 5, seed=seed)
        p = out_of_fold(pair.seen, pair.outcomes, fold)
        curves.append(pair.curve(p, fold))
        lengths = np.array([float(len(text)) for text in pair.texts])
        prior.append(pair.curve(np.column_stack([-lengths, np.zeros_like(lengths)]), fold).apgr)
        error = calibration_error(p[:, 0], pair.outcomes[:, 0])
    peer, target = PEERS.get(pair.name, {}), TARGETS.get(pair.name, {})
    rows = []
    for metric, up in (("apgr", True), ("cpt50", False), ("cpt80", False)):
        ours = float(np.mean([getattr(c, metric) for c in curves]))
        title = f"{pair.name}: {metric.upper()}, five-fold, {seeds} draws"
        rows.append(row(title, ours, peer.get(metric), target.get(metric), up=up))
    rows.append(row(f"{pair.name}: APGR, length alone", float(np.mean(prior)), None, None, up=True))
    rows.append(row(f"{pair.name}: calibration error of P(weak)", error, None, None, up=False))
    return rows


def by_labels(pair: Pair, sizes: Sequence[int], *, test: int, draws: int) -> Rows:
    """How many labels it takes, on one fixed test set."""
    order = np.random.default_rng(7).permutation(len(pair.texts))
    held, pool = order[:test].tolist(), order[test:]
    one = np.zeros(test, dtype=np.intp)
    weak, strong = pair.outcomes[held].T
    lengths = np.array([float(len(pair.texts[i])) for i in held])
    prior = curve(lengths, weak, strong, one).apgr
    rows = [row(f"{pair.name}: APGR, no labels (length)", prior, None, None, up=True)]
    for size in sizes:
        found = []
        for draw in range(draws if size < 5000 else 1):
            train = np.random.default_rng(100 + draw).permutation(pool)[:size].tolist()
            p = predicted(fitted(pair, train), [pair.seen[i] for i in held])
            found.append(curve(p[:, 1] - p[:, 0], weak, strong, one).apgr)
        # With few labels a router is never worse than the prompt's length alone.
        targets = {100: prior}
        if pair.name == "mmlu":
            targets = {100: max(0.58, prior), 1500: 0.645}
        peer = 0.603 if size == 1500 and pair.name == "mmlu" else None
        title = f"{pair.name}: APGR, {size} labels (worst draw {min(found):.3f})"
        rows.append(row(title, float(np.mean(found)), peer, targets.get(size), up=True))
    return rows


def leave_domain_out(pair: Pair) -> Rows:
    """Every prompt judged by a model that saw none of its subject's group."""
    subjects = sorted(set(pair.labels))
    if len(subjects) < 6:
        return []
    group = {s: i % 6 for i, s in enumerate(np.random.default_rng(3).permutation(subjects))}
    fold = np.array([group[label] for label in pair.labels])
    found = pair.curve(out_of_fold(pair.seen, pair.outcomes, fold), fold)
    title = f"{pair.name}: APGR, subjects never seen (6 groups)"
    return [row(title, found.apgr, None, None, up=True)]


def across(train: Pair, test: Pair) -> Rows:
    """Trained on one data set, tested on another: what a router brings to a stranger's task."""
    model = fitted(train, range(len(train.texts)))
    p = predicted(model, test.seen)
    found = test.curve(p, np.zeros(len(test.texts), dtype=np.intp))
    title = f"{train.name} → {test.name}: APGR, never seen"
    return [row(title, found.apgr, None, None, up=True)]


def drift(before: Pair, after: Pair) -> Rows:
    """The share of strong calls when traffic shifts from one data set to the other."""
    model = fitted(before, range(0, len(before.texts), 2))
    old = predicted(model, before.seen[1::2])
    new = predicted(model, after.seen)
    scores, later = old[:, 1] - old[:, 0], new[:, 1] - new[:, 0]
    fixed = float((later >= np.quantile(scores, 1 - SHARE)).mean())
    live = LiveQuantile(SHARE)
    for score in scores:
        live.passes(float(score))
    passed = [live.passes(float(score))[0] for score in later[:400]]
    first, second = float(np.mean(passed[:200])), float(np.mean(passed[200:400]))
    name = f"share of strong calls, {before.name} → {after.name}, wanted {SHARE:.0%}:"
    return [
        {"figure": f"{name} fixed threshold", "ours": fixed, "peer": None, "target": None},
        {
            "figure": f"{name} first 200 after the shift",
            "ours": first,
            "peer": fixed,
            "target": SHARE,
            "met": "yes" if abs(first - SHARE) <= 0.03 else "no",
        },
        {
            "figure": f"{name} next 200",
            "ours": second,
            "peer": fixed,
            "target": SHARE,
            "met": "yes" if abs(second - SHARE) <= 0.03 else "no",
        },
    ]


def decision_cpu(pair: Pair) -> Rows:
    """CPU of one decision between two models, text model, policy and all, no I/O."""
    model = fitted(pair, range(2000))
    renamed = TextModel(
        heads=("a:weak", "a:strong"),
        **{n: getattr(model, n) for n in ("prior", "words", "trust", "labels")},
    )
    cards = [
        ModelCard(model="a:weak", price=Price.per_mtok(0.1, 0.4)),
        ModelCard(model="a:strong", price=Price.per_mtok(3, 15)),
    ]
    router = CostRouter(
        cards, predict=TextPredictor(renamed), aim=Aim.quality(0.8), policy=Policy()
    )
    took = []
    for text in pair.texts[2000:5000]:
        request = Request(text=text, node="n", input_tokens=200, worst_input_tokens=900)
        start = time.thread_time_ns()
        router.decide(request)
        took.append((time.thread_time_ns() - start) / 1000)
    p50, p99 = np.quantile(took, [0.5, 0.99])
    return [
        row("decision, CPU p50, µs", float(p50), 20_000.0, 150.0, up=False),
        row("decision, CPU p99, µs", float(p99), None, 1_000.0, up=False),
    ]


PARTS = ("quality", "labels", "strangers", "drift", "decision")


def measure(folder: Path, wanted: Collection[str] = PARTS) -> dict[str, Rows]:
    """The wanted tables of all sets in the folder; a further `*_pair.csv.gz` is measured too."""
    pairs = {p.name: p for p in map(load, sorted((folder / "routing").glob("*_pair.csv.gz")))}
    both = {"mmlu", "gsm8k"} <= pairs.keys()
    ways: dict[str, Callable[[], Rows]] = {
        "quality": lambda: [row for pair in pairs.values() for row in _quality(pair)],
        "labels": lambda: [row for pair in pairs.values() for row in _labels(pair)],
        "strangers": lambda: _strangers(list(pairs.values())),
        "drift": lambda: drift(pairs["mmlu"], pairs["gsm8k"]) if both else [],
        "decision": lambda: decision_cpu(pairs["mmlu"]) if "mmlu" in pairs else [],
    }
    return {name: way() for name, way in ways.items() if name in wanted}


def _small(pair: Pair) -> bool:
    return len(pair.texts) < 5000


def _quality(pair: Pair) -> Rows:
    return five_fold(pair, seeds=5 if _small(pair) else 3)


def _labels(pair: Pair) -> Rows:
    sizes = (100, 300, 900) if _small(pair) else (100, 300, 1000, 1500, 3000, 10_000)
    return by_labels(pair, sizes, test=400 if _small(pair) else 4000, draws=5)


def _strangers(pairs: Sequence[Pair]) -> Rows:
    """What is always printed beside the headline: tasks the labels said nothing of."""
    rows = [row for pair in pairs for row in leave_domain_out(pair)]
    for train, test in permutations(pairs, 2):
        rows += across(train, test)
    return rows
