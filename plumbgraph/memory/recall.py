"""Recall: bring the index up to date, score, fetch and check what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from plumbgraph.memory import module as modules
from plumbgraph.memory import timetravel
from plumbgraph.memory.calls import Candidate, Recall, Sight
from plumbgraph.memory.folding import Told, contradiction
from plumbgraph.memory.following import Aside, Outgrown, synced
from plumbgraph.memory.index import NamespaceIndex
from plumbgraph.memory.items import MemoryItem
from plumbgraph.memory.keys import joined
from plumbgraph.memory.module import Module, NoAnswer
from plumbgraph.memory.recollection import Hit, Recollection, Tier, shown, weighed, within
from plumbgraph.memory.records import Record
from plumbgraph.memory.terms import Terms
from plumbgraph.memory.words import terms as words_of
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call

Rescore: TypeAlias = Callable[[list[Candidate], NamespaceIndex | None], RedisPlan[list[Candidate]]]
"""Scores candidates anew; told the index, unless the search module found them."""

_FOLDED_AMONG = 10
_DEEP = 200


def candidates(index: NamespaceIndex, op: Recall) -> list[Candidate]:
    """The keys that may be recalled, best first, before anything is fetched."""
    scopes, kinds = frozenset(op.scopes), frozenset(op.kinds)
    if op.mode == "precise":
        called = index.handles.called(op.query)
        found = [Candidate(key, float(len(why)), f"named: {why}") for key, why in called.items()]
        found = [c for c in found if index.visible(c.key, scopes, kinds)]
        keys = [c.key for c in found]
        found += [Candidate(key, 0.0, "related") for key in index.related(keys)]
        return [c for c in found if index.visible(c.key, scopes, kinds)]
    wanted = op.wanted
    depth = wanted if not (scopes or kinds) else len(index.entries)
    best = index.top(words_of(op.query, op.language), max(depth, 1))
    told = (Candidate(key, score, "words") for key, score in best)
    return [c for c in told if index.visible(c.key, scopes, kinds)][:wanted]


@dataclass(frozen=True, slots=True)
class Guess:
    """What is found and fetched if nothing has changed, which only the server knows."""

    sight: Sight
    keys: Sequence[str]
    aside: Aside


def guessed(
    terms: Terms,
    index: NamespaceIndex,
    op: Recall,
    module: Module | None,
    pending_uses: dict[str, int],
) -> Guess | None:
    """A guess from the index as it is; `None` where the last look found changes."""
    name = (terms.layout.tenant, op.namespace)
    with index.lock:
        if not index.still or (module is not None and name in module.serving):
            return None
        cursor, sight = index.cursor, seen(index, op, pending=0)
    keys = list(wanted(op, sight.found, sight.pinned))
    return Guess(sight, keys, Aside(cursor, _fetching(terms, op, keys, pending_uses)))


def seen(index: NamespaceIndex, op: Recall, *, pending: int) -> Sight:
    """What the index in the process finds."""
    with index.lock:
        found = candidates(index, op)
        scopes = frozenset(op.scopes)
        pinned = [k for k in index.pinned() if index.visible(k, scopes, frozenset())]
    return Sight(found, pinned, pending, index.text.idf)


def wanted(op: Recall, found: Sequence[Candidate], pinned: Sequence[str]) -> dict[str, Candidate]:
    """Everything that is to be fetched, by key."""
    asked = {c.key: c for c in found}
    if op.pinned:
        asked.update(
            {k: Candidate(k, asked[k].score if k in asked else 0.0, "pinned") for k in pinned}
        )
    return asked


def sighted(
    terms: Terms,
    index: NamespaceIndex,
    op: Recall,
    module: Module | None,
    *,
    depth: int,
    guess: Guess | None = None,
) -> RedisPlan[tuple[Sight, NamespaceIndex | None]]:
    """What the process finds or, beyond a size and where there is one, the search module."""
    name = (terms.layout.tenant, op.namespace)
    serving, pending = module is not None and name in module.serving, 0
    aside = guess.aside if guess is not None else None
    if not serving:
        outgrows = module.outgrown(*name) if module else lambda _: False
        try:
            pending = yield from synced(terms, op.namespace, index, outgrows=outgrows, aside=aside)
        except Outgrown:
            serving = True
            with index.lock:
                index.reset()
    if module is not None and serving:
        try:
            return (yield from modules.sighted(terms, module, op, depth=depth)), None
        except NoAnswer:
            module.serving.discard(name)
            pending = yield from synced(terms, op.namespace, index)
    if guess is not None and guess.aside.replies is not None:
        return guess.sight, index
    return seen(index, op, pending=pending), index


def recall(
    terms: Terms,
    index: NamespaceIndex,
    op: Recall,
    *,
    pending_uses: dict[str, int],
    rescore: Rescore | None = None,
    module: Module | None = None,
) -> RedisPlan[Recollection]:
    """Answer a recall: one round trip, and another to fetch if something has changed."""
    rescored = rescore is not None and op.mode == "broad"
    depth = _DEEP if rescored else 0
    guess = None if rescored else guessed(terms, index, op, module, pending_uses)
    sight, searched = yield from sighted(terms, index, op, module, depth=depth, guess=guess)
    found, pinned = sight.found, sight.pinned
    if rescore is not None and rescored:
        found = yield from rescore(found, searched)
    asked = wanted(op, found, pinned)
    if guess is not None and guess.aside.replies is not None:
        records, uses, now_us = _fetched(op, guess.keys, guess.aside.replies)
    else:
        calls = _fetching(terms, op, list(asked), pending_uses)
        replies = (yield from terms.asked(calls)) if calls else []
        records, uses, now_us = _fetched(op, list(asked), replies)
    hits = [
        _hit(op, candidate, records[key], uses.get(key, 0), now_us)
        for key, candidate in asked.items()
        if key in records and (candidate.why == "pinned" or op.lets(records[key].marks))
    ]
    hits.sort(key=lambda hit: -hit.score)
    if op.mode == "broad":
        hits = _folded(hits, sight.idf, op)
    place = {key: i for i, key in enumerate(pinned)}
    ordered = sorted(hits, key=lambda h: place.get(h.key, 0) if h.tier == "pinned" else 0)
    kept, tokens, dropped = within(
        ordered, token_budget=op.token_budget, max_items=op.max_items, count=op.count
    )
    for hit in kept:
        pending_uses[hit.key] = pending_uses.get(hit.key, 0) + (hit.tier != "pinned")
    return Recollection(op.namespace, op.query, op.mode, kept, tokens, dropped, sight.pending)


def _hit(op: Recall, candidate: Candidate, record: Record, uses: int, now_us: int) -> Hit:
    item = MemoryItem(record=record, namespace=op.namespace, key=candidate.key)
    score = weighed(candidate.score, updated_us=record.updated_us, uses=uses, now_us=now_us)
    if op.pinned and record.marks.pinned:
        return Hit(item, score, "pinned", candidate.why)
    tier: Tier = "question" if record.marks.kind == "question" else "relevant"
    return Hit(item, score, tier, candidate.why)


def _fetching(
    terms: Terms, op: Recall, keys: Sequence[str], pending_uses: dict[str, int]
) -> list[Call | Command]:
    """The calls that fetch items; they also tell which were recalled before."""
    if not keys:
        return []
    shard, text = terms.shard(op.namespace), joined(op.namespace)
    flushed = {key: n for key, n in pending_uses.items() if n}
    calls: list[Call | Command] = []
    pending_uses.clear()
    items = (*(shard.item(text, key) for key in keys), shard.uses(text))
    calls.append(Call("fetch", items, tuple(keys), reads=True))
    if op.at_us is not None:
        calls += [Command("LRANGE", shard.past(text, key), 0, -1) for key in keys]
    if flushed:
        pairs = tuple(word for pair in flushed.items() for word in pair)
        calls.append(Call("used", (shard.uses(text),), pairs))
    return calls


def _fetched(
    op: Recall, keys: Sequence[str], replies: Sequence[Any]
) -> tuple[dict[str, Record], dict[str, int], int]:
    if not keys:
        return {}, {}, 0
    (rows, uses), *rest = replies
    records = {k: Record.of(row) for k, row in zip(keys, rows, strict=True) if row}
    if op.at_us is not None:
        pasts = dict(zip(keys, rest, strict=False))
        records = _as_valid(records, pasts, op.at_us)
    now_us = max((r.updated_us for r in records.values()), default=0)
    active = {k: r for k, r in records.items() if r.marks.status == "active"}
    return active, {k: int(n) for k, n in zip(keys, uses, strict=True) if n}, now_us


def _as_valid(records: dict[str, Record], pasts: dict[str, Any], at_us: int) -> dict[str, Record]:
    known = {
        key: timetravel.valid_at([record, *map(Record.unpacked, pasts[key])], at_us)
        for key, record in records.items()
    }
    return {key: record for key, record in known.items() if record is not None}


def _folded(hits: list[Hit], idf: Callable[[str], float], op: Recall) -> list[Hit]:
    texts = [
        Told(i, _moment(hit), shown(hit.item))
        for i, hit in enumerate(hits[:_FOLDED_AMONG])
        if not hit.item.rivals
    ]
    query = words_of(op.query, op.language)
    fold = contradiction(query, texts, idf, op.language)
    if fold is None:
        return hits
    older, newer = hits[fold.older], hits[fold.newer]
    marked = replace(older, superseded_by_text=newer.key, confidence=round(fold.confidence, 3))
    rest = [hit for hit in hits if hit is not older]
    place = next(i for i, hit in enumerate(rest) if hit is newer)
    if fold.older < fold.newer:
        rest.remove(newer)
        rest.insert(fold.older, newer)
        place = fold.older
    return [*rest[: place + 1], marked, *rest[place + 1 :]]


def _moment(hit: Hit) -> int:
    return round(hit.item.valid_from.timestamp() * 1_000_000)
