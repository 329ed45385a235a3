"""A built index in a file, so that the first search of a process reads no skill."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plumbgraph.skills.ranking.analysis import Collection, Document, Vocabulary
from plumbgraph.skills.ranking.index import Arrays, Index, Weights

_MAGIC = b"plumbgraph skills index 5\n"
_HEAD = len(_MAGIC) + 8
_ALIGNED = 64
_NAMES = tuple(field.name for field in fields(Arrays))
_LENGTHS, _PURPOSES = "lengths", "purposes"


class StoredIndex:
    """What an earlier process built: an index over documents in one order, and the documents."""

    def __init__(self, head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self.keys: list[str] = head["keys"]
        self.vocabulary = Vocabulary(head["terms"])
        self._weights: str = head["weights"]
        self._arrays = Arrays(**{name: arrays[name] for name in _NAMES})
        self._lengths, self._purposes = arrays[_LENGTHS], arrays[_PURPOSES]
        if not self._sound():
            raise ValueError("The parts of the index do not fit each other.")

    def index(self, weights: Weights) -> Index | None:
        """The index, if it was built with these weights."""
        return Index(self._arrays, weights) if self._weights == repr(weights) else None

    def collection(self) -> Collection:
        """The documents the index was built of."""
        lengths = self._lengths.reshape(-1, 3)
        ends = (np.cumsum(lengths + 1, axis=1) + self._arrays.place[:-1, None]).tolist()
        text = self._arrays.text
        documents = {
            key: Document(key, (text[p : a - 1], text[a : b - 1], text[b : c - 1]), purpose)
            for key, p, (a, b, c), purpose in zip(
                self.keys,
                self._arrays.place.tolist(),
                ends,
                self._purposes.tolist(),
                strict=False,
            )
        }
        return Collection(self.vocabulary, documents)

    def _sound(self) -> bool:
        a, count = self._arrays, len(self.keys)
        return (
            len(a.place) == len(a.name_bounds) == count + 1
            and len(self._purposes) == count
            and len(self._lengths) == 3 * count
            and int(a.place[-1]) == len(a.text)
            and int(a.name_bounds[-1]) == len(a.names)
            and len(a.start) == len(a.idf) + 1 == max(len(self.vocabulary.terms), 1) + 1
            and int(a.start[-1]) == len(a.owners) == len(a.impact)
        )


def load_index(path: Path | None) -> StoredIndex | None:
    """What an earlier process built; None when there is nothing usable.

    The file is read and not mapped: a mapped one that somebody cuts short, or that vanishes from
    a network disk, would end the process.
    """
    if path is None:
        return None
    try:
        data = memoryview(path.read_bytes())
        if data[: len(_MAGIC)] != _MAGIC or zlib.crc32(data[_HEAD:]) != _number(data, len(_MAGIC)):
            return None
        size = _number(data, _HEAD)
        head = json.loads(bytes(data[_HEAD + 8 : _HEAD + 8 + size]))
        arrays = {
            name: np.frombuffer(data, np.dtype(kind), count, offset)
            for name, (kind, count, offset) in head["arrays"].items()
        }
        return StoredIndex(head, arrays)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def save_index(
    path: Path | None, index: Index, documents: Sequence[Document], vocabulary: Vocabulary
) -> None:
    """Remember for other processes; a folder that cannot be written is left alone."""
    if path is None:
        return
    lengths = [len(ids) for document in documents for ids in document.fields]
    arrays: dict[str, NDArray[Any]] = {
        **{name: np.ascontiguousarray(getattr(index.arrays, name)) for name in _NAMES},
        _LENGTHS: np.array(lengths, np.int64),
        _PURPOSES: np.array([document.purpose for document in documents], np.int64),
    }
    pieces: list[bytes | memoryview] = [_head(index, documents, vocabulary, arrays)]
    for array in arrays.values():
        pieces += (array.data.cast("B") if array.size else b"", bytes(-array.nbytes % _ALIGNED))
    checked = 0
    for piece in pieces:
        checked = zlib.crc32(piece, checked)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.writelines((_MAGIC, checked.to_bytes(8, "big"), *pieces))
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink()


def _number(data: memoryview, place: int) -> int:
    return int.from_bytes(data[place : place + 8], "big")


def _head(
    index: Index,
    documents: Sequence[Document],
    vocabulary: Vocabulary,
    arrays: Mapping[str, NDArray[Any]],
) -> bytes:
    """The size of the facts and the facts, padded so that the arrays' places are known before."""
    facts: dict[str, Any] = {
        "terms": vocabulary.terms,
        "keys": [document.key for document in documents],
        "weights": repr(index.weights),
        "arrays": {name: (a.dtype.str, len(a), 10**15) for name, a in arrays.items()},
    }
    size = len(json.dumps(facts).encode())
    place = _HEAD + 8 + size
    size += -place % _ALIGNED
    place += -place % _ALIGNED
    for name, array in arrays.items():
        facts["arrays"][name] = (array.dtype.str, len(array), place)
        place += array.nbytes + -array.nbytes % _ALIGNED
    return size.to_bytes(8, "big") + json.dumps(facts).encode().ljust(size)
