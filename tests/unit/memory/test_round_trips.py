"""How often a recall asks the server, and that a guess does not outlive a change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from plumbgraph.memory import MemoryStore
from plumbgraph.redis.wires import Wires, Words

NS = ("users", "ana")


class Trips:
    """Counts the batches that leave this process, and does something before the next of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.first: Any = None
        exchange = Wires.exchange

        def counted(wires: Wires, batch: Sequence[Words]) -> Any:
            first, self.first = self.first, None
            if first is not None:
                first()
            self.count += 1
            return exchange(wires, batch)

        monkeypatch.setattr(Wires, "exchange", counted)

    def of(self, store: MemoryStore, query: str, **options: Any) -> tuple[int, list[str]]:
        """How many batches a recall takes, and the keys it finds."""
        before = self.count
        found = [hit.key for hit in store.recall(NS, query, **options)]
        return self.count - before, found


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> Trips:
    return Trips(monkeypatch)


def test_a_recall_after_which_nothing_changed_is_one_round_trip(
    redis_url: str, trips: Trips
) -> None:
    with MemoryStore(redis_url) as store:
        for n in range(30):
            store.put(NS, f"k{n}", {"text": f"the lighthouse number{n}"})
        store.put(NS, "bell", {"text": "rings"}, name="belfry")
        assert trips.of(store, "number7")[1] == ["k7"]
        assert trips.of(store, "number7") == (2, ["k7"])
        assert trips.of(store, "number8") == (1, ["k8"])
        assert trips.of(store, "the belfry", mode="precise") == (1, ["bell"])
        assert trips.of(store, "submarine") == (1, [])
        store.put(NS, "k7", {"text": "the submarine"})
        assert trips.of(store, "submarine") == (3, ["k7"])
        assert trips.of(store, "submarine") == (2, ["k7"])
        assert trips.of(store, "submarine") == (1, ["k7"])


def test_a_write_that_overtakes_the_guess_is_seen(redis_url: str, trips: Trips) -> None:
    with MemoryStore(redis_url) as store, MemoryStore(redis_url) as other:
        store.put(NS, "a", {"text": "the lighthouse keeper"})
        store.put(NS, "b", {"text": "the harbor master"})
        for _ in range(3):
            trips.of(store, "keeper")
        trips.first = lambda: other.put(NS, "c", {"text": "another keeper"}, pinned=True)
        assert trips.of(store, "keeper")[1] == ["c", "a"]
        trips.of(store, "keeper")
        trips.first = lambda: other.delete(NS, "a")
        assert trips.of(store, "keeper")[1] == ["c"]
        trips.of(store, "harbor")
        trips.first = lambda: other.put(NS, "b", {"text": "nothing of the sort"})
        assert trips.of(store, "harbor", pinned=False)[1] == []


def test_uses_are_counted_whether_or_not_a_guess_holds(redis_url: str, raw_redis: Any) -> None:
    with MemoryStore(redis_url) as store:
        store.put(NS, "a", {"text": "the lighthouse keeper"})
        for n in range(6):
            store.recall(NS, "keeper")
            if n % 2:
                store.put(NS, "b", {"text": f"the harbor master {n}"})
        store.recall(NS, "keeper")
        (name,) = [key for key in raw_redis.scan_iter("*") if raw_redis.type(key) == b"hash"]
        assert raw_redis.hget(name, "a") == b"6"


def test_a_process_that_looks_often_finds_what_a_new_one_finds(redis_url: str) -> None:
    drawn = random.Random(3)
    names = [f"word{n}" for n in range(12)]
    with MemoryStore(redis_url) as reader, MemoryStore(redis_url) as writer:
        for step in range(80):
            key = f"k{drawn.randrange(15)}"
            if drawn.random() < 0.2:
                writer.delete(NS, key)
            elif drawn.random() < 0.5:
                text = " ".join(drawn.choices(names, k=4))
                writer.put(NS, key, {"text": text}, pinned=step % 9 == 0)
            query = " ".join(drawn.choices(names, k=2))
            with MemoryStore(redis_url) as fresh:
                told = {hit.key: hit.text for hit in fresh.recall(NS, query, max_items=None)}
            seen = {hit.key: hit.text for hit in reader.recall(NS, query, max_items=None)}
            assert seen == told
