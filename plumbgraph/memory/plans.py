"""The sequences of Redis calls behind reading, writing and listing items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langgraph.store.base import ListNamespacesOp, SearchOp

from plumbgraph.errors import MemoryExpired, MemoryInvalid
from plumbgraph.memory import filters, timetravel
from plumbgraph.memory.encoding import encoded
from plumbgraph.memory.items import MemoryItem, MemorySearchItem
from plumbgraph.memory.keys import Namespace, Shard, joined, split_namespace
from plumbgraph.memory.ops import Delete, Get, History, Put
from plumbgraph.memory.records import (
    Moment,
    Provenance,
    Record,
    Version,
    row_of,
    to_us,
)
from plumbgraph.memory.shown import Versions
from plumbgraph.memory.terms import Terms, milliseconds, together
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call

_CHUNK = 500
_LEAST_WINDOW = 64
_GUESSED_AT_ONCE = 64


def put(terms: Terms, op: Put) -> RedisPlan[int]:
    """Write one item: one round trip."""
    what = f"the item {op.key!r} in {op.namespace!r}"
    value = encoded(op.value, most_bytes=terms.max_value_bytes, what=what)
    from_us = "" if op.valid_from is None else to_us(op.valid_from)
    to = "" if op.valid_to is None else to_us(op.valid_to)
    if isinstance(from_us, int) and isinstance(to, int) and to <= from_us:
        raise MemoryInvalid(f"The validity of {what} ends before it begins.")
    call = terms.write(
        "put",
        op.namespace,
        op.key,
        if_version=op.if_version,
        idempotency_key=op.idempotency_key,
        provenance=op.provenance,
        body=(milliseconds(op.ttl), from_us, to, op.marks.packed(), value),
    )
    _, version, _ = yield from terms.written(
        call, op.namespace, op.key, repeatable=bool(op.idempotency_key)
    )
    return version


def delete(terms: Terms, op: Delete) -> RedisPlan[bool]:
    """Delete one item: one round trip; whether there was one."""
    call = terms.write(
        "delete",
        op.namespace,
        op.key,
        if_version=op.if_version,
        idempotency_key=op.idempotency_key,
        provenance=op.provenance,
    )
    outcome, _, _ = yield from terms.written(
        call, op.namespace, op.key, repeatable=bool(op.idempotency_key)
    )
    return outcome != "absent"


def gets(
    terms: Terms, wanted: Sequence[tuple[Namespace, str]], *, refresh: bool
) -> RedisPlan[list[MemoryItem | None]]:
    """Read current items of one shard: one round trip.

    Refreshing is part of it where the store gives its items a time to live; else the few items
    that have one cost a second round trip, and the others nothing.
    """
    shard, at_once = terms.shard(wanted[0][0]), refresh and terms.sliding
    rows = yield from _rows(terms, shard, wanted, refresh=at_once)
    items = [
        None if row is None else MemoryItem(record=Record.of(row), namespace=ns, key=key)
        for row, (ns, key) in zip(rows, wanted, strict=True)
    ]
    if refresh and not at_once:
        brief = [(item.namespace, item.key) for item in items if item and item.record.ttl_ms]
        if brief:
            yield from _rows(terms, shard, brief, refresh=True)
    return items


def _rows(
    terms: Terms, shard: Shard, wanted: Sequence[tuple[Namespace, str]], *, refresh: bool
) -> RedisPlan[list[Any]]:
    keys = tuple(shard.item(joined(ns), key) for ns, key in wanted)
    if len(keys) == 1 and not refresh:
        (raw,) = yield from terms.asked((Command("GET", keys[0]),))
        return [None if raw is None else row_of(raw)]
    calls: list[Call] = []
    for start in range(0, len(keys), _CHUNK):
        part = keys[start : start + _CHUNK]
        if refresh:
            calls.append(Call("get", (*part, shard.due), (shard.item_start,)))
        else:
            calls.append(Call("peek", part, reads=True))
    replies = yield from terms.asked(calls)
    return [row for reply in replies for row in reply]


def records(terms: Terms, namespace: Namespace, key: str) -> RedisPlan[list[Record]]:
    """Every known version of an item, the current one first."""
    shard, text = terms.shard(namespace), joined(namespace)
    current, past = yield from terms.asked(
        (Command("GET", shard.item(text, key)), Command("LRANGE", shard.past(text, key), 0, -1))
    )
    return [Record.unpacked(raw) for raw in ([current] if current else []) + past]


def get(terms: Terms, op: Get) -> RedisPlan[MemoryItem | None]:
    """Read an item as of a version or moment, or as valid at a moment."""
    known = yield from records(terms, op.namespace, op.key)
    found = chosen(known, op)
    if found is None:
        return None
    return MemoryItem(record=found, namespace=op.namespace, key=op.key)


def chosen(known: Sequence[Record], op: Get) -> Record | None:
    """The record that an as-of or valid-at question asks for."""
    if isinstance(op.as_of, int) and not isinstance(op.as_of, bool):
        if op.valid_at is not None:
            raise MemoryInvalid("as_of=VERSION and valid_at exclude each other.")
        return timetravel.by_version(known, op.as_of)
    known_us = None if op.as_of is None else to_us(op.as_of)
    if op.valid_at is not None:
        return timetravel.valid_at(known, to_us(op.valid_at), known_us=known_us)
    assert known_us is not None
    return timetravel.as_known_at(known, known_us)


def history(terms: Terms, op: History) -> RedisPlan[list[Version]]:
    """Every known version, newest first: one round trip."""
    known = yield from records(terms, op.namespace, op.key)
    return Versions(timetravel.versions(known))


@dataclass(frozen=True, slots=True)
class Place:
    """A shard seen at once: its namespaces under a prefix, and the newest keys of some."""

    spaces: list[Namespace]
    newest: dict[Namespace, list[tuple[float, str]]]


def seen(
    terms: Terms, shard: Shard, prefix: Namespace, *, guess: Sequence[Namespace] = (), most: int = 1
) -> RedisPlan[Place]:
    """The namespaces of one shard that hold items and begin with `prefix`, in order.

    With a guess, the newest keys of those namespaces come along: one round trip, two and more
    only when expired items have to be swept away first.
    """
    text = joined(prefix)
    low, high = (f"[{text}", f"({text}\x01") if prefix else ("-", "+")
    keys = (shard.due, shard.names, *(shard.live(joined(ns)) for ns in guess))
    call = Call("look", keys, (low, high, most - 1), reads=True)
    ((expired, names, newest),) = yield from terms.asked((call,))
    if expired:
        yield from terms.sweep_all(shard)
        ((_, names, newest),) = yield from terms.asked((call,))
    dated = ([(float(row[i + 1]), row[i]) for i in range(0, len(row), 2)] for row in newest)
    return Place([split_namespace(name) for name in names], dict(zip(guess, dated, strict=True)))


def namespaces_under(terms: Terms, shard: Shard, prefix: Namespace) -> RedisPlan[list[Namespace]]:
    """The namespaces of one shard that hold items and begin with `prefix`, in order."""
    return (yield from seen(terms, shard, prefix)).spaces


def list_namespaces(terms: Terms, op: ListNamespacesOp) -> RedisPlan[list[Namespace]]:
    """The namespaces that meet the conditions, sorted, each once."""
    prefix = filters.known_prefix(op.match_conditions)
    shards = yield from terms.shards(prefix)
    found = yield from _all(together([namespaces_under(terms, s, prefix) for s in shards]))
    names = (ns for part in found for ns in part if filters.fits(ns, op.match_conditions))
    cut = sorted({ns[: op.max_depth] if op.max_depth is not None else ns for ns in names})
    return cut[op.offset : op.offset + op.limit]


def _all(plan: RedisPlan[list[Any]]) -> RedisPlan[list[Any]]:
    results = yield from plan
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def search(terms: Terms, op: SearchOp) -> RedisPlan[list[MemorySearchItem]]:
    """Items under a prefix that pass the filter, the last changed first.

    Two round trips where the namespaces under the prefix are the ones this process saw there
    last: where to look, and the items.
    """
    needed = op.offset + op.limit
    prefix = tuple(op.namespace_prefix)
    size = max(needed, _LEAST_WINDOW) if op.filter else needed
    found = yield from _places(terms, prefix, max(size, 1))
    kept: list[MemorySearchItem] = []
    if needed > 0:
        kept = yield from _window(terms, found, op, needed, size)
    page = kept[op.offset : needed]
    if op.refresh_ttl:
        yield from refreshed(terms, page)
    return page


def spaces(terms: Terms, prefix: Namespace) -> RedisPlan[list[Namespace]]:
    """Every namespace that holds items and begins with `prefix`."""
    shards = yield from terms.shards(prefix)
    found = yield from _all(together([namespaces_under(terms, s, prefix) for s in shards]))
    return [ns for part in found for ns in part]


def _places(terms: Terms, prefix: Namespace, most: int) -> RedisPlan[Place]:
    shards = yield from terms.shards(prefix)
    guessed = terms.guesses.get(prefix, (prefix,) if prefix else ())
    plans = [
        seen(
            terms,
            shard,
            prefix,
            guess=[ns for ns in guessed if terms.shard(ns) == shard],
            most=most,
        )
        for shard in shards
    ]
    places: list[Place] = yield from _all(together(plans))
    found = [ns for place in places for ns in place.spaces]
    if len(found) <= _GUESSED_AT_ONCE:
        terms.guess(prefix, tuple(found))
    newest = {ns: keys for place in places for ns, keys in place.newest.items()}
    return Place(found, newest)


def _window(
    terms: Terms, place: Place, op: SearchOp, needed: int, size: int
) -> RedisPlan[list[MemorySearchItem]]:
    kept: list[MemorySearchItem] = []
    known: set[tuple[Namespace, str]] = set()
    newest = place.newest
    while place.spaces:
        if not all(ns in newest for ns in place.spaces):
            newest = yield from _newest(terms, place.spaces, size)
        window = _merged({ns: newest[ns] for ns in place.spaces}, size)
        for chunk in _chunks([pair for pair in window if pair not in known]):
            kept += yield from _matching(terms, chunk, op)
            if len(kept) >= needed:
                return kept[:needed]
        if len(window) < size:
            return kept
        known.update(window)
        newest = {}
        size *= 4
    return kept


def _newest(
    terms: Terms, spaces: Sequence[Namespace], size: int
) -> RedisPlan[dict[Namespace, list[tuple[float, str]]]]:
    by_shard: dict[Shard, list[Namespace]] = {}
    for ns in spaces:
        by_shard.setdefault(terms.shard(ns), []).append(ns)
    plans = [
        seen(terms, shard, part[0], guess=part, most=size)
        for shard, whole in by_shard.items()
        for part in (whole[i : i + _CHUNK] for i in range(0, len(whole), _CHUNK))
    ]
    places: list[Place] = yield from _all(together(plans))
    return {ns: keys for place in places for ns, keys in place.newest.items()}


def _merged(
    newest: dict[Namespace, list[tuple[float, str]]], size: int
) -> list[tuple[Namespace, str]]:
    dated = [(at, ns, key) for ns, keys in newest.items() for at, key in keys]
    dated.sort(key=lambda entry: -entry[0])
    return [(ns, key) for _, ns, key in dated[:size]]


def _chunks(
    pairs: Sequence[tuple[Namespace, str]],
) -> Iterator[Sequence[tuple[Namespace, str]]]:
    for start in range(0, len(pairs), _CHUNK):
        yield pairs[start : start + _CHUNK]


def fetch(
    terms: Terms, pairs: Sequence[tuple[Namespace, str]]
) -> RedisPlan[list[tuple[Namespace, str, Record]]]:
    """The live records among these items, in order; leaves their time to live alone."""
    by_shard: dict[str, list[tuple[Namespace, str]]] = {}
    for pair in pairs:
        by_shard.setdefault(terms.shard(pair[0]).tag, []).append(pair)
    groups = list(by_shard.values())
    plans = [_rows(terms, terms.shard(g[0][0]), g, refresh=False) for g in groups]
    replies = yield from _all(together(plans))
    rows: dict[tuple[Namespace, str], Any] = {}
    for group, reply in zip(groups, replies, strict=True):
        rows.update({pair: row for pair, row in zip(group, reply, strict=True) if row})
    return [(*pair, Record.of(rows[pair])) for pair in pairs if pair in rows]


def _matching(
    terms: Terms, pairs: Sequence[tuple[Namespace, str]], op: SearchOp
) -> RedisPlan[list[MemorySearchItem]]:
    found = yield from fetch(terms, pairs)
    items = [MemorySearchItem(record=r, namespace=ns, key=key) for ns, key, r in found]
    return [item for item in items if filters.keeps(op.filter, item.value)]


def refreshed(terms: Terms, items: Sequence[MemorySearchItem]) -> RedisPlan[None]:
    """Start the time to live of these items anew, where they have one."""
    by_shard: dict[str, list[tuple[Namespace, str]]] = {}
    for item in items:
        if item.ttl_ms:
            shard = terms.shard(item.namespace)
            by_shard.setdefault(shard.tag, []).append((item.namespace, item.key))
    if by_shard:
        yield from together(
            [_rows(terms, terms.shard(g[0][0]), g, refresh=True) for g in by_shard.values()]
        )


def diff(terms: Terms, op: Get, after: Moment) -> RedisPlan[list[timetravel.Change]]:
    """What changed in an item from what is asked until `after`; one of the two may be missing."""
    known = yield from records(terms, op.namespace, op.key)
    left, right = chosen(known, op), chosen(known, replace(op, as_of=after))
    if left is None and right is None:
        raise _valueless(op, f"{op.as_of!r} or {after!r}")
    return timetravel.difference(left.value if left else {}, right.value if right else {})


def _valueless(op: Get, moments: str) -> MemoryExpired:
    return MemoryExpired(
        f"The item {op.key!r} in {op.namespace!r} has no value as of {moments}.",
        hint="Look at its history for the versions that are still known.",
    )


def revert(terms: Terms, op: Get, provenance: Provenance) -> RedisPlan[int]:
    """Write an earlier version again, unless somebody writes meanwhile: two round trips."""
    known = yield from records(terms, op.namespace, op.key)
    wanted = chosen(known, op)
    if wanted is None:
        raise _valueless(op, repr(op.as_of))
    live = known[0] if known[0].kind != "deleted" else None
    again = (wanted.ttl_ms, wanted.from_us or "", wanted.to_us or "")
    call = terms.write(
        "put",
        op.namespace,
        op.key,
        if_version=live.number if live else 0,
        provenance=provenance,
        body=(*again, wanted.marks_text, wanted.value_text),
    )
    _, version, _ = yield from terms.written(call, op.namespace, op.key, repeatable=False)
    return version


def sweep(terms: Terms) -> RedisPlan[int]:
    """Drop what is due in every shard."""
    shards = yield from terms.shards(())
    total = 0
    for shard in shards:
        total += yield from terms.sweep_all(shard)
    return total
