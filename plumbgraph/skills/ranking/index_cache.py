"""Analysed skills on disk, so that the first search of a process need not read every body."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from plumbgraph.skills.ranking.analysis import FIELDS, Collection, Document, Vocabulary

_VERSION = 4


def load_collection(path: Path | None) -> Collection:
    """What an earlier process analysed; empty when there is nothing usable."""
    if path is None:
        return Collection()
    try:
        with np.load(path, allow_pickle=False) as stored:
            head = json.loads(bytes(stored["head"]))
            if head["version"] != _VERSION:
                return Collection()
            flat, bounds = stored["ids"], stored["bounds"]
    except (OSError, ValueError, KeyError, EOFError):
        return Collection()
    vocabulary = Vocabulary(head["terms"])
    if flat.size and int(flat.max()) >= len(vocabulary.terms):
        return Collection()
    parts = np.split(flat, bounds[:-1])
    fields = len(FIELDS)
    documents = {
        key: Document(key, (parts[i], parts[i + 1], parts[i + 2]), purpose)
        for i, key, purpose in zip(
            range(0, len(parts), fields), head["keys"], head["purposes"], strict=False
        )
    }
    return Collection(vocabulary, documents)


def save_collection(path: Path | None, collection: Collection) -> None:
    """Remember for other processes; a folder that cannot be written is left alone."""
    if path is None:
        return
    parts = [ids for document in collection.documents.values() for ids in document.fields]
    head = {
        "version": _VERSION,
        "terms": collection.vocabulary.terms,
        "keys": list(collection.documents),
        "purposes": [document.purpose for document in collection.documents.values()],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(fd, "wb") as file:
            np.savez(
                file,
                head=np.frombuffer(json.dumps(head).encode(), np.uint8),
                ids=np.concatenate([*parts, np.zeros(0, np.int32)]),
                bounds=np.cumsum([len(ids) for ids in parts]),
            )
        Path(temporary).replace(path)
    except OSError:
        return
