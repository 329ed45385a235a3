"""From outcomes to a text model, and the check that it may be promoted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from plumbgraph.errors import SettingsError
from plumbgraph.routing.estimate import text_trust
from plumbgraph.routing.evaluate import calibration_error, folds, out_of_fold
from plumbgraph.routing.features import Floats, featurize
from plumbgraph.routing.feedback import OutcomeRow
from plumbgraph.routing.learner import Outcomes, TextModel, Training, fit
from plumbgraph.routing.outcomes import Outcome, Tallies, posterior

MIN_LABELS = 50
_PARTS = 5
_BOUND = 1.645


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Outcomes as a table.

    Attributes:
        heads: Names of the models, the weakest first.
        texts: A request a row.
        tasks: Its task cell.
        outcomes: Scores, a column a model; NaN where not known.
    """

    heads: tuple[str, ...]
    texts: tuple[str, ...]
    tasks: tuple[str, ...]
    outcomes: Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Whether the text model may take over from the task cells alone.

    Attributes:
        labels: Outcomes with a text.
        log_loss_cells: Of the task cells, each row judged without itself.
        log_loss_text: Of the text model blended with them, likewise.
        gain: Mean gain a row, in nats.
        gain_low: Lower end of the gain's 95 % one-sided interval.
        calibration_error: Of the text model.
        promote: True where the interval says that it is no worse.
    """

    labels: int
    log_loss_cells: float
    log_loss_text: float
    gain: float
    gain_low: float
    calibration_error: float
    promote: bool


def table_of(rows: Iterable[OutcomeRow]) -> Table:
    """The outcomes with a text as a table; rows of one text are one row, the latest score wins.

    Raises:
        SettingsError: There are fewer than fifty.
    """
    scores: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row.text:
            scores[(row.text, row.task)][row.model] = row.score
    count = sum(map(len, scores.values()))
    if count < MIN_LABELS:
        raise SettingsError(
            f"{count} outcomes with a text are too few to learn from.",
            hint=f"Collect at least {MIN_LABELS}; until then the task cells decide.",
        )
    names = sorted({model for told in scores.values() for model in told})
    means = {n: np.mean([t[n] for t in scores.values() if n in t]) for n in names}
    heads = tuple(sorted(names, key=lambda name: (means[name], name)))
    outcomes = np.array([[told.get(h, np.nan) for h in heads] for told in scores.values()])
    texts, tasks = zip(*scores, strict=True)
    return Table(heads, texts, tasks, outcomes)


def fit_table(table: Table, how: Training | None = None) -> TextModel:
    """The text model of a table."""
    return fit(table.heads, [featurize(text) for text in table.texts], table.outcomes, how)


def compare(table: Table, how: Training | None = None, *, seed: int = 0) -> Comparison:
    """Judge the text model against the task cells, by five-fold cross-validation."""
    fold = folds(len(table.texts), min(_PARTS, len(table.texts)), seed=seed)
    text = out_of_fold([featurize(t) for t in table.texts], table.outcomes, fold, how)
    cells = _cells(table, fold)
    known = ~np.isnan(table.outcomes)
    trust = np.array([text_trust(float(count)) for count in known.sum(axis=0)])
    blended = trust * text + (1 - trust) * cells
    y = table.outcomes[known]
    old, new = _loss(cells[known], y), _loss(blended[known], y)
    gains = old - new
    low = float(gains.mean() - _BOUND * gains.std() / np.sqrt(len(gains)))
    return Comparison(
        labels=int(known.sum()),
        log_loss_cells=float(old.mean()),
        log_loss_text=float(new.mean()),
        gain=float(gains.mean()),
        gain_low=low,
        calibration_error=calibration_error(blended[known], y),
        promote=low >= 0,
    )


def _cells(table: Table, fold: Sequence[int] | np.ndarray) -> Floats:
    told = np.zeros(table.outcomes.shape)
    folds_ = np.asarray(fold)
    for number in np.unique(folds_):
        tallies = Tallies()
        for row in np.flatnonzero(folds_ != number):
            for head, score in zip(table.heads, table.outcomes[row], strict=True):
                if not np.isnan(score):
                    tallies.add(Outcome(table.tasks[row], head, float(score)))
        for row in np.flatnonzero(folds_ == number):
            told[row] = [posterior(tallies, table.tasks[row], h, 0.7)[0] for h in table.heads]
    return told


def _loss(p: Floats, y: Floats) -> Floats:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    loss: Floats = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return loss
