"""The sequences of Redis calls behind reading, writing and listing items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langgraph.store.base import ListNamespacesOp, SearchOp

from plumbgraph.errors import MemoryExpired, MemoryInvalid
from plumbgraph.memory import filters, timetravel
from plumbgraph.memory.encoding import encoded
from plumbgraph.memory.keys import Namespace, Shard, joined, split_namespace
from plumbgraph.memory.ops import Delete, Get, History, Put
from plumbgraph.memory.records import (
    MemoryItem,
    MemorySearchItem,
    Provenance,
    Record,
    Version,
    to_us,
)
from plumbgraph.memory.terms import Terms, milliseconds, together
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call

_CHUNK = 500
_LEAST_WINDOW = 64


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
    """Read current items of one shard: one round trip."""
    raws = yield from _raw(terms, terms.shard(wanted[0][0]), wanted, refresh=refresh)
    return [
        None if raw is None else MemoryItem(record=Record.unpacked(raw), namespace=ns, key=key)
        for raw, (ns, key) in zip(raws, wanted, strict=True)
    ]


def _raw(
    terms: Terms, shard: Shard, wanted: Sequence[tuple[Namespace, str]], *, refresh: bool
) -> RedisPlan[list[bytes | None]]:
    keys = tuple(shard.item(joined(ns), key) for ns, key in wanted)
    calls: list[Call | Command] = []
    for start in range(0, len(keys), _CHUNK):
        part = keys[start : start + _CHUNK]
        if refresh:
            calls.append(Call("get", (*part, shard.due), (shard.item_start,)))
        else:
            calls.append(Command("MGET", *part))
    replies = yield from terms.asked(calls)
    return [raw for reply in replies for raw in reply]


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
    return timetravel.versions(known)


def namespaces_under(terms: Terms, shard: Shard, prefix: Namespace) -> RedisPlan[list[Namespace]]:
    """The namespaces of one shard that hold items and begin with `prefix`, in order."""
    text = joined(prefix)
    low, high = (f"[{text}", f"({text}\x01") if prefix else ("-", "+")
    due = Call("due", (shard.due,), (1,), reads=True)
    listing = Command("ZRANGEBYLEX", shard.names, low, high)
    expired, names = yield from terms.asked((due, listing))
    if expired:
        yield from terms.sweep_all(shard)
        (names,) = yield from terms.asked((listing,))
    return [split_namespace(name.decode()) for name in names]


def list_namespaces(terms: Terms, op: ListNamespacesOp) -> RedisPlan[list[Namespace]]:
    """The namespaces that meet the conditions, sorted, each once."""
    prefix = filters.known_prefix(op.match_conditions)
    shards = yield from terms.shards(prefix)
    found = yield from _all(together([namespaces_under(terms, s, prefix) for s in shards]))
    names = (ns for part in found for ns in part if filters.fits(ns, op.match_conditions))
    cut = sorted({ns[: op.max_depth] if op.max_depth is not None else ns for ns in names})
    return cut[op.offset : op.offset + op.limit]


def _all(plan: RedisPlan[list[Any]]) -> RedisPlan[list[list[Namespace]]]:
    results = yield from plan
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def search(terms: Terms, op: SearchOp) -> RedisPlan[list[MemorySearchItem]]:
    """Items under a prefix that pass the filter, the last changed first."""
    needed = op.offset + op.limit
    prefix = tuple(op.namespace_prefix)
    under = yield from spaces(terms, prefix)
    kept: list[MemorySearchItem] = []
    if needed > 0:
        kept = yield from _window(terms, under, op, needed)
    page = kept[op.offset : needed]
    if op.refresh_ttl:
        yield from refreshed(terms, page)
    return page


def spaces(terms: Terms, prefix: Namespace) -> RedisPlan[list[Namespace]]:
    """Every namespace that holds items and begins with `prefix`."""
    shards = yield from terms.shards(prefix)
    found = yield from _all(together([namespaces_under(terms, s, prefix) for s in shards]))
    return [ns for part in found for ns in part]


def _window(
    terms: Terms, spaces: Sequence[Namespace], op: SearchOp, needed: int
) -> RedisPlan[list[MemorySearchItem]]:
    kept: list[MemorySearchItem] = []
    seen: set[tuple[Namespace, str]] = set()
    size = max(needed, _LEAST_WINDOW)
    while spaces:
        newest = yield from _newest(terms, spaces, size)
        full = len(newest) >= size
        window = newest[:size] if full else newest
        for chunk in _chunks([pair for pair in window if pair not in seen]):
            kept += yield from _matching(terms, chunk, op)
            if len(kept) >= needed:
                return kept[:needed]
        if not full:
            return kept
        seen.update(window)
        size *= 4
    return kept


def _newest(
    terms: Terms, spaces: Sequence[Namespace], size: int
) -> RedisPlan[list[tuple[Namespace, str]]]:
    calls = [
        Command("ZREVRANGE", terms.shard(ns).live(joined(ns)), 0, size - 1, "WITHSCORES")
        for ns in spaces
    ]
    replies = yield from terms.asked(calls)
    dated = [
        (float(reply[i + 1]), ns, reply[i].decode())
        for ns, reply in zip(spaces, (_flat(reply) for reply in replies), strict=True)
        for i in range(0, len(reply), 2)
    ]
    dated.sort(key=lambda entry: -entry[0])
    return [(ns, key) for _, ns, key in dated]


def _flat(reply: list[object]) -> list[bytes]:
    """Scores come as pairs in the newer protocol and in one flat list in the older."""
    if reply and isinstance(reply[0], list | tuple):
        return [word for pair in reply if isinstance(pair, list | tuple) for word in pair]
    return [word for word in reply if isinstance(word, bytes)]


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
    plans = [_raw(terms, terms.shard(g[0][0]), g, refresh=False) for g in groups]
    replies = yield from together(plans)
    raws: dict[tuple[Namespace, str], bytes] = {}
    for group, reply in zip(groups, replies, strict=True):
        if isinstance(reply, Exception):
            raise reply
        raws.update({pair: raw for pair, raw in zip(group, reply, strict=True) if raw})
    return [(*pair, Record.unpacked(raws[pair])) for pair in pairs if pair in raws]


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
            [_raw(terms, terms.shard(g[0][0]), g, refresh=True) for g in by_shard.values()]
        )


def revert(terms: Terms, op: Get, provenance: Provenance) -> RedisPlan[int]:
    """Write an earlier version again, unless somebody writes meanwhile: two round trips."""
    known = yield from records(terms, op.namespace, op.key)
    wanted = chosen(known, op)
    if wanted is None:
        raise MemoryExpired(
            f"The item {op.key!r} in {op.namespace!r} has no value as of {op.as_of!r}.",
            hint="Look at its history for the versions that are still known.",
        )
    live = known[0] if known[0].kind != "deleted" else None
    again = (wanted.ttl_ms, wanted.from_us or "", wanted.to_us or "")
    call = terms.write(
        "put",
        op.namespace,
        op.key,
        if_version=live.version if live else 0,
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
