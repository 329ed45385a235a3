"""Recall: bring the index up to date, score, fetch and check what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory import timetravel
from plumbgraph.memory.bm25 import best
from plumbgraph.memory.events import IndexLoaded
from plumbgraph.memory.folding import Told, contradiction
from plumbgraph.memory.index import NamespaceIndex
from plumbgraph.memory.items import MemoryItem
from plumbgraph.memory.keys import Namespace, joined
from plumbgraph.memory.recollection import (
    Hit,
    Mode,
    Recollection,
    Tier,
    TokenCounter,
    about,
    shown,
    weighed,
    within,
)
from plumbgraph.memory.records import Record
from plumbgraph.memory.terms import Terms
from plumbgraph.memory.words import terms as words_of
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call
from plumbgraph.tracing import emit

_PAGE = 2_000
_FETCH = 500
_FOLDED_AMONG = 10
_MARGIN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Find what a query calls up; the result is a `Recollection`.

    Attributes:
        token_budget: Most tokens of all texts together.
        max_items: Most items besides the pinned ones; 0 for none.
        at_us: Show each item as it was valid at this moment.
        mode: `broad` scores the words of texts; `precise` lets only names and aliases call.
        scopes: Only items with any of these labels.
        kinds: Only items of these kinds.
        pinned: Whether pinned items come first.
    """

    namespace: Namespace
    query: str
    token_budget: int = 1_000
    max_items: int | None = 10
    at_us: int | None = None
    mode: Mode = "broad"
    scopes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    pinned: bool = True
    count: TokenCounter = about
    language: str = field(default="english", kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.query, str):
            raise MemoryInvalid(f"A query is a text, not {type(self.query).__name__}.")
        if self.mode not in {"broad", "precise"}:
            raise MemoryInvalid(f"The mode {self.mode!r} is neither broad nor precise.")
        if self.token_budget < 0 or (self.max_items is not None and self.max_items < 0):
            raise MemoryInvalid(
                f"token_budget={self.token_budget} and max_items={self.max_items} must not be "
                "negative."
            )
        given: tuple[Any, ...] = (self.scopes, self.kinds)
        if any(isinstance(labels, str) for labels in given):
            raise MemoryInvalid("scopes and kinds are tuples of labels, not one text.")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key that may be recalled, its raw score and why."""

    key: str
    score: float
    why: str


def synced(terms: Terms, namespace: Namespace, index: NamespaceIndex) -> RedisPlan[int]:
    """Take every change since the last look into the index; how many there were.

    One round trip when nothing changed. An index that cannot follow (the server's clock went
    back, or it lost sight of what is live) is read anew.
    """
    taken = yield from _followed(terms, namespace, index)
    if taken is not None:
        return taken
    with index.lock:
        index.reset()
    again = yield from _followed(terms, namespace, index)
    emit(
        IndexLoaded(
            namespace="/".join(namespace), items=len(index.entries), reason="lost sight of changes"
        )
    )
    return again or 0


def _followed(terms: Terms, namespace: Namespace, index: NamespaceIndex) -> RedisPlan[int | None]:
    shard, text = terms.shard(namespace), joined(namespace)
    taken = 0
    while True:
        call = Call(
            "changes", (shard.live(text), shard.gone(text)), (index.cursor, _PAGE), reads=True
        )
        ((now_us, held, top, live, gone),) = yield from terms.asked((call,))
        if top < index.cursor and now_us < index.cursor:
            return None
        changed, removed, cursor = _page(live, gone)
        again = index.expired(now_us)
        yield from _refetched(terms, namespace, index, [*changed, *again], now_us)
        with index.lock:
            for key in removed:
                index.apply(key, None, seen_us=now_us)
        taken += len(changed) + len(removed)
        index.cursor = max(index.cursor, cursor)
        if len(live) < 2 * _PAGE and len(gone) < 2 * _PAGE:
            return taken if _agrees(index, held) else None


def _agrees(index: NamespaceIndex, held: int) -> bool:
    """Whether as many items are known as the server holds, give or take expired ones."""
    known = len(index.entries)
    if known == held:
        index.lost = 0
    return known <= held <= known + index.lost


def _page(live: list[str], gone: list[str]) -> tuple[list[str], list[str], int]:
    pairs = [(int(float(live[i + 1])), live[i], True) for i in range(0, len(live), 2)]
    pairs += [(int(float(gone[i + 1])), gone[i], False) for i in range(0, len(gone), 2)]
    full = [part for part in (live, gone) if len(part) >= 2 * _PAGE]
    horizon = min((int(float(part[-1])) for part in full), default=None)
    seen = [pair for pair in pairs if horizon is None or pair[0] <= horizon]
    cursor = max((moment for moment, _, _ in seen), default=0)
    changed = [key for _, key, alive in seen if alive]
    return changed, [key for _, key, alive in seen if not alive], cursor


def _refetched(
    terms: Terms, namespace: Namespace, index: NamespaceIndex, keys: Sequence[str], now_us: int
) -> RedisPlan[None]:
    shard, text = terms.shard(namespace), joined(namespace)
    for start in range(0, len(keys), _FETCH):
        part = keys[start : start + _FETCH]
        call = Call("peek", tuple(shard.item(text, k) for k in part), reads=True)
        (rows,) = yield from terms.asked((call,))
        records = {k: Record.of(row) for k, row in zip(part, rows, strict=True) if row}
        brief = [key for key, record in records.items() if record.ttl_ms]
        expiries: dict[str, int] = {}
        if brief:
            paths = [f"{text}\0\0{key}" for key in brief]
            (scores,) = yield from terms.asked((Command("ZMSCORE", shard.due, *paths),))
            expiries = {k: int(float(s) * 1000) for k, s in zip(brief, scores, strict=True) if s}
        with index.lock:
            for key in part:
                index.lost += key not in records
                record, expires_us = records.get(key), expiries.get(key)
                index.apply(key, record, seen_us=now_us, expires_us=expires_us)


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
    scores = index.scores(words_of(op.query, op.language))
    wanted = (op.max_items if op.max_items is not None else 100) + _MARGIN
    depth = wanted if not (scopes or kinds) else len(scores)
    told = [
        Candidate(index.key_of(slot), float(scores[slot]), "words")
        for slot in best(scores, max(depth, 1))
    ]
    return [c for c in told if index.visible(c.key, scopes, kinds)][:wanted]


def recall(
    terms: Terms,
    index: NamespaceIndex,
    op: Recall,
    *,
    pending_uses: dict[str, int],
    rescore: Callable[[list[Candidate]], RedisPlan[list[Candidate]]] | None = None,
) -> RedisPlan[Recollection]:
    """Answer a recall: one round trip to follow the changes, one to fetch what was found."""
    pending = yield from synced(terms, op.namespace, index)
    with index.lock:
        found = candidates(index, op)
    if rescore is not None and op.mode == "broad":
        found = yield from rescore(found)
    scopes = frozenset(op.scopes)
    pinned = [k for k in index.pinned() if index.visible(k, scopes, frozenset())]
    asked = {c.key: c for c in found}
    if op.pinned:
        asked.update(
            {k: Candidate(k, asked[k].score if k in asked else 0.0, "pinned") for k in pinned}
        )
    records, uses, now_us = yield from _fetched(terms, op, list(asked), pending_uses)
    hits = [
        _hit(op, candidate, records[key], uses.get(key, 0), now_us)
        for key, candidate in asked.items()
        if key in records
    ]
    hits.sort(key=lambda hit: -hit.score)
    if op.mode == "broad":
        hits = _folded(hits, index, op)
    ordered = sorted(hits, key=lambda hit: pinned.index(hit.key) if hit.tier == "pinned" else 0)
    kept, tokens, dropped = within(
        ordered, token_budget=op.token_budget, max_items=op.max_items, count=op.count
    )
    for hit in kept:
        pending_uses[hit.key] = pending_uses.get(hit.key, 0) + (hit.tier != "pinned")
    return Recollection(op.namespace, op.query, op.mode, kept, tokens, dropped, pending)


def _hit(op: Recall, candidate: Candidate, record: Record, uses: int, now_us: int) -> Hit:
    item = MemoryItem(record=record, namespace=op.namespace, key=candidate.key)
    score = weighed(candidate.score, updated_us=record.updated_us, uses=uses, now_us=now_us)
    if op.pinned and record.marks.pinned:
        return Hit(item, score, "pinned", candidate.why)
    tier: Tier = "question" if record.marks.kind == "question" else "relevant"
    return Hit(item, score, tier, candidate.why)


def _fetched(
    terms: Terms, op: Recall, keys: Sequence[str], pending_uses: dict[str, int]
) -> RedisPlan[tuple[dict[str, Record], dict[str, int], int]]:
    if not keys:
        return {}, {}, 0
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
    (rows, uses), *rest = yield from terms.asked(calls)
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


def _folded(hits: list[Hit], index: NamespaceIndex, op: Recall) -> list[Hit]:
    texts = [
        Told(i, _moment(hit), shown(hit.item))
        for i, hit in enumerate(hits[:_FOLDED_AMONG])
        if not hit.item.rivals
    ]
    query = words_of(op.query, op.language)
    fold = contradiction(query, texts, index.text.idf, op.language)
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
