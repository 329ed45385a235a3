"""Outcomes from LangSmith: examples of a dataset, and feedback on runs as scores of charges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from plumbgraph.errors import SettingsError
from plumbgraph.routing.feedback import OutcomeRow

_TEXTS = ("text", "input", "question", "prompt", "query")


class Client(Protocol):
    """The part of `langsmith.Client` that is needed."""

    def list_examples(self, *, dataset_name: str) -> Iterable[Any]:
        """The examples of a dataset."""


def outcomes_of_dataset(client: Client, dataset: str) -> list[OutcomeRow]:
    """Outcomes from a dataset whose examples say which model got which score.

    The text is the input `text`, `input`, `question`, `prompt` or `query`. Scores are the output
    `scores`, by `provider:name`, or the outputs `model` and `score`. The task is the metadata's
    `task`.

    Raises:
        SettingsError: No example says so.
    """
    rows = [row for e in client.list_examples(dataset_name=dataset) for row in _of_example(e)]
    if not rows:
        raise SettingsError(
            f"The dataset {dataset!r} holds no outcomes.",
            hint='Give its examples outputs such as {"scores": {"provider:name": 1.0}}.',
        )
    return rows


def _of_example(example: Any) -> list[OutcomeRow]:
    inputs, outputs = example.inputs or {}, example.outputs or {}
    text = next((str(inputs[key]) for key in _TEXTS if inputs.get(key)), "")
    task = str((example.metadata or {}).get("task", ""))
    scores = outputs.get("scores")
    if not isinstance(scores, Mapping):
        scores = {outputs["model"]: outputs["score"]} if {"model", "score"} <= set(outputs) else {}
    return [
        OutcomeRow(model=str(model), score=float(score), text=text, task=task, pair=str(example.id))
        for model, score in scores.items()
    ]
