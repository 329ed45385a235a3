"""LangGraph's `search` with a query: by meaning where embeddings are configured, else by words."""

from __future__ import annotations

from langgraph.store.base import SearchOp

from plumbgraph.memory import dense as dense_
from plumbgraph.memory import filters, plans
from plumbgraph.memory.dense import Dense
from plumbgraph.memory.indexes import Indexes
from plumbgraph.memory.items import MemorySearchItem
from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.recall import synced
from plumbgraph.memory.terms import Terms
from plumbgraph.memory.words import terms as words_of
from plumbgraph.redis.clients import RedisPlan


def search(
    terms: Terms, indexes: Indexes, dense: Dense | None, op: SearchOp
) -> RedisPlan[list[MemorySearchItem]]:
    """Items under a prefix, the best match first; those without a match fill the page."""
    if not op.query:
        return (yield from plans.search(terms, op))
    scored = yield from _scored(terms, indexes, dense, op)
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
    terms: Terms, indexes: Indexes, dense: Dense | None, op: SearchOp
) -> RedisPlan[dict[tuple[Namespace, str], float]]:
    spaces = yield from plans.spaces(terms, tuple(op.namespace_prefix))
    scored: dict[tuple[Namespace, str], float] = {}
    for namespace in spaces:
        index = indexes.of(terms.layout.tenant, namespace)
        yield from synced(terms, namespace, index)
        if dense is not None:
            near = yield from dense_.searched(terms, dense, namespace, index, op.query or "")
            scored.update({(namespace, key): cosine for key, cosine in near.items()})
            continue
        with index.lock:
            values = index.scores(words_of(op.query or "", indexes.language))
            scored.update(
                {
                    (namespace, index.key_of(slot)): float(value)
                    for slot, value in enumerate(values.tolist())
                    if value > 0
                }
            )
    return scored
