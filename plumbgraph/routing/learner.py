"""P(ok) from the text: one logistic head a model over hashed words, laid over a shape prior.

The prior is a belief: longer requests are harder, for weak models more. A ridge logistic on a few
figures of the text's shape and the word weights learn what the belief leaves unexplained. Where
labels are few, only so much of that counts as held-out labels speak for.

Method: online logistic regression with per-weight step sizes (Duchi et al. 2011, AdaGrad) over
hashed features (Weinberger et al. 2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from plumbgraph.routing.features import BITS, SHAPE_NAMES, Features, Floats

Outcomes: TypeAlias = NDArray[np.float64]
"""One row a request, one column a head: 1 right, 0 wrong, NaN not known; scores between count
in part."""

LEAN = -0.4
"""Longer requests are harder, more so for weak models: where few labels speak, this does."""

_LENGTH = SHAPE_NAMES.index("log characters")
_CLIP = 12.0
_PARTS = 5
_SHARES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How to fit.

    Attributes:
        epochs: Passes over the labels.
        rate: Step size of the word weights.
        enough_labels: From so many labels on, all that was learned counts; with fewer, the share
            that five-fold cross-validation on those labels speaks for.
        ridge: Strength of the pull towards what was believed before, as a count of labels.
        seed: Of the order in which labels are seen.
    """

    epochs: int = 5
    rate: float = 0.05
    enough_labels: int = 1_000
    ridge: float = 300.0
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TextModel:
    """A fitted model.

    Attributes:
        heads: Names of the models, in the order of columns.
        prior: Weights of the shape figures, a row a figure: belief and what was learned.
        words: Weights of the hashed words, a row a place.
        trust: How much of what was learned counts, by head, 0 to 1.
        labels: Number of labels behind each head.
    """

    heads: tuple[str, ...]
    prior: Floats
    words: NDArray[np.float32]
    trust: Floats
    labels: tuple[int, ...]

    def predict(self, features: Features) -> list[float]:
        """P(ok) by head."""
        indices = features.indices
        ones = np.ones(len(indices), np.float32)
        words = (
            ones @ self.words.take(indices, axis=0)
        ).tolist()  # sum(axis=0) takes twice as long
        base, trust = (features.shape @ self.prior).tolist(), self.trust.tolist()
        root = math.sqrt(len(indices))
        logits = [b + t * w / root for b, t, w in zip(base, trust, words, strict=True)]
        return [1 / (1 + math.exp(-min(max(x, -_CLIP), _CLIP))) for x in logits]


def fit(
    heads: Sequence[str],
    seen: Sequence[Features],
    outcomes: Outcomes,
    how: Training | None = None,
    *,
    lean: Sequence[float] | None = None,
) -> TextModel:
    """Fit a model to labelled requests.

    Args:
        heads: Names of the columns of `outcomes`.
        seen: One entry a row of `outcomes`.
        outcomes: What each model made of each request.
        how: Rates and sizes; the default suits some hundred to some ten thousand labels.
        lean: What is believed before any label: the change in a head's log-odds where a request
            is one standard deviation longer than usual. Default: `LEAN` from the first head
            (the weakest) to none for the last.
    """
    how = how or Training()
    lean = lean or [LEAN * (1 - i / max(len(heads) - 1, 1)) for i in range(len(heads))]
    whole = _learn(seen, outcomes, how, lean)
    labels = (~np.isnan(outcomes)).sum(axis=0)
    trust = np.ones(len(heads))
    if (few := labels < how.enough_labels).any():
        trust[few] = _trust(seen, outcomes, how, lean, few)
    return TextModel(
        heads=tuple(heads),
        prior=whole.belief + trust * (whole.shape - whole.belief),
        words=whole.words,
        trust=trust,
        labels=tuple(int(n) for n in labels),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """Weights of the shape figures as believed and as learned, and of the words."""

    belief: Floats
    shape: Floats
    words: NDArray[np.float32]


def _learn(
    seen: Sequence[Features], outcomes: Outcomes, how: Training, lean: Sequence[float]
) -> _Learned:
    shapes = np.array([f.shape for f in seen])
    center, scale = shapes.mean(axis=0), shapes.std(axis=0)
    center[0], scale = 0.0, np.where(scale > 1e-9, scale, 1.0)  # noqa: PLR2004 - a constant figure
    standard = (shapes - center) / scale
    learned = np.column_stack(
        [
            _ridge_logistic(standard, y, how.ridge, at)
            for y, at in zip(outcomes.T, lean, strict=True)
        ]
    )
    belief = np.zeros_like(learned)
    belief[0], belief[_LENGTH] = learned[0], lean
    return _Learned(
        belief=_unscaled(belief, center, scale),
        shape=_unscaled(learned, center, scale),
        words=_fit_words(seen, outcomes, standard @ learned, how),
    )


def _trust(
    seen: Sequence[Features],
    outcomes: Outcomes,
    how: Training,
    lean: Sequence[float],
    few: NDArray[np.bool_],
) -> float:
    """How much of what is learned the held-out labels of the few-label heads speak for.

    The smallest share within one standard error of the best (Breiman et al. 1984), one for all
    heads, as what counts is how they differ.
    """
    fold = np.random.default_rng(how.seed).permutation(len(seen)) % _PARTS
    loss = np.zeros((len(_SHARES), len(seen)))
    for number in range(_PARTS):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if not len(train) or not len(test):
            continue
        part = _learn([seen[i] for i in train.tolist()], outcomes[train], how, lean)
        held = [seen[i] for i in test.tolist()]
        shapes = np.array([f.shape for f in held])
        base = shapes @ part.belief
        more = shapes @ part.shape - base
        more += [part.words[f.indices].sum(axis=0) / math.sqrt(len(f.indices)) for f in held]
        for place, share in enumerate(_SHARES):
            loss[place, test] = _log_loss(_sigmoid(base + share * more), outcomes[test], few)
    behind = loss - loss[loss.sum(axis=1).argmin()]
    near = behind.mean(axis=1) <= behind.std(axis=1) / math.sqrt(len(seen))
    return _SHARES[int(near.argmax())]


def _log_loss(p: Floats, y: Floats, heads: NDArray[np.bool_]) -> Floats:
    """The sum over the heads whose label is known, by row."""
    loss: Floats = np.nansum(-(y * np.log(p) + (1 - y) * np.log(1 - p))[:, heads], axis=1)
    return loss


def _unscaled(prior: Floats, center: Floats, scale: Floats) -> Floats:
    """The same weights for shape figures as they are; the first figure is the constant."""
    weights = prior / scale[:, None]
    weights[0] -= center @ weights
    return weights


def _ridge_logistic(x: Floats, y: Floats, ridge: float, lean: float) -> Floats:
    """Newton's method on the rows whose label is known; the constant is not pulled."""
    known = ~np.isnan(y)
    x, y = x[known], y[known]
    believed = np.zeros(len(SHAPE_NAMES))
    believed[_LENGTH] = lean
    weights = believed.copy()
    pull = np.diag([1e-3, *[ridge] * (len(SHAPE_NAMES) - 1)])
    for _ in range(20):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (p - y) + pull @ (weights - believed)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + pull
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if np.abs(step).max() < 1e-6:  # noqa: PLR2004 - converged
            break
    return weights


def _fit_words(
    seen: Sequence[Features], outcomes: Outcomes, offset: Floats, how: Training
) -> NDArray[np.float32]:
    weights = np.zeros((1 << BITS, outcomes.shape[1]), dtype=np.float32)
    squares = np.full_like(weights, 1e-8)
    known = ~np.isnan(outcomes)
    targets = np.where(known, outcomes, 0.0)
    draw = np.random.default_rng(how.seed)
    for _ in range(how.epochs):
        for row in draw.permutation(len(seen)):
            indices = seen[row].indices
            norm = 1 / np.sqrt(len(indices))
            held = weights[indices]
            p = _sigmoid(offset[row] + norm * held.sum(axis=0))
            slope = (norm * (p - targets[row]) * known[row]).astype(np.float32)
            grown = squares[indices] + slope * slope
            squares[indices] = grown
            weights[indices] = held - how.rate * slope / np.sqrt(grown)
    return weights


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x, -_CLIP, _CLIP)))
