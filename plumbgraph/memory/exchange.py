"""Moving memory: export and import without loss, erasure without trace, and the change feed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ormsgpack

from plumbgraph.memory.keys import Namespace, Shard, joined, split_path
from plumbgraph.memory.module import forgotten
from plumbgraph.memory.plans import spaces
from plumbgraph.memory.records import from_us
from plumbgraph.memory.saved import Saved, restored, restoring, states
from plumbgraph.memory.terms import Terms
from plumbgraph.memory.words import plain
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call

_PAGE = 500
_AUDIT = "erasures"


def exported(terms: Terms, prefix: Namespace) -> RedisPlan[list[str]]:
    """Every item under a prefix with its past, deleted ones too: sorted lines of JSON."""
    found = yield from _everything(terms, prefix)
    ordered = sorted(found, key=lambda saved: (saved.namespace, saved.key))
    return [saved.line() for saved in ordered]


def _everything(terms: Terms, prefix: Namespace) -> RedisPlan[list[Saved]]:
    shards = yield from terms.shards(prefix)
    found: list[Saved] = []
    for shard in shards:
        for namespace in (yield from _spaces_with_graves(terms, shard, prefix)):
            keys = yield from _keys(terms, namespace)
            for start in range(0, len(keys), _PAGE):
                part = yield from states(terms, namespace, keys[start : start + _PAGE])
                found += [saved for saved in part if saved.now or saved.past]
    return found


def _spaces_with_graves(
    terms: Terms, shard: Shard, prefix: Namespace
) -> RedisPlan[list[Namespace]]:
    live = yield from spaces(terms, prefix)
    (due,) = yield from terms.asked((Command("ZRANGE", shard.due, 0, -1),))
    names = {split_path(path.decode())[0] for path in due}
    graves = {ns for ns in names if ns[: len(prefix)] == prefix}
    return sorted({ns for ns in live if terms.shard(ns) == shard} | graves)


def _keys(terms: Terms, namespace: Namespace) -> RedisPlan[list[str]]:
    shard, text = terms.shard(namespace), joined(namespace)
    live, gone = yield from terms.asked(
        (
            Command("ZRANGE", shard.live(text), 0, -1),
            Command("ZRANGE", shard.gone(text), 0, -1),
        )
    )
    return [key.decode() for key in dict.fromkeys([*live, *gone])]


def imported(terms: Terms, lines: Iterable[str]) -> RedisPlan[int]:
    """Put exported items back with their versions, times and past; how many.

    An item that exists is replaced. Every line is checked before the first is written.
    """
    found = [Saved.of_line(line) for line in lines if line.strip()]
    return (yield from restored(terms, found))


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure took: the audit tombstone says the same, with the subject as a digest.

    Attributes:
        items: Items removed with all their versions.
        versions: Earlier versions removed of items that no longer mention the subject.
    """

    subject_digest: str
    items: int
    versions: int
    at: datetime
    dry_run: bool


def mentions(subject: str) -> Callable[[str], bool]:
    """Whether a text names a subject as whole words, whatever the case."""
    words = re.escape(" ".join(plain(subject).split())).replace(r"\ ", r"\s+")
    pattern = re.compile(rf"(?<!\w){words}(?!\w)")
    return lambda text: pattern.search(plain(text)) is not None


def erased(
    terms: Terms, subject: str, *, prefix: Namespace, now_us: int, dry_run: bool
) -> RedisPlan[Erasure]:
    """Remove every item, version, vector, count, feed entry and journal that names a subject.

    Items are matched by namespace label, key, value, marks and provenance. What stays is one
    audit entry with the subject's digest, the counts and the time.
    """
    named = mentions(subject)
    found = yield from _everything(terms, prefix)
    whole = [saved for saved in found if _names_now(saved, named)]
    rest = [saved for saved in found if saved not in whole]
    partly = [(saved, kept) for saved in rest if (kept := _without(saved, named)) != saved.past]
    report = Erasure(
        subject_digest=hashlib.sha256(plain(subject).encode()).hexdigest(),
        items=len(whole),
        versions=sum(len(saved.past) - len(kept) for saved, kept in partly),
        at=from_us(now_us),
        dry_run=dry_run,
    )
    if dry_run:
        return report
    empty = [Saved(saved.namespace, saved.key, b"", ()) for saved in whole]
    trimmed = [Saved(saved.namespace, saved.key, saved.now, kept) for saved, kept in partly]
    yield from _wiped(terms, [*empty, *trimmed])
    yield from forgotten(terms, sorted({saved.namespace for saved in found}))
    shards = yield from terms.shards(prefix)
    for shard in shards:
        yield from _feed_cleaned(terms, shard, named)
        yield from _journals_cleaned(terms, shard, named)
    yield from _audited(terms, shards, report)
    return report


def _names_now(saved: Saved, named: Callable[[str], bool]) -> bool:
    head = " ".join((*saved.namespace, saved.key.replace("|", " ")))
    said = [saved.now] if saved.now else saved.past
    labels = (head, *saved.namespace, saved.key)
    return any(map(named, labels)) or any(_in_record(raw, named) for raw in said)


def _in_record(raw: bytes, named: Callable[[str], bool]) -> bool:
    texts = [part for part in _strings(ormsgpack.unpackb(raw)) if part]
    return any(named(text) or named(text.replace("\\n", " ").replace('"', " ")) for text in texts)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for part in value for text in _strings(part)]
    return []


def _without(saved: Saved, named: Callable[[str], bool]) -> tuple[bytes, ...]:
    return tuple(raw for raw in saved.past if not _in_record(raw, named))


def _wiped(terms: Terms, changed: Sequence[Saved]) -> RedisPlan[None]:
    for start in range(0, len(changed), _PAGE):
        calls: list[Call | Command] = []
        for saved in changed[start : start + _PAGE]:
            shard, text = terms.shard(saved.namespace), joined(saved.namespace)
            calls.append(restoring(terms, saved, if_version=None))
            if not saved.now and not saved.past:
                calls.append(Command("ZREM", shard.gone(text), saved.key))
                calls.append(Command("HDEL", shard.vectors(text), saved.key))
                calls.append(Command("HDEL", shard.uses(text), saved.key))
                calls.append(Command("DEL", shard.document(text, saved.key)))
        yield from terms.asked(calls)


def _feed_cleaned(terms: Terms, shard: Shard, named: Callable[[str], bool]) -> RedisPlan[None]:
    (entries,) = yield from terms.asked((Command("XRANGE", shard.feed, "-", "+"),))
    gone = [entry_id for entry_id, fields in entries if _in_entry(fields, named)]
    if gone:
        yield from terms.asked((Call("rewrite_feed", (shard.feed,), tuple(gone)),))


def _in_entry(fields: Any, named: Callable[[str], bool]) -> bool:
    words = list(fields.items()) if isinstance(fields, dict) else [fields]
    texts = [word.decode() for pair in words for word in pair if isinstance(word, bytes)]
    return any(
        named(part) for text in texts for part in (text.replace("\0", " "), *text.split("\0"))
    )


def _journals_cleaned(terms: Terms, shard: Shard, named: Callable[[str], bool]) -> RedisPlan[None]:
    (names,) = yield from terms.asked((Command("SMEMBERS", f"{shard.journal}:all"),))
    for name in names:
        key = f"{shard.journal}:{name.decode()}"
        (lines,) = yield from terms.asked((Command("LRANGE", key, 0, -1),))
        gone = [line for line in lines if named(line.decode().replace("|", " "))]
        if gone:
            yield from terms.asked([Command("LREM", key, 0, line) for line in gone])


def _audited(terms: Terms, shards: Sequence[Shard], report: Erasure) -> RedisPlan[None]:
    entry = json.dumps(
        {
            "subject_sha256": report.subject_digest,
            "items": report.items,
            "versions": report.versions,
            "at": report.at.isoformat(),
        }
    )
    key = f"{shards[0].journal}:{_AUDIT}" if shards else None
    if key:
        yield from terms.asked((Command("RPUSH", key, entry),))


def erasures(terms: Terms) -> RedisPlan[list[dict[str, Any]]]:
    """The audit of erasures, oldest first."""
    shards = yield from terms.shards(())
    told: list[dict[str, Any]] = []
    for shard in shards:
        asked = Command("LRANGE", f"{shard.journal}:{_AUDIT}", 0, -1)
        (lines,) = yield from terms.asked((asked,))
        told += [json.loads(line) for line in lines]
    return told


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one item, as the feed tells it.

    Attributes:
        cursor: Where to go on after this change.
    """

    namespace: Namespace
    key: str
    version: int
    deleted: bool
    cursor: str


def changes(
    terms: Terms, namespace: Namespace, *, after: str, most: int
) -> RedisPlan[tuple[list[Change], str]]:
    """Changes under a namespace after a cursor, oldest first, and the cursor to go on from."""
    shard = terms.shard(namespace)
    start = f"({after}" if after != "0" else "-"
    (entries,) = yield from terms.asked((Command("XRANGE", shard.feed, start, "+", "COUNT", most),))
    told = [_change(entry_id.decode(), fields) for entry_id, fields in entries]
    last = told[-1].cursor if told else after
    return [c for c in told if c.namespace[: len(namespace)] == namespace], last


def feed_end(terms: Terms, namespace: Namespace) -> RedisPlan[str]:
    """The cursor behind the last change."""
    shard = terms.shard(namespace)
    (entries,) = yield from terms.asked((Command("XREVRANGE", shard.feed, "+", "-", "COUNT", 1),))
    return entries[0][0].decode() if entries else "0"


def _change(entry_id: str, fields: Any) -> Change:
    pairs = dict(fields) if isinstance(fields, dict) else _paired(fields)
    version = int(pairs.pop(b"v"))
    ((kind, path),) = pairs.items()
    namespace, key = split_path(path.decode())
    return Change(namespace, key, version, kind == b"d", entry_id)


def _paired(words: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(words[::2], words[1::2], strict=True))
