"""The memory store: everything a caller asks of memory, on one class in both colours."""

from __future__ import annotations

from typing import Any, TypeVar, Unpack

from langgraph.store.base import IndexConfig, SearchOp

from plumbgraph import plan as drivers
from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory import dense, searching
from plumbgraph.memory.batching import shown
from plumbgraph.memory.calls import Recall
from plumbgraph.memory.core import Server
from plumbgraph.memory.dense import Dense, Embed
from plumbgraph.memory.events import Recalled
from plumbgraph.memory.indexes import Indexes
from plumbgraph.memory.keeper import KeepingStore
from plumbgraph.memory.keys import Namespace, check_namespace
from plumbgraph.memory.module import Module
from plumbgraph.memory.ops import Put
from plumbgraph.memory.options import RecallOptions
from plumbgraph.memory.recall import recall
from plumbgraph.memory.recollection import Recollection
from plumbgraph.memory.records import to_us
from plumbgraph.memory.words import stems
from plumbgraph.redis.clients import Batch, RedisPlan, Replies
from plumbgraph.tracing import emit

Answer = TypeVar("Answer")


class MemoryStore(KeepingStore):
    """Memory for agents behind LangGraph's `BaseStore`: versioned, timed, exact when many write.

    Works on Redis 7.0 or newer and Valkey 7.2 or newer, alone or as a cluster, without modules.
    One object serves `invoke`, `ainvoke`, worker threads and several event loops; it does no I/O
    until used.

    Args:
        redis: URL, a redis-py client of either colour or of a cluster (its settings serve both
            colours), or a function that returns one of them (for tokens that do not live long).
        tenant: Whose memory; a name, or a function of the run's config.
        shard_by: In a cluster, a tenant lies in one slot, or (`namespace_root`) each first
            label of its namespaces does.
        index: LangGraph's index configuration: embeddings for `search` and `recall`. Without
            one, both go by words.
        language: Snowball language of the texts, or `none` for no stemming.
        index_bytes: About how much memory the in-process indexes may take.
        search_module_above: Where the server has a search module (Redis 8, Redis Stack) and is no
            cluster, a namespace of more items than this is searched by it and not read into
            the process; `None` for never.
        attributes: The declared attributes of facts; with none, every name is its own slot.
        policy: What to do when values of a fact differ: `newest` (the one that became true
            last), `last_write`, `confidence`, `source`, `contest`, `keep`, or a function.
        ttl: LangGraph's TTL configuration, in minutes. Expired items are never returned.
        history: Most earlier versions an item keeps; 0 keeps none.
        history_age_s: Longest time an earlier version, or a deleted item's history, is kept.
        feed: About how many entries the change feed of a tenant (or root) holds; 0 for none.
        max_value_bytes: Longest JSON text of a value.
        prefix: First word of every key in Redis.
        durability: `wait` holds each write until `replicas` replicas confirmed it, for at most
            `wait_s`; too few are a `NotReplicated`: written, but not confirmed.

    Raises:
        SettingsError: The URL or the tenant's name cannot be used.
        MemoryInvalid: A bound makes no sense, or the language is unknown.
    """

    def __init__(
        self,
        redis: Server,
        *,
        index: IndexConfig | None = None,
        language: str = "english",
        index_bytes: int = 256 * 1024 * 1024,
        search_module_above: int | None = 100_000,
        **options: Any,
    ) -> None:
        super().__init__(redis, **options)
        try:
            stems(language)
        except KeyError as error:
            raise MemoryInvalid(f"Snowball knows no language {language!r}.") from error
        if search_module_above is not None and search_module_above < 0:
            raise MemoryInvalid(f"search_module_above={search_module_above} is negative.")
        self._dense = Dense.configured(index)
        digest = self._dense.digest if self._dense else None
        self._indexes = Indexes(language=language, max_bytes=index_bytes, texts=digest)
        self._module = Module(search_module_above, self._searches, language)

    def _searches(self) -> bool:
        facts = self._redis.facts
        return facts is not None and "search" in facts.modules and not facts.cluster

    def _run(self, plan: RedisPlan[Answer]) -> Answer:
        if self._dense is None:
            return super()._run(plan)
        return drivers.run(plan, self._send)

    async def _arun(self, plan: RedisPlan[Answer]) -> Answer:
        if self._dense is None:
            return await super()._arun(plan)
        return await drivers.arun(plan, self._asend)

    def _send(self, batch: Batch) -> Replies:
        wanted, commands = _parted(batch)
        vectors = [_embedded(self._dense, request) for request in wanted]
        return _merged(batch, vectors, self._redis.send(commands) if commands else [])

    async def _asend(self, batch: Batch) -> Replies:
        wanted, commands = _parted(batch)
        vectors = [await _aembedded(self._dense, request) for request in wanted]
        return _merged(batch, vectors, await self._redis.asend(commands) if commands else [])

    def _planner(self, op: Any) -> RedisPlan[Any]:
        if isinstance(op, SearchOp):
            finder = searching.Finder(self._indexes, self._module, self._dense)
            return searching.search(self.terms, finder, op)
        if isinstance(op, Put) and self._dense is not None:
            return dense.put(self.terms, self._dense, op)
        if isinstance(op, Recall):
            return self._recalled(op)
        return super()._planner(op)

    def recall(
        self, namespace: Namespace, query: str, **options: Unpack[RecallOptions]
    ) -> Recollection:
        """The memories a query calls up, best first, within a token budget; maybe none.

        Sees every write acknowledged before the call, of any process. Pinned items come first;
        superseded, archived, quarantined and expired ones never surface; contested ones come
        marked, with their rivals. An older text that a newer one contradicts in the same kind
        of value is put behind it and marked, at most one pair.

        Args:
            namespace: Where to look; not below it.
            query: What the memories should be about.
            **options: `token_budget` (1,000), `max_items` (10, besides pinned ones), `mode`
                (`broad` scores words; `precise` lets only names and aliases call), `scopes` and
                `kinds` (any of them), `pinned`, `at` (show what was valid then), `count` (of
                the tokens in a text; by default one for three bytes).
        """
        return self._recollected(self._run(self._recall(namespace, query, options)))

    async def arecall(
        self, namespace: Namespace, query: str, **options: Unpack[RecallOptions]
    ) -> Recollection:
        """The memories a query calls up; see `recall`."""
        return self._recollected(await self._arun(self._recall(namespace, query, options)))

    def _recall(
        self, namespace: Namespace, query: str, options: RecallOptions
    ) -> RedisPlan[Recollection]:
        check_namespace(namespace)
        asked: dict[str, Any] = dict(options)
        at = asked.pop("at", None)
        try:
            op = Recall(
                namespace=namespace,
                query=query,
                at_us=None if at is None else to_us(at),
                language=self._indexes.language,
                **asked,
            )
        except TypeError as error:
            raise MemoryInvalid(f"Unknown option of a recall: {error}.") from error
        return self._recalled(op)

    def _recalled(self, op: Recall) -> RedisPlan[Recollection]:
        terms, scorer = self.terms, self._dense
        index = self._indexes.of(terms.layout.tenant, op.namespace)
        uses = self._indexes.uses(terms.layout.tenant, op.namespace)
        if scorer is None:
            return recall(terms, index, op, pending_uses=uses, module=self._module)
        return recall(
            terms,
            index,
            op,
            pending_uses=uses,
            module=self._module,
            rescore=lambda found, searched: dense.mixed(
                terms, scorer, op.namespace, searched, op.query, found
            ),
        )

    def _recollected(self, told: Recollection) -> Recollection:
        emit(
            Recalled(
                namespace=shown(told.namespace),
                mode=told.mode,
                hits=len(told.hits),
                tokens=told.tokens,
                pending=told.pending,
            )
        )
        return told


def _parted(batch: Batch) -> tuple[list[Embed], Batch]:
    wanted = [part for part in batch if isinstance(part, Embed)]
    return wanted, tuple(part for part in batch if not isinstance(part, Embed))


def _embedded(scorer: Dense | None, request: Embed) -> list[list[float]]:
    assert scorer is not None
    if request.query:
        return [scorer.model.embed_query(text) for text in request.texts]
    return scorer.model.embed_documents(list(request.texts))


async def _aembedded(scorer: Dense | None, request: Embed) -> list[list[float]]:
    assert scorer is not None
    if request.query:
        return [await scorer.model.aembed_query(text) for text in request.texts]
    return await scorer.model.aembed_documents(list(request.texts))


def _merged(batch: Batch, vectors: list[Any], replies: Replies) -> Replies:
    one, other = iter(vectors), iter(replies)
    return [next(one) if isinstance(part, Embed) else next(other) for part in batch]
