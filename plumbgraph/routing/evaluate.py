"""How good a router is: the recovered gap over the share of strong calls, and calibration.

Source of APGR and CPT: Ong et al. 2024, "RouteLLM", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plumbgraph.routing.features import Features, Floats
from plumbgraph.routing.learner import Outcomes, Training, fit

_HALF, _MOST = 0.5, 0.8


@dataclass(frozen=True, slots=True)
class Curve:
    """Quality over cost of a router between two models.

    Attributes:
        apgr: Mean share of the quality gap that is recovered, over all shares of strong calls;
            0.5 is chance.
        cpt50: Percent of strong calls that recover half the gap.
        cpt80: Percent of strong calls that recover 80 %.
    """

    apgr: float
    cpt50: float
    cpt80: float


def curve(score: Floats, weak: Floats, strong: Floats, fold: NDArray[np.intp]) -> Curve:
    """The curve of a score by which requests go to the strong model, highest first.

    Scores are ranked within their fold, as those of different models do not compare.
    """
    rank = np.empty(len(score))
    for number in np.unique(fold):
        places = np.flatnonzero(fold == number)
        order = np.argsort(-score[places], kind="stable")
        rank[places[order]] = (np.arange(len(places)) + 0.5) / len(places)
    gain = (strong - weak)[np.argsort(rank, kind="stable")]
    recovered = np.concatenate([[0.0], np.cumsum(gain)]) / gain.sum()
    share = np.linspace(0, 100, len(recovered))
    return Curve(
        apgr=float(recovered.mean()),
        cpt50=float(share[np.argmax(recovered >= _HALF)]),
        cpt80=float(share[np.argmax(recovered >= _MOST)]),
    )


def out_of_fold(
    seen: Sequence[Features],
    outcomes: Outcomes,
    fold: NDArray[np.intp],
    how: Training | None = None,
) -> Floats:
    """P(ok) of every row by a model that was fitted without the row's fold."""
    heads = [str(n) for n in range(outcomes.shape[1])]
    told = np.full(outcomes.shape, np.nan)
    for number in np.unique(fold):
        train = np.flatnonzero(fold != number).tolist()
        test = np.flatnonzero(fold == number).tolist()
        model = fit(heads, [seen[i] for i in train], outcomes[train], how)
        for row in test:
            told[row] = model.predict(seen[row])
    return told


def folds(count: int, parts: int, *, seed: int = 0) -> NDArray[np.intp]:
    """A fold for each row, sizes as equal as can be, drawn at random."""
    return np.random.default_rng(seed).permutation(count) % parts


def calibration_error(p: Floats, right: Floats, *, bins: int = 10) -> float:
    """Mean distance of what was predicted to what came, over bins of equal width (ECE)."""
    place = np.minimum((p * bins).astype(int), bins - 1)
    total = 0.0
    for number in range(bins):
        inside = place == number
        if inside.any():
            total += inside.sum() * abs(p[inside].mean() - right[inside].mean())
    return float(total / len(p))
