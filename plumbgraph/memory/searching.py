"""LangGraph's `search` with a query: by meaning where embeddings are configured, else by words."""

from __future__ import annotations

from dataclasses import dataclass

from langgraph.store.base import SearchOp

from plumbgraph.memory import dense as dense_
from plumbgraph.memory import filters, plans
from plumbgraph.memory import module as modules
from plumbgraph.memory.calls import Recall
from plumbgraph.memory.dense import Dense
from plumbgraph.memory.following import Outgrown, synced
from plumbgraph.memory.index import NamespaceIndex
from plumbgraph.memory.indexes import Indexes
from plumbgraph.memory.items import MemorySearchItem
from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.module import Module, NoAnswer
from plumbgraph.memory.terms import Terms
from plumbgraph.memory.words import terms as words_of
from plumbgraph.redis.clients import RedisPlan

_EVERY = 1_000_000
_MARGIN = 64
_LIKELY = 200


@dataclass(frozen=True, slots=True)
class Finder:
    """What a process searches with: its indexes, the server's module, and embeddings."""

    indexes: Indexes
    module: Module
    dense: Dense | None


def search(terms: Terms, finder: Finder, op: SearchOp) -> RedisPlan[list[MemorySearchItem]]:
    """Items under a prefix, the best match first; those without a match fill the page."""
    if not op.query:
        return (yield from plans.search(terms, op))
    scored = yield from _scored(terms, finder, op)
    ranked = sorted(scored, key=lambda pair: -scored[pair])
    needed = op.offset + op.limit
    kept: list[MemorySearchItem] = []
    for start in range(0, len(ranked), max(needed, 1)):
        if len(kept) >= needed:
            break
        found = yield from plans.fetch(terms, ranked[start : start + max(needed, 1)])
        items = [
            MemorySearchItem(record=r, namespace=ns, key=key, score=scored[ns, key])
            for ns, key, r in found
        ]
        kept += [item for item in items if filters.keeps(op.filter, item.value)]
    if len(kept) < needed:
        kept += yield from _filling(terms, op, kept, needed)
    page = kept[op.offset : needed]
    if op.refresh_ttl:
        yield from plans.refreshed(terms, page)
    return page


def _filling(
    terms: Terms, op: SearchOp, kept: list[MemorySearchItem], needed: int
) -> RedisPlan[list[MemorySearchItem]]:
    known = {(item.namespace, item.key) for item in kept}
    plain = op._replace(query=None, limit=needed + len(kept), offset=0, refresh_ttl=False)
    others = yield from plans.search(terms, plain)
    unscored = [item for item in others if (item.namespace, item.key) not in known]
    return unscored[: needed - len(kept)]


def _scored(
    terms: Terms, finder: Finder, op: SearchOp
) -> RedisPlan[dict[tuple[Namespace, str], float]]:
    spaces = yield from plans.spaces(terms, tuple(op.namespace_prefix))
    scored: dict[tuple[Namespace, str], float] = {}
    for namespace in spaces:
        found = yield from _scored_in(terms, finder, op, namespace)
        scored.update({(namespace, key): score for key, score in found.items()})
    return scored


def _scored_in(
    terms: Terms, finder: Finder, op: SearchOp, namespace: Namespace
) -> RedisPlan[dict[str, float]]:
    name = (terms.layout.tenant, namespace)
    index, module, query = finder.indexes.of(*name), finder.module, op.query or ""
    if name not in module.serving:
        try:
            yield from synced(terms, namespace, index, outgrows=module.outgrown(*name))
        except Outgrown:
            pass
        else:
            return (yield from _by_index(terms, finder, namespace, index, query))
    asked = Recall(namespace=namespace, query=query, language=module.language)
    most = _EVERY if op.filter else op.offset + op.limit + _MARGIN
    try:
        by_words = yield from modules.scored(terms, module, asked, most=most)
    except NoAnswer:
        module.serving.discard(name)
        yield from synced(terms, namespace, index)
        return (yield from _by_index(terms, finder, namespace, index, query))
    if finder.dense is None:
        return by_words
    likely = sorted(by_words, key=lambda key: -by_words[key])[:_LIKELY]
    return (yield from dense_.near_some(terms, finder.dense, namespace, query, likely))


def _by_index(
    terms: Terms, finder: Finder, namespace: Namespace, index: NamespaceIndex, query: str
) -> RedisPlan[dict[str, float]]:
    if finder.dense is not None:
        return (yield from dense_.searched(terms, finder.dense, namespace, index, query))
    with index.lock:
        values = index.scores(words_of(query, finder.indexes.language))
        return {index.key_of(s): float(v) for s, v in enumerate(values.tolist()) if v > 0}
