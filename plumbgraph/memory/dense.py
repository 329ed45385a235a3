"""Embeddings, where configured: made when written, kept beside the items, scored in the client."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, ensure_embeddings, get_text_at_path, tokenize_path
from numpy.typing import NDArray

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory import plans
from plumbgraph.memory.calls import Candidate
from plumbgraph.memory.index import NamespaceIndex
from plumbgraph.memory.keys import Namespace, joined
from plumbgraph.memory.ops import Put
from plumbgraph.memory.records import Record
from plumbgraph.memory.terms import Terms, together
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call

_DIGEST = 16
_MATRIX_BYTES = 64 * 1024 * 1024
_NEWEST = 200
_MIXED = 200


class Embed(Command):
    """A request to the embedding model, yielded by plans among the commands.

    Attributes:
        query: The texts are queries, not documents.
    """

    __slots__ = ("query", "texts")
    texts: tuple[str, ...]
    query: bool

    def __init__(self, texts: tuple[str, ...], *, query: bool = False) -> None:
        super().__init__("EMBED")
        object.__setattr__(self, "texts", texts)
        object.__setattr__(self, "query", query)


@dataclass(frozen=True, slots=True)
class Dense:
    """The embedding model and the fields it reads."""

    model: Embeddings
    dims: int
    fields: tuple[str, ...] = ("$",)
    _paths: tuple[Any, ...] = field(default=(), repr=False)

    @classmethod
    def configured(cls, index: IndexConfig | None) -> Dense | None:
        """The scorer that LangGraph's index configuration asks for."""
        if index is None:
            return None
        if not index.get("dims") or "embed" not in index:
            raise MemoryInvalid("An index configuration needs dims and embed.")
        fields = tuple(index.get("fields") or ("$",))
        model = ensure_embeddings(index["embed"])
        return cls(model, index["dims"], fields, tuple(map(_path, fields)))

    def texts(self, value: dict[str, Any], fields: tuple[str, ...] | None) -> tuple[str, ...]:
        """The texts of a value that are embedded; several may stand for one item."""
        paths: Sequence[Any] = self._paths
        if fields is not None:
            paths = [_path(path) for path in fields]
        return tuple(text for path in paths for text in get_text_at_path(value, path))

    def digest(self, record: Record) -> str:
        """The digest of a record's embedded texts; empty when it has none."""
        fields = record.marks.index
        texts = () if fields is False else self.texts(record.value, fields or None)
        return digest(texts) if texts else ""


def _path(field: str) -> Any:
    return field if field == "$" else tokenize_path(field)


def digest(texts: Sequence[str]) -> str:
    """What says whether stored vectors belong to these texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:_DIGEST]


def put(terms: Terms, dense: Dense, op: Put) -> RedisPlan[int]:
    """Write an item with its vectors; the vectors name their text, so they never go stale."""
    fields = op.marks.index
    texts = () if fields is False else dense.texts(dict(op.value), fields or None)
    shard, text = terms.shard(op.namespace), joined(op.namespace)
    if not texts:
        return (yield from plans.put(terms, op))
    (vectors,) = yield (Embed(texts),)
    payload = _payload(texts, vectors, dense.dims)
    keeping = _one(Command("HSET", shard.vectors(text), op.key, payload))
    version, _ = yield from together([plans.put(terms, op), keeping])
    if isinstance(version, Exception):
        raise version
    return int(version)


def _one(command: Command) -> RedisPlan[Any]:
    (reply,) = yield (command,)
    return reply


def _payload(texts: Sequence[str], vectors: Sequence[Sequence[float]], dims: int) -> bytes:
    matrix = np.asarray(vectors, dtype="<f4")
    if matrix.shape != (len(texts), dims):
        raise MemoryInvalid(
            f"The embedding model gave {matrix.shape} where {(len(texts), dims)} was due."
        )
    return digest(texts).encode() + matrix.tobytes()


def held(
    terms: Terms, namespace: Namespace, index: NamespaceIndex, keys: Sequence[str], dims: int
) -> RedisPlan[dict[str, NDArray[np.float32]]]:
    """The vectors of these keys, those not held yet fetched in one round trip."""
    missing = [key for key in keys if key not in index.vectors]
    if missing:
        shard, text = terms.shard(namespace), joined(namespace)
        (raws,) = yield from terms.asked((Command("HMGET", shard.vectors(text), *missing),))
        for key, raw in zip(missing, raws, strict=True):
            entry = index.entries.get(key)
            if raw and entry is not None and raw[:_DIGEST].decode() == entry.texts:
                body = np.frombuffer(raw[_DIGEST:], dtype="<f4")
                index.vectors[key] = body.reshape(-1, dims)
    return {key: index.vectors[key] for key in keys if key in index.vectors}


def worth_holding(index: NamespaceIndex, dims: int) -> bool:
    """Whether all vectors of the namespace fit into the process."""
    return len(index.entries) * dims * 4 <= _MATRIX_BYTES


def nearness(query: Sequence[float], vectors: dict[str, NDArray[np.float32]]) -> dict[str, float]:
    """Cosine of each key's nearest vector to the query."""
    if not vectors:
        return {}
    asked = np.asarray(query, dtype=np.float32)
    asked = asked / (np.linalg.norm(asked) or 1.0)
    keys = [key for key, matrix in vectors.items() for _ in range(len(matrix))]
    matrix = np.concatenate(list(vectors.values()))
    norms = np.linalg.norm(matrix, axis=1)
    cosines = matrix @ asked / np.where(norms > 0, norms, 1.0)
    nearest: dict[str, float] = {}
    for key, cosine in zip(keys, cosines.tolist(), strict=True):
        nearest[key] = max(cosine, nearest.get(key, -1.0))
    return nearest


def searched(
    terms: Terms, dense: Dense, namespace: Namespace, index: NamespaceIndex, query: str
) -> RedisPlan[dict[str, float]]:
    """The nearness of every item that has vectors, or of the newest where there are too many."""
    every = worth_holding(index, dense.dims)
    keys = list(index.entries) if every else index.newest(_NEWEST)
    vectors = yield from held(terms, namespace, index, keys, dense.dims)
    ((vector,),) = yield (Embed((query,), query=True),)
    return nearness(vector, vectors)


def near_some(
    terms: Terms, dense: Dense, namespace: Namespace, query: str, keys: Sequence[str]
) -> RedisPlan[dict[str, float]]:
    """The nearness of these items and of the newest, without an index in the process."""
    shard, text = terms.shard(namespace), joined(namespace)
    newest = Command("ZREVRANGE", shard.live(text), 0, _NEWEST - 1)
    (names,) = yield from terms.asked((newest,))
    asked = list(dict.fromkeys([*keys, *(name.decode() for name in names)]))
    if not asked:
        return {}
    items = tuple(shard.item(text, key) for key in asked)
    fetched = (Call("peek", items, reads=True), Command("HMGET", shard.vectors(text), *asked))
    rows, raws = yield from terms.asked(fetched)
    vectors: dict[str, NDArray[np.float32]] = {}
    for key, row, raw in zip(asked, rows, raws, strict=True):
        if row and raw and raw[:_DIGEST].decode() == dense.digest(Record.of(row)):
            vectors[key] = np.frombuffer(raw[_DIGEST:], dtype="<f4").reshape(-1, dense.dims)
    ((vector,),) = yield (Embed((query,), query=True),)
    return nearness(vector, vectors)


def mixed(
    terms: Terms,
    dense: Dense,
    namespace: Namespace,
    index: NamespaceIndex | None,
    query: str,
    found: list[Candidate],
) -> RedisPlan[list[Candidate]]:
    """Candidates by words and by nearness together: the mean of both, each scaled to 1."""
    if index is None:
        near = yield from near_some(terms, dense, namespace, query, [c.key for c in found])
    else:
        near = yield from searched(terms, dense, namespace, index, query)
    top = max((c.score for c in found), default=0.0) or 1.0
    most = max(near.values(), default=0.0) or 1.0
    by_words = {c.key: c.score / top for c in found}
    nearest = sorted(near, key=lambda key: -near[key])[:_MIXED]
    told = [
        Candidate(
            key,
            (by_words.get(key, 0.0) + max(0.0, near.get(key, 0.0)) / most) / 2,
            "words and meaning"
            if key in by_words and key in near
            else "words"
            if key in by_words
            else "meaning",
        )
        for key in {**by_words, **dict.fromkeys(nearest)}
    ]
    return sorted(told, key=lambda c: -c.score)
