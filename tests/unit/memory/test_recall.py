"""Recall: fresh, budgeted, honest about nothing, careful with what is superseded."""

from __future__ import annotations

import time
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory import Fact, MemoryStore

NS = ("users", "ana")


def keys(store: MemoryStore, query: str, **options: Any) -> list[str]:
    return [hit.key for hit in store.recall(NS, query, **options)]


def test_an_acknowledged_write_of_another_store_is_seen(redis_url: str) -> None:
    with MemoryStore(redis_url) as reader, MemoryStore(redis_url) as writer:
        assert keys(reader, "lighthouse") == []
        for n in range(30):
            writer.put(NS, f"k{n}", {"text": f"lighthouse number{n}"})
            assert keys(reader, f"number{n}") == [f"k{n}"]
        writer.delete(NS, "k3")
        assert keys(reader, "number3") == []


def test_nothing_fitting_is_an_empty_answer(store: MemoryStore) -> None:
    store.put(NS, "a", {"text": "the cat sleeps"})
    found = store.recall(NS, "quantum chromodynamics")
    assert (len(found), found.tokens, found.text) == (0, 0, "")
    assert keys(store, "") == []
    assert keys(store, "the of and") == []


def test_the_budget_is_never_passed(store: MemoryStore) -> None:
    for n in range(20):
        store.put(NS, f"k{n}", {"text": f"cat {'word ' * n}"})
    store.put(NS, "p", {"text": "pinned"}, pinned=True)
    for budget in (0, 5, 20, 60, 200):
        found = store.recall(NS, "cat", token_budget=budget, max_items=50, count=len)
        assert sum(len(f"- {hit.text}\n") for hit in found) == found.tokens <= budget
    assert keys(store, "cat", max_items=0) == ["p"]
    assert store.recall(NS, "cat", token_budget=0).dropped > 0


def test_pinned_memories_come_first(store: MemoryStore) -> None:
    store.put(NS, "a", {"text": "cat cat cat"})
    store.put(NS, "p", {"text": "speak plainly"}, pinned=True)
    found = store.recall(NS, "cat")
    assert [(hit.key, hit.tier) for hit in found] == [("p", "pinned"), ("a", "relevant")]
    assert keys(store, "cat", pinned=False) == ["a"]


def test_a_context_finds_the_reply(store: MemoryStore) -> None:
    store.put(NS, "reply", {"text": "Yes, last Friday!"}, context="Did you visit the museum?")
    store.put(NS, "other", {"text": "Friday is fine for me"})
    assert keys(store, "museum visit") == ["reply"]


def test_names_and_aliases_call_precisely(store: MemoryStore) -> None:
    store.put(NS, "k8s", {"text": "We run three clusters"}, name="kubernetes", aliases=("k8s",))
    store.put(NS, "text", {"text": "kubernetes is mentioned here in passing"})
    assert keys(store, "how do I restart KUBERNETES pods", mode="precise") == ["k8s"]
    assert keys(store, "kuberntes pods", mode="precise") == ["k8s"]
    assert keys(store, "cuberntes pods", mode="precise") == []
    assert keys(store, "clusters", mode="precise") == []
    store.put(NS, "k8s", {"text": "We run three clusters"}, name="kubernetes", aliases=("fleet",))
    assert keys(store, "the fleet", mode="precise") == ["k8s"]
    assert keys(store, "k8s", mode="precise") == []


def test_relations_bring_their_participants(store: MemoryStore) -> None:
    store.put(NS, "redis", {"text": "cache"}, name="redis_cache", scopes=("code",))
    store.put(NS, "hero", {"text": "a character"}, name="redis_cache", scopes=("writing",))
    store.put(
        NS,
        "rel",
        {"text": "auth depends on redis"},
        name="auth service",
        kind="relation",
        participants=("redis_cache",),
        scopes=("code",),
    )
    assert keys(store, "the auth service", mode="precise", scopes=("code",)) == ["rel", "redis"]


def test_scopes_kinds_and_status_filter(store: MemoryStore) -> None:
    store.put(NS, "a", {"text": "cat"}, scopes=("home", "work"), kind="note")
    store.put(NS, "b", {"text": "cat"}, scopes=("work",), kind="decision")
    store.put(NS, "c", {"text": "cat"}, status="superseded")
    assert sorted(keys(store, "cat")) == ["a", "b"]
    assert keys(store, "cat", scopes=("home",)) == ["a"]
    assert keys(store, "cat", kinds=("decision",)) == ["b"]


def test_superseded_and_expired_never_surface_and_contested_are_marked(store: MemoryStore) -> None:
    store.remember(NS, Fact("Ana", "home_city", "Seattle"))
    store.remember(NS, Fact("Ana", "home_city", "Portland"))
    store.remember(NS, Fact("Ana", "employer", "Acme"))
    store.remember(NS, Fact("Ana", "employer", "Bolt"))
    store.put(NS, "brief", {"text": "Ana is in Seattle"}, ttl=0.1 / 60)
    time.sleep(0.15)
    text = store.recall(NS, "where does Ana live: Seattle or Portland").text
    assert "Portland" in text
    assert "Seattle" not in text
    assert "contested by: Bolt" in store.recall(NS, "Ana Acme").text


def test_an_older_text_that_a_newer_contradicts_comes_behind_it(store: MemoryStore) -> None:
    store.put(NS, "old", {"text": "The rent of the flat is 1200 euro, the rent the rent"})
    store.put(NS, "new", {"text": "The rent of the flat is 1500 euro"})
    store.put(NS, "else", {"text": "The flat has 3 rooms"})
    hits = store.recall(NS, "what is the rent of the flat").hits
    assert [hit.key for hit in hits][:2] == ["new", "old"]
    assert hits[1].superseded_by_text == "new"
    assert "newer memory" in hits[1].text
    assert sum(hit.superseded_by_text is not None for hit in hits) == 1


def test_a_moment_shows_what_was_valid_then(store: MemoryStore) -> None:
    store.put(NS, "k", {"text": "cat in Rome"}, valid_from=1_000.0)
    store.put(NS, "k", {"text": "cat in Oslo"}, valid_from=2_000.0)
    assert "Rome" in store.recall(NS, "cat", at=1_500.0).text
    assert len(store.recall(NS, "cat", at=500.0)) == 0


def test_the_index_scores_like_a_fresh_one_after_many_changes(redis_url: str) -> None:
    with MemoryStore(redis_url) as old:
        for n in range(600):
            old.put(NS, f"k{n % 40}", {"text": f"cat {n} {'dog ' * (n % 5)} w{n % 17}"})
            if n % 50 == 0:
                old.recall(NS, "cat")
                old.delete(NS, f"k{(n + 7) % 40}")
        with MemoryStore(redis_url) as fresh:
            for query in ("cat dog", "w3", "w5 dog", "cat w11"):
                told = [
                    {i.key: round(i.score or 0, 4) for i in each.search(NS, query=query, limit=99)}
                    for each in (old, fresh)
                ]
                assert told[0] == told[1]


def test_items_kept_out_of_the_index_are_not_found(store: MemoryStore) -> None:
    store.put(NS, "a", {"text": "cat", "note": "dog"}, index=False)
    store.put(NS, "b", {"text": "cat", "note": "dog"}, index=["text"])
    assert keys(store, "cat") == ["b"]
    assert keys(store, "dog") == []


def test_embeddings_rank_search_and_join_recall(redis_url: str) -> None:
    index: Any = {"dims": 32, "embed": DeterministicFakeEmbedding(size=32), "fields": ["text"]}
    with MemoryStore(redis_url, index=index) as store:
        store.put(NS, "a", {"text": "hello"})
        store.put(NS, "b", {"text": "world"})
        store.put(NS, "c", {"text": "unseen"}, index=False)
        found = store.search(NS, query="world")
        assert found[0].key == "b"
        assert found[0].score == pytest.approx(1.0, abs=1e-5)
        assert found[-1].score is None
        store.put(NS, "b", {"text": "hello"})
        assert store.search(NS, query="hello", limit=2)[1].score == pytest.approx(1.0, abs=1e-5)
        assert store.recall(NS, "hello").hits[0].why == "words and meaning"
        store.delete(NS, "b")
        assert [item.key for item in store.search(NS, query="hello", limit=1)] == ["a"]


def test_search_by_words_without_embeddings(store: MemoryStore) -> None:
    store.put(NS, "a", {"text": "a red boat"})
    store.put(("users", "bob"), "b", {"text": "two boats and a boat"})
    store.put(NS, "c", {"text": "nothing"})
    found = store.search(("users",), query="boat", limit=3)
    assert {item.key for item in found[:2]} == {"a", "b"}
    assert found[2].score is None


def test_wrong_options_are_refused(store: MemoryStore, redis_url: str) -> None:
    with pytest.raises(MemoryInvalid):
        store.recall(NS, "x", mode="psychic")  # type: ignore[arg-type]
    with pytest.raises(MemoryInvalid):
        store.recall(NS, "x", color="red")  # type: ignore[call-arg]
    with pytest.raises(MemoryInvalid):
        MemoryStore(redis_url, language="klingon")
    with pytest.raises(MemoryInvalid):
        store.put(NS, "k", {}, color="red")  # type: ignore[call-arg]


async def test_recall_in_an_event_loop_does_not_block(redis_url: str) -> None:
    async with MemoryStore(redis_url) as store:
        for n in range(20):
            await store.aput(NS, f"k{n}", {"text": f"cat {n}"})
        assert len(await store.arecall(NS, "cat")) == 10
        assert len(await store.asearch(NS, query="cat")) == 10


@pytest.mark.parametrize(
    "options",
    [
        {"token_budget": -1},
        {"max_items": -1},
        {"scopes": "work"},
        {"kinds": "fact"},
        {"mode": "exact"},
        {"at": "yesterday"},
    ],
)
def test_options_that_make_no_sense_are_refused(store: MemoryStore, options: Any) -> None:
    with pytest.raises(MemoryInvalid):
        store.recall(NS, "cat", **options)
    with pytest.raises(MemoryInvalid):
        store.recall(NS, None)  # type: ignore[arg-type]


def test_a_budget_of_nothing_is_an_empty_answer(store: MemoryStore) -> None:
    store.put(NS, "k", {"text": "a cat"})
    assert store.recall(NS, "cat", token_budget=0).text == ""
    assert len(store.recall(NS, "cat", max_items=0)) == 0
    assert store.recall(NS, "").hits == ()
