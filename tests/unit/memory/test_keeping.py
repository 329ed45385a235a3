"""Sleep and its undoing, erasure, export and import, the feed, files."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.errors import MemoryExpired, MemoryInvalid
from plumbgraph.memory import Attribute, Fact, MemoryStore, Rewrite, SleepRules
from plumbgraph.memory.dates import absolute
from plumbgraph.memory.exchange import Change
from plumbgraph.memory.formats import FILES, read, write

NS = ("users", "ana")
LONG_AGO = SleepRules(archive_below=0.0)


def fill(store: MemoryStore) -> None:
    store.put(NS, "a", {"text": "Ana drinks strong green tea every single morning at home"})
    store.put(NS, "b", {"text": "Ana drinks strong green tea every single MORNING  at home"})
    store.put(NS, "c", {"text": "Ana drank strong green tea on day 3"}, aliases=("tea",))
    store.put(NS, "d", {"text": "Ana drank strong green tea on day 4"})
    store.put(NS, "e", {"text": "We met yesterday"}, valid_from=datetime(2026, 5, 2, tzinfo=UTC))
    store.put(NS, "p", {"text": "We met yesterday"}, pinned=True)
    store.remember(NS, Fact("Ana", "home_city", "Rome"))


def test_sleep_tidies_and_undo_gives_back_the_same_bytes(store: MemoryStore) -> None:
    fill(store)
    before = store.export()
    dry = store.sleep(NS, dry_run=True)
    assert store.export() == before
    report = store.sleep(NS)
    assert {(a.deed, a.key) for a in report.actions} == {(a.deed, a.key) for a in dry.actions}
    assert {(a.deed, a.key) for a in report.actions} == {("merged", "b"), ("dated", "e")}
    dated = store.get(NS, "e")
    assert dated is not None
    assert dated.value == {"text": "We met yesterday [2026-05-01]"}
    assert [hit.key for hit in store.recall(NS, "single morning") if hit.tier != "pinned"] == ["a"]
    assert store.sleep(NS).actions == ()
    assert store.undo(report) == (2, [])
    assert store.export() == before
    with pytest.raises(MemoryExpired):
        store.undo(report)


def test_undo_leaves_what_somebody_changed_since(store: MemoryStore) -> None:
    fill(store)
    report = store.sleep(NS)
    store.put(NS, "e", {"text": "changed"})
    assert store.undo(report) == (1, ["e"])
    item = store.get(NS, "e")
    assert item is not None
    assert item.value == {"text": "changed"}


def test_weak_memories_are_archived_and_pinned_ones_never(store: MemoryStore) -> None:
    fill(store)
    report = store.sleep(NS, rules=SleepRules(archive_below=2.0))
    archived = {a.key for a in report.actions if a.deed == "archived"}
    assert archived == {"a", "c", "d", "e"}
    assert [hit.key for hit in store.recall(NS, "tea met")] == ["p"]
    assert len(store.facts(NS)) == 1


def test_the_budget_archives_the_weakest(store: MemoryStore) -> None:
    for n in range(10):
        store.put(NS, f"k{n}", {"text": f"thing number {n} of {n * 7}"}, confidence=n / 10)
    report = store.sleep(NS, rules=SleepRules(archive_below=0.0, max_items=6))
    assert {a.key for a in report.actions} == {"k0", "k1", "k2", "k3"}


def test_quarantined_facts_are_filed_once_declared(redis_url: str) -> None:
    with MemoryStore(redis_url, attributes=[Attribute("age")]) as store:
        store.remember(NS, Fact("Ana", "shoe size", 38))
    with MemoryStore(redis_url, attributes=[Attribute("shoe_size")]) as store:
        before = store.export()
        report = store.sleep(NS)
        assert [a.deed for a in report.actions] == ["filed"]
        assert [i.value["value"] for i in store.facts(NS, "Ana")] == [38]
        assert store.quarantined(NS) == []
        store.undo(report)
        assert store.export() == before


def test_a_refining_step_is_applied_only_over_what_it_saw(store: MemoryStore) -> None:
    store.put(NS, "a", {"text": "one"})
    store.put(NS, "b", {"text": "two"})

    def refine(items: Any) -> Iterator[Rewrite]:
        store.put(NS, "b", {"text": "live"})
        for item in items:
            yield Rewrite(item.key, {"text": item.value["text"].upper()})

    report = store.sleep(NS, refine=refine)
    assert report.skipped == ("b",)
    assert [store.get(NS, key).value["text"] for key in "ab"] == ["ONE", "live"]  # type: ignore[union-attr]


def test_near_duplicate_attributes_are_told(redis_url: str) -> None:
    with MemoryStore(redis_url) as store:
        for name in ("home_city", "lives_in_city", "shoe_size"):
            store.remember(NS, Fact("Ana", name, "x"))
        assert store.sleep(NS, dry_run=True).alike_attributes == (("home_city", "lives_in_city"),)


def test_live_writes_during_sleep_are_never_lost(store: MemoryStore) -> None:
    for n in range(200):
        store.put(NS, f"k{n}", {"text": f"yesterday was number {n}", "n": 0})
    done = threading.Event()
    counts = [0] * 4

    def write(worker: int) -> None:
        while not done.is_set():
            key = f"k{worker * 50 + counts[worker] % 50}"
            counts[worker] += 1
            store.put(NS, key, {"text": "yesterday", "n": counts[worker], "by": worker})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        store.sleep(NS, rules=LONG_AGO)
    done.set()
    for thread in threads:
        thread.join()
    for worker, count in enumerate(counts):
        for last in range(max(1, count - 40), count + 1):
            item = store.get(NS, f"k{worker * 50 + (last - 1) % 50}")
            assert item is not None
            assert item.value["n"] == last


def test_erasure_leaves_no_byte_but_an_audit_entry(redis_url: str, raw_redis: Any) -> None:
    name = "Jonathan Quill"
    raw = raw_redis
    with MemoryStore(redis_url) as store:
        store.put(NS, "note", {"text": f"met {name} today"})
        store.put(NS, "changed", {"text": f"{name} called"})
        store.put(NS, "changed", {"text": "somebody called"})
        store.put(NS, "gone", {"text": name})
        store.delete(NS, "gone")
        store.put(NS, "marked", {"text": "x"}, aliases=(name,), context=f"ask {name}")
        store.put(("jonathan quill",), "k", {"text": "x"})
        store.put(NS, "dup", {"text": f"met {name} today"})
        store.remember(NS, Fact(name, "age", 7))
        store.put(NS, "stays", {"text": "a quill and Jonathan"})
        store.recall(NS, name)
        store.recall(NS, name)
        store.sleep(NS)
        assert store.erase(name, dry_run=True).items == 6
        report = store.erase(name.upper())
        assert (report.items, report.versions) == (6, 1)
        for key in raw.scan_iter(count=1000):
            held = key.lower().replace(b"\0", b" ") + everything(raw, key).lower()
            assert b"jonathan quill" not in held, key
        assert [entry["items"] for entry in store.erasures()] == [6]
        assert store.get(NS, "stays") is not None
        assert len(store.history(NS, "changed")) == 1
        assert store.erase(name).items == 0


def everything(raw: Any, key: bytes) -> bytes:
    kind = raw.type(key)
    readers: dict[bytes, Any] = {
        b"string": lambda: raw.get(key),
        b"list": lambda: b" ".join(raw.lrange(key, 0, -1)),
        b"hash": lambda: b" ".join(part for pair in raw.hgetall(key).items() for part in pair),
        b"zset": lambda: b" ".join(raw.zrange(key, 0, -1)),
        b"set": lambda: b" ".join(raw.smembers(key)),
        b"stream": lambda: repr(raw.xrange(key)).encode(),
    }
    found: bytes = readers[kind]()
    return found


def test_export_and_import_lose_nothing(redis_url: str) -> None:
    with MemoryStore(redis_url) as store, MemoryStore(redis_url, tenant="copy") as copy:
        fill(store)
        store.put(
            NS, "a", {"é": [1, 2.5, None, True], "text": 'quo"te'}, source="me", scopes=("s",)
        )
        store.delete(NS, "d")
        lines = store.export()
        assert copy.import_lines(lines) == len(lines)
        assert copy.export() == lines
        assert copy.history(NS, "a") == store.history(NS, "a")
        assert [i.key for i in copy.search(NS)] == [i.key for i in store.search(NS)]
        with pytest.raises(MemoryInvalid):
            copy.import_lines([lines[0], "{}"])
        assert json.loads(lines[0])["format"] == "plumbgraph.memory/1"


def test_the_feed_tells_other_agents(store: MemoryStore) -> None:
    _, start = store.changes(NS)
    store.put(NS, "a", {})
    store.put(("users", "bob"), "b", {})
    store.delete(NS, "a")
    told, cursor = store.changes(NS, after=start)
    assert [(c.key, c.version, c.deleted) for c in told] == [("a", 1, False), ("a", 2, True)]
    assert store.changes(NS, after=cursor) == ([], cursor)
    assert [c.key for c in store.watch(("users",), after=start, timeout_s=0.1)] == ["a", "b", "a"]


async def test_watching_in_an_event_loop(redis_url: str) -> None:
    async with MemoryStore(redis_url) as store:
        seen: list[Change] = []
        _, start = await store.achanges(NS)

        async def watch() -> None:
            async for change in store.awatch(NS, after=start, timeout_s=20.0):
                seen.append(change)
                if len(seen) == 3:
                    return

        watcher = asyncio.create_task(watch())
        for n in range(3):
            await store.aput(NS, f"k{n}", {})
        await watcher
        assert [change.key for change in seen] == ["k0", "k1", "k2"]


@pytest.mark.parametrize("name", ["CLAUDE.md", "AGENTS.md", ".cursorrules"])
def test_files_are_stable_in_the_round_trip(store: MemoryStore, name: str, tmp_path: Path) -> None:
    how = FILES[name]
    rules = "- Be brief\n  and kind\n* No emojis\n\n```\ncode here\n```\n"
    text = f"# Memory\n\nUse tabs.\n\n## Style\n\n{rules}"
    for note in read(text, how):
        store.put(NS, note.key, note.value, kind=note.section)
    items: Any = store.search(NS, limit=99)
    first = write(items, how)
    assert "Be brief" in first
    assert "code here" in first
    notes = read(first, how)
    for note in notes:
        store.put(NS, note.key, note.value, kind=note.section)
    again: Any = store.search(NS, limit=99)
    assert write(again, how) == first
    assert len(again) == len(items) == len(notes)


def test_a_chat_export_becomes_messages() -> None:
    chat = {
        "title": "Trip",
        "mapping": {
            "1": {
                "message": {
                    "author": {"role": "user"},
                    "content": {"parts": ["Hi"]},
                    "create_time": 1,
                }
            },
            "2": {"message": None},
            "3": {"message": {"author": {"role": "assistant"}, "content": {"parts": ["Yo"]}}},
        },
    }
    notes = read(json.dumps([chat]), "chatgpt")
    assert {(n.said_by, n.text, n.group) for n in notes} == {
        ("human", "Hi", "Trip"),
        ("ai", "Yo", "Trip"),
    }
    with pytest.raises(MemoryInvalid):
        read("[1]", "chatgpt")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("met yesterday", "met yesterday [2026-02-28]"),
        ("two weeks ago", "two weeks ago [2026-02-15]"),
        ("last month", "last month [2026-02]"),
        ("next year", "next year [2027]"),
        ("this week", "this week [week of 2026-02-23]"),
        ("the today show [x]", "the today [2026-03-01] show [x]"),
    ],
)
def test_relative_dates(text: str, told: str) -> None:
    on = date(2026, 3, 1)
    assert absolute(text, on) == told
    assert absolute(told, on) == told
