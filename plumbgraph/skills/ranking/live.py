"""The search index of a library, kept in step with its records in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from plumbgraph.skills.ranking.analysis import Collection, Vocabulary, analyse, document_key
from plumbgraph.skills.ranking.index import Index, Weights
from plumbgraph.skills.ranking.index_cache import load_index, save_index
from plumbgraph.skills.values import SkillRecord


class LiveIndex:
    """Gives the index of whatever records there are; only what is new is read.

    Not for several threads at once.

    Args:
        path: File to remember the index in, None for memory only.
        weights: How searches weigh their evidence.
        body_of: The instructions of a record.
    """

    def __init__(
        self, path: Path | None, weights: Weights, body_of: Callable[[SkillRecord], str]
    ) -> None:
        self._path, self._weights, self._body_of = path, weights, body_of
        self._collection: Collection | None = None

    def of(self, records: Sequence[SkillRecord]) -> tuple[Index, Vocabulary]:
        """The index whose document `i` is `records[i]`, and the words it knows."""
        keys = [document_key(record) for record in records]
        stored: Sequence[str] = ()
        if self._collection is None:
            found = load_index(self._path)
            if found and found.keys == keys and (index := found.index(self._weights)):
                return index, found.vocabulary
            self._collection = found.collection() if found else Collection()
            stored = found.keys if found else ()
        return self._built(self._collection, records, keys, stored)

    def _built(
        self,
        collection: Collection,
        records: Sequence[SkillRecord],
        keys: Sequence[str],
        stored: Sequence[str],
    ) -> tuple[Index, Vocabulary]:
        known, words = collection.documents, collection.vocabulary
        for record, key in zip(records, keys, strict=True):
            if key not in known:
                known[key] = analyse(record, self._body_of(record), words)
        documents = [known[key] for key in keys]
        if len(known) > 2 * len(documents):
            collection.documents = dict(zip(keys, documents, strict=True))
        index = Index.of(documents, len(words.terms), self._weights)
        if stored != keys:
            save_index(self._path, index, documents, words)
        return index, words
