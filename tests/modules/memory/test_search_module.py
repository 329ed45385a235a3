"""Recall by a real search module: the promises of recall hold there as in the process."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from langchain_core.embeddings import DeterministicFakeEmbedding

from plumbgraph.memory import Fact, MemoryStore
from plumbgraph.plan import run
from plumbgraph.testing.store_kit import check_store

pytestmark = [pytest.mark.search_module, pytest.mark.timeout(180)]

NS = ("users", "ana")
_SAID = "cat dog boat rent lake tea snow lamp fork mint o'hara où"
WORDS = tuple(_SAID.split(" "))


@pytest.fixture
def store(stack_url: str) -> Iterator[MemoryStore]:
    with MemoryStore(stack_url, search_module_above=0) as made:
        yield made


def keys(store: MemoryStore, query: str, **options: Any) -> list[str]:
    return [hit.key for hit in store.recall(NS, query, **options)]


def searched(url: str) -> list[str]:
    with redis.Redis.from_url(url) as raw:
        return sorted(name.decode() for name in raw.execute_command("FT._LIST"))


def test_the_module_answers_beyond_the_size_and_hands_back_below(stack_url: str) -> None:
    with MemoryStore(stack_url, search_module_above=10) as store:
        for n in range(10):
            store.put(NS, f"k{n}", {"text": f"cat number{n}"})
        assert keys(store, "number3") == ["k3"]
        assert searched(stack_url) == []
        store.put(NS, "k10", {"text": "cat number10"})
        assert keys(store, "number3") == ["k3"]
        assert len(searched(stack_url)) == 1
        for n in range(6):
            store.delete(NS, f"k{n}")
        assert keys(store, "number7") == ["k7"]
        assert searched(stack_url) == []
        with redis.Redis.from_url(stack_url) as raw:
            assert list(raw.scan_iter("*}:m:*")) == []


def test_an_acknowledged_write_of_another_store_is_seen(stack_url: str) -> None:
    far: Any = {"search_module_above": 0}
    with MemoryStore(stack_url, **far) as reader, MemoryStore(stack_url) as writer:
        assert keys(reader, "lighthouse") == []
        for n in range(60):
            writer.put(NS, f"k{n}", {"text": f"lighthouse number{n}"})
            assert keys(reader, f"number{n}") == [f"k{n}"]
        writer.delete(NS, "k3")
        assert keys(reader, "number3") == []
        writer.put(NS, "k4", {"text": "something else"})
        assert keys(reader, "number4") == []
        assert len(searched(stack_url)) == 1


def test_superseded_and_expired_never_surface_and_contested_are_marked(stack_url: str) -> None:
    from plumbgraph.memory import Attribute

    attributes = (Attribute("home_city"), Attribute("employer", policy="contest"))
    with MemoryStore(stack_url, search_module_above=0, attributes=attributes) as store:
        store.remember(NS, Fact("Ana", "home_city", "Seattle"))
        assert "Seattle" in store.recall(NS, "Seattle").text
        store.remember(NS, Fact("Ana", "home_city", "Portland"))
        store.remember(NS, Fact("Ana", "employer", "Acme"))
        store.remember(NS, Fact("Ana", "employer", "Bolt"))
        store.put(NS, "brief", {"text": "Ana is in Seattle"}, ttl=60)
        assert "brief" in keys(store, "Ana Seattle")
        with redis.Redis.from_url(stack_url) as raw:
            raw.pexpire(store.terms.shard(NS).item("users\x00ana", "brief"), 1)
        while store.get(NS, "brief", refresh_ttl=False) is not None:
            time.sleep(0.005)
        text = store.recall(NS, "where does Ana live: Seattle or Portland").text
        assert "Portland" in text
        assert "Seattle" not in text
        assert "contested by: Bolt" in store.recall(NS, "Ana Acme").text
        store.put(NS, "gone", {"text": "archived cat"}, status="archived")
        assert keys(store, "archived cat") == []


def test_the_budget_is_never_passed_and_nothing_is_an_answer(store: MemoryStore) -> None:
    for n in range(20):
        store.put(NS, f"k{n}", {"text": f"cat {'word ' * n}"})
    store.put(NS, "p", {"text": "pinned"}, pinned=True)
    for budget in (0, 5, 20, 60, 200):
        found = store.recall(NS, "cat", token_budget=budget, max_items=50, count=len)
        assert sum(len(f"- {hit.text}\n") for hit in found) == found.tokens <= budget
    assert keys(store, "cat", max_items=0) == ["p"]
    assert len(store.recall(NS, "quantum chromodynamics", pinned=False)) == 0
    assert keys(store, "the of and", pinned=False) == []


def test_it_finds_what_the_process_finds(stack_url: str) -> None:
    """The same items, and nearly the same order: its lengths weigh a little more."""
    picked = random.Random(7)
    far: Any = {"search_module_above": 0}
    with MemoryStore(stack_url, **far) as module, MemoryStore(stack_url) as process:
        for n in range(300):
            said = " ".join(picked.choices(WORDS, k=picked.randint(1, 8)))
            before = " ".join(picked.choices(WORDS, k=2))
            marks: Any = {"context": before, "group": f"g{n % 20}", "scopes": (f"s{n % 3}",)}
            module.put(NS, f"k{n}", {"text": said}, kind=("note", "task")[n % 2], **marks)
        for n in range(0, 300, 7):
            module.delete(NS, f"k{n}")
        for query in (*WORDS, "cat boat", "snow lamp fork"):
            for options in ({}, {"scopes": ("s1", "s2")}, {"kinds": ("task",)}):
                asked: Any = {"max_items": 500, "token_budget": 10**6, **options}
                told = [set(keys(each, query, **asked)) for each in (module, process)]
                assert told[0] == told[1], query
                assert told[0], query
        tops = [keys(each, "où snow o'hara", max_items=5) for each in (module, process)]
        assert len(set(tops[0]) & set(tops[1])) >= 3


def test_names_call_precisely_with_a_typing_error(store: MemoryStore, stack_url: str) -> None:
    store.put(NS, "k8s", {"text": "We run three clusters"}, name="kubernetes", aliases=("the k8s",))
    store.put(NS, "text", {"text": "kubernetes is mentioned here in passing"})
    store.put(NS, "city", {"text": "x"}, name="homeCity")
    for said in (
        *("how do I restart KUBERNETES pods", "kuberntes pods", "kubernetse", "kubernettes"),
        *("cuberntes pods", "clusters", "the k8s", "k8s", "home city", "home ctiy", "homecity"),
    ):
        with MemoryStore(stack_url, search_module_above=None) as process:
            expected = keys(process, said, mode="precise")
        assert keys(store, said, mode="precise") == expected, said
    store.put(NS, "hero", {"text": "a character"}, name="redis_cache", scopes=("writing",))
    store.put(NS, "redis", {"text": "cache"}, name="redis_cache", scopes=("code",))
    marks: Any = {"kind": "relation", "participants": ("redis_cache",), "scopes": ("code",)}
    store.put(NS, "rel", {"text": "auth depends on redis"}, name="auth service", **marks)
    assert keys(store, "the auth service", mode="precise", scopes=("code",)) == ["rel", "redis"]


def test_embeddings_join_without_an_index_in_the_process(stack_url: str) -> None:
    index: Any = {"dims": 32, "embed": DeterministicFakeEmbedding(size=32), "fields": ["text"]}
    with MemoryStore(stack_url, index=index, search_module_above=0) as store:
        store.put(NS, "a", {"text": "hello"})
        store.put(NS, "b", {"text": "world"}, scopes=("secret",))
        assert store.recall(NS, "hello").hits[0].why == "words and meaning"
        assert keys(store, "hello", scopes=("secret",)) == ["b"]
        assert store.search(NS, query="world", limit=1)[0].key == "b"
        assert len(searched(stack_url)) == 1


def test_search_by_words_filters_before_it_cuts(store: MemoryStore) -> None:
    for n in range(200):
        store.put(NS, f"k{n}", {"text": "a boat " * (n % 9 + 1), "n": n})
    found = store.search(NS, query="boat", filter={"n": {"$gte": 195}}, limit=9)
    assert {item.key for item in found} == {f"k{n}" for n in range(195, 200)}
    assert all(item.score for item in found)


def test_erasure_leaves_no_byte_behind(store: MemoryStore, stack_url: str) -> None:
    store.put(NS, "a", {"text": "Zebulon was here"})
    store.put(NS, "b", {"text": "the boat of Zebulon"})
    store.put(NS, "c", {"text": "a cat"})
    assert sorted(keys(store, "zebulon")) == ["a", "b"]
    # its document is now older than the item, and names what the item does not any more
    store.put(NS, "b", {"text": "the boat"})
    store.erase("Zebulon")
    with redis.Redis.from_url(stack_url) as raw:
        for key in raw.scan_iter("*"):
            kind = raw.type(key)
            body = raw.dump(key) if kind != b"hash" else repr(raw.hgetall(key)).encode()
            assert b"zebulon" not in (key + (body or b"")).lower(), key
    assert keys(store, "boat") == ["b"]
    assert keys(store, "zebulon") == []


def test_an_index_that_somebody_dropped_is_made_again(store: MemoryStore, stack_url: str) -> None:
    for n in range(5):
        store.put(NS, f"k{n}", {"text": f"cat number{n}"})
    assert keys(store, "number2") == ["k2"]
    with redis.Redis.from_url(stack_url) as raw:
        raw.execute_command("FT.DROPINDEX", searched(stack_url)[0])
        assert keys(store, "number2") == ["k2"]
        assert sorted(keys(store, "cat")) == [f"k{n}" for n in range(5)]
        raw.execute_command("FT.DROPINDEX", searched(stack_url)[0], "DD")
        assert keys(store, "number4") == ["k4"]


def test_where_the_module_refuses_the_process_reads_the_namespace(stack_url: str) -> None:
    with MemoryStore(f"{stack_url[:-1]}3", search_module_above=0) as store:
        store.put(NS, "k", {"text": "cat"})
        assert keys(store, "cat") == ["k"]
        assert searched(stack_url) == []
    english = MemoryStore(stack_url, search_module_above=0)
    german = MemoryStore(stack_url, search_module_above=0, language="german")
    with english, german:
        english.put(NS, "k", {"text": "viele Katzen"})
        assert keys(english, "katzen") == ["k"]
        assert keys(german, "Katze") == ["k"]
        assert keys(english, "katzen") == ["k"]


def test_two_readers_and_a_writer_lose_nothing(stack_url: str) -> None:
    """A reader that read before and files after another leaves nothing stale behind."""
    late = MemoryStore(stack_url, search_module_above=0)
    with late, MemoryStore(stack_url, search_module_above=0) as other:
        other.put(NS, "a", {"text": "old words"})
        other.put(NS, "gone", {"text": "old words"})
        held: list[Any] = []

        def slow(batch: Any) -> Any:
            replies = late._redis.send(batch)
            if not held and any("peek" in str(command.words[1]) for command in batch):
                held.append(1)
                other.put(NS, "a", {"text": "new words"})
                other.delete(NS, "gone")
                assert keys(other, "new words") == ["a"]
            return replies

        found = run(late._recall(NS, "old words", {}), slow)
        assert held
        assert [hit.text for hit in found] == ["new words"]
        assert keys(other, "old") == []
        assert keys(other, "new") == ["a"]


def test_the_kit_passes(stack_url: str) -> None:
    made = 0

    def fresh() -> MemoryStore:
        nonlocal made
        made += 1
        return MemoryStore(stack_url, tenant=f"t{made}", search_module_above=0)

    report = check_store(fresh)
    assert report.failed == (), report.table()
