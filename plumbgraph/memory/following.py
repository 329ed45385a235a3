"""How an index in the process follows the changes of its namespace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from plumbgraph.memory.events import IndexLoaded
from plumbgraph.memory.index import NamespaceIndex
from plumbgraph.memory.keys import Namespace, joined
from plumbgraph.memory.records import Record
from plumbgraph.memory.terms import Terms
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call
from plumbgraph.tracing import emit

PAGE = 2_000
_FETCH = 500


class Outgrown(Exception):
    """The namespace is too big to be read into a process where something else can answer."""


@dataclass(slots=True)
class Aside:
    """Calls that are worth an answer only if nothing changed, sent along with the look for changes.

    Attributes:
        cursor: How far the index had followed when the calls were made.
        calls: What is asked.
        replies: The answers; `None` when something changed.
    """

    cursor: int
    calls: Sequence[Call | Command]
    replies: list[Any] | None = None


def synced(
    terms: Terms,
    namespace: Namespace,
    index: NamespaceIndex,
    *,
    outgrows: Callable[[int], bool] = lambda _: False,
    aside: Aside | None = None,
) -> RedisPlan[int]:
    """Take every change since the last look into the index; how many there were.

    One round trip when nothing changed. An index that cannot follow (the server's clock went
    back, or it lost sight of what is live) is read anew. `outgrows` says whether a namespace of so
    many items should not be held here; `aside` is sent along.

    Raises:
        Outgrown: It should not.
    """
    taken = yield from _followed(terms, namespace, index, outgrows, aside)
    index.still = taken == 0
    if taken is not None:
        return taken
    if aside is not None:
        aside.replies = None
    with index.lock:
        index.reset()
    again = yield from _followed(terms, namespace, index, outgrows)
    emit(
        IndexLoaded(
            namespace="/".join(namespace), items=len(index.entries), reason="lost sight of changes"
        )
    )
    return again or 0


def _followed(
    terms: Terms,
    namespace: Namespace,
    index: NamespaceIndex,
    outgrows: Callable[[int], bool],
    aside: Aside | None = None,
) -> RedisPlan[int | None]:
    shard, text = terms.shard(namespace), joined(namespace)
    taken = 0
    while True:
        since = index.cursor
        beside = aside.calls if aside is not None else ()
        call = Call("changes", (shard.live(text), shard.gone(text)), (since, PAGE), reads=True)
        (now_us, held, top, live, gone), *replies = yield from terms.asked((call, *beside))
        if outgrows(held):
            raise Outgrown
        if top < index.cursor and now_us < index.cursor:
            return None
        changed, removed, cursor = page_of(live, gone)
        again = index.expired(now_us)
        if aside is not None:
            same = aside.cursor == since and not (changed or removed or again)
            aside.replies, aside = replies if same else None, None
        yield from _refetched(terms, namespace, index, [*changed, *again], now_us)
        with index.lock:
            for key in removed:
                index.apply(key, None, seen_us=now_us)
        taken += len(changed) + len(removed)
        index.cursor = max(index.cursor, cursor)
        if len(live) < 2 * PAGE and len(gone) < 2 * PAGE:
            return taken if _agrees(index, held) else None


def _agrees(index: NamespaceIndex, held: int) -> bool:
    """Whether as many items are known as the server holds, give or take expired ones."""
    known = len(index.entries)
    if known == held:
        index.lost = 0
    return known <= held <= known + index.lost


def page_of(live: list[str], gone: list[str]) -> tuple[list[str], list[str], int]:
    """The keys changed and those removed, up to a moment before which none is left out."""
    pairs = [(int(float(live[i + 1])), live[i], True) for i in range(0, len(live), 2)]
    pairs += [(int(float(gone[i + 1])), gone[i], False) for i in range(0, len(gone), 2)]
    full = [part for part in (live, gone) if len(part) >= 2 * PAGE]
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
