"""P(ok) of each model from a request's text: the fitted text model, or a user's embeddings."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile, ZipFile

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from plumbgraph.errors import SettingsError
from plumbgraph.routing.features import BITS, featurize
from plumbgraph.routing.learner import Outcomes, TextModel

Predict: TypeAlias = Callable[[str], Mapping[str, tuple[float, int]]]
"""P(ok) and the number of labels behind it, by model name."""

_VERSION = 1
_MOST_BYTES = 256 * 2**20
_UNSOUND = (
    *(OSError, ValueError, LookupError, TypeError, EOFError),
    *(BadZipFile, zlib.error, NotImplementedError, MemoryError),
)


class TextPredictor:
    """The fitted text model as the router asks it.

    Args:
        model: What `fit` gave, or `load_text_model` read.
    """

    def __init__(self, model: TextModel) -> None:
        self.model = model

    def __call__(self, text: str) -> dict[str, tuple[float, int]]:
        """P(ok) and number of labels, by model name."""
        p = self.model.predict(featurize(text))
        pairs = zip(p, self.model.labels, strict=True)
        return dict(zip(self.model.heads, pairs, strict=True))


class EmbeddingPredictor:
    """The nearest of the user's own labelled requests, by any LangChain embeddings.

    Each question is one call of the embeddings, blocking: use local ones, or expect their
    latency in every decision.

    Args:
        embeddings: Makes vectors of texts.
        texts: Labelled requests.
        heads: Names of the models.
        outcomes: A row a text, a column a model; NaN where not known.
        neighbors: So many nearest labels speak.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        texts: Sequence[str],
        heads: Sequence[str],
        outcomes: Outcomes,
        *,
        neighbors: int = 50,
    ) -> None:
        if len(texts) != len(outcomes) or not texts:
            raise SettingsError(f"{len(texts)} texts do not fit {len(outcomes)} rows of outcomes.")
        self._embeddings = embeddings
        self._vectors = _unit(np.asarray(embeddings.embed_documents(list(texts))))
        self._heads = tuple(heads)
        self._outcomes = outcomes
        self._neighbors = neighbors

    def __call__(self, text: str) -> dict[str, tuple[float, int]]:
        """P(ok) and number of labels, by model name; models without a near label are left out."""
        query = _unit(np.asarray([self._embeddings.embed_query(text)]))[0]
        nearness = self._vectors @ query
        told = {}
        for head, column in zip(self._heads, self._outcomes.T, strict=True):
            known = np.flatnonzero(~np.isnan(column))
            near = known[np.argsort(-nearness[known])[: self._neighbors]]
            if len(near):
                told[head] = (float(column[near].mean()), len(known))
        return told


def save_text_model(model: TextModel, path: str | Path) -> None:
    """Write a fitted model; only weights that are not zero take space."""
    places = np.flatnonzero(np.any(model.words != 0, axis=1))
    with Path(path).open("wb") as file:
        np.savez_compressed(
            file,
            version=np.array(_VERSION),
            heads=np.array(model.heads),
            prior=model.prior,
            places=places,
            words=model.words[places],
            trust=model.trust,
            labels=np.array(model.labels),
        )


def load_text_model(path: str | Path) -> TextModel:
    """Read a fitted model.

    Raises:
        SettingsError: The file is none, or was written by a newer plumbgraph.
    """
    try:
        with ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > _MOST_BYTES:
                raise SettingsError(f"{str(path)!r} is too large for a text model.")
        with np.load(path, allow_pickle=False) as told:
            if int(told["version"]) != _VERSION:
                raise SettingsError(f"{str(path)!r} is a text model of version {told['version']}.")
            heads = tuple(str(name) for name in told["heads"])
            words: NDArray[np.float32] = np.zeros((1 << BITS, len(heads)), dtype=np.float32)
            words[told["places"]] = told["words"]
            return TextModel(
                heads=heads,
                prior=told["prior"],
                words=words,
                trust=told["trust"],
                labels=tuple(int(n) for n in told["labels"]),
            )
    except _UNSOUND as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{str(path)!r} cannot be read as a text model: {error}.") from error


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float64] = vectors / np.maximum(lengths, 1e-12)
    return unit
