"""Facts: one truth a slot, policies, contested and quarantined ones."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from plumbgraph.errors import MemoryExpired, MemoryInvalid, VersionConflict
from plumbgraph.memory import Attribute, Attributes, Fact, MemoryItem, MemoryStore

NS = ("users", "ana")


def year(number: int) -> datetime:
    return datetime(number, 1, 1, tzinfo=UTC)


def told(items: list[MemoryItem]) -> dict[str, Any]:
    return {item.value["attribute"]: item.value["value"] for item in items}


def test_seattle_then_portland_leaves_portland(store: MemoryStore) -> None:
    store.remember(NS, Fact("Ana", "lives_in", "Seattle"))
    seattle = store.history(NS, "ana|home_city")[0].at
    outcome = store.remember(NS, Fact("ana", "city of residence", "Portland"))
    assert outcome.said == "superseded"
    assert outcome.current
    assert told(store.facts(NS, "ANA")) == {"home_city": "Portland"}
    assert told(store.facts(NS, "Ana", as_of=seattle)) == {"home_city": "Seattle"}


def test_the_same_value_refreshes_and_makes_no_version(store: MemoryStore) -> None:
    store.remember(NS, Fact("Ana", "home_city", "Portland"))
    outcome = store.remember(NS, Fact("Ana", "home_city", " portland. "))
    assert (outcome.said, outcome.version) == ("refreshed", 1)


def test_a_report_of_an_older_state_goes_into_the_history(store: MemoryStore) -> None:
    store.remember(NS, Fact("Ana", "home_city", "Portland", valid_from=year(2024)))
    late = store.remember(NS, Fact("Ana", "home_city", "Boston", valid_from=year(2018)))
    assert late.said == "late"
    assert not late.current
    assert told(store.facts(NS, "Ana")) == {"home_city": "Portland"}
    assert told(store.facts(NS, "Ana", at=year(2020))) == {"home_city": "Boston"}
    again = store.remember(NS, Fact("Ana", "home_city", "Oslo", valid_from=year(2025)))
    assert again.said == "superseded"
    assert [v.version for v in store.history(NS, "ana|home_city")] == [3, 2, 1]


def test_what_becomes_true_later_is_not_true_yet(store: MemoryStore) -> None:
    store.remember(NS, Fact("Ana", "home_city", "Portland", valid_from=year(2020)))
    store.remember(NS, Fact("Ana", "home_city", "Paris", valid_from=year(2900)))
    assert told(store.facts(NS, "Ana")) == {"home_city": "Portland"}
    assert told(store.facts(NS, "Ana", at=year(2901))) == {"home_city": "Paris"}


def test_many_values_stand_side_by_side(store: MemoryStore) -> None:
    for value in ("French", "German", "french"):
        store.remember(NS, Fact("Ana", "speaks", value))
    assert sorted(item.value["value"] for item in store.facts(NS, "Ana")) == ["French", "German"]
    assert store.forget(NS, Fact("Ana", "languages", "German"))
    assert [item.value["value"] for item in store.facts(NS, "Ana")] == ["French"]


def test_contested_facts_wait_for_someone_to_settle_them(store: MemoryStore) -> None:
    store.remember(NS, Fact("Ana", "employer", "Acme", source="cv"))
    assert store.remember(NS, Fact("Ana", "works for", "Bolt", source="mail")).said == "contested"
    (item,) = store.conflicts(NS)
    assert item.contested
    assert item.value["value"] == "Acme"
    assert [(r.value["value"], r.source) for r in item.rivals] == [("Bolt", "mail")]
    assert store.resolve(NS, "Ana", "employer", "Bolt").said == "settled"
    assert store.conflicts(NS) == []
    assert told(store.facts(NS, "Ana")) == {"employer": "Bolt"}
    with pytest.raises(MemoryExpired):
        store.resolve(NS, "Nobody", "employer", "Bolt")


@pytest.mark.parametrize(
    ("policy", "second", "said"),
    [
        ("last_write", {"valid_from": year(1990)}, "superseded"),
        ("confidence", {"confidence": 0.4}, "outvoted"),
        ("confidence", {"confidence": 0.9}, "superseded"),
        ("source", {"source": "rumor"}, "outvoted"),
        ("source", {"source": "registry"}, "superseded"),
        ("keep", {}, "outvoted"),
        ("contest", {}, "contested"),
    ],
)
def test_policies(redis_url: str, policy: Any, second: Any, said: str) -> None:
    declared = [Attribute("city", policy=policy, sources=("registry", "mail"))]
    with MemoryStore(redis_url, attributes=declared) as store:
        first = Fact("Ana", "city", "Rome", confidence=0.8, source="mail")
        store.remember(NS, first)
        assert store.remember(NS, Fact("Ana", "city", "Oslo", **second)).said == said


def test_a_judge_decides_only_over_what_it_saw(store: MemoryStore) -> None:
    store.remember(NS, Fact("Ana", "home_city", "Rome"))
    seen: list[str] = []

    def judge(held: MemoryItem, claim: Fact) -> Any:
        seen.append(held.value["value"])
        if len(seen) == 1:
            store.remember(NS, Fact("Ana", "home_city", "Oslo"))
        return "keep" if held.value["value"] == "Oslo" else "supersede"

    outcome = store.remember(NS, Fact("Ana", "home_city", "Paris"), policy=judge)
    assert seen == ["Rome", "Oslo"]
    assert outcome.said == "outvoted"
    assert told(store.facts(NS, "Ana")) == {"home_city": "Oslo"}


def test_an_undeclared_attribute_is_quarantined_with_the_reason(store: MemoryStore) -> None:
    outcome = store.remember(NS, Fact("Ana", "zodiac sign", "Leo"))
    assert outcome.said == "quarantined"
    assert "declared" in outcome.reason
    assert store.facts(NS, "Ana") == []
    assert len(store.recall(NS, "zodiac leo")) == 0
    assert told(store.quarantined(NS)) == {"zodiac_sign": "Leo"}


def test_wrong_values_of_facts_are_refused(store: MemoryStore) -> None:
    with pytest.raises(MemoryInvalid):
        store.remember(NS, Fact("Ana", "age", "old"))
    with pytest.raises(MemoryInvalid):
        store.remember(NS, Fact(" ", "age", 3))
    with pytest.raises(MemoryInvalid):
        store.remember(NS, Fact("Ana", "!?", 3))
    with pytest.raises(MemoryInvalid):
        store.remember(NS, Fact("Ana", "home_city", "x", confidence=2.0))


def test_64_writers_leave_one_truth(store: MemoryStore) -> None:
    def write(number: int) -> None:
        moment = float(1_000_000_000 + number)
        store.remember(NS, Fact("Ana", "home_city", f"city {number}", valid_from=moment))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(store.facts(NS, "Ana")) == {"home_city": "city 63"}


def test_a_condition_on_the_slot_is_checked(store: MemoryStore) -> None:
    numbers = iter(range(1_000))

    def judge(_held: MemoryItem, _claim: Fact) -> Any:
        store.remember(NS, Fact("Ana", "home_city", f"city {next(numbers)}"))
        return "supersede"

    store.remember(NS, Fact("Ana", "home_city", "Rome"))
    with pytest.raises(VersionConflict):
        store.remember(NS, Fact("Ana", "home_city", "Paris"), policy=judge)


@pytest.mark.parametrize(
    ("wording", "name"),
    [
        ("home_city", "home_city"),
        ("HomeCity", "home_city"),
        ("current city", "home_city"),
        ("home town", "home_city"),
        ("spoken languages", "languages"),
        ("company", "employer"),
        ("emploier", "employer"),
        ("age in years", "age"),
    ],
)
def test_wordings_find_their_slot(store: MemoryStore, wording: str, name: str) -> None:
    match = store.rules.attributes.match(wording)
    assert (match.attribute.name, match.how != "undeclared") == (name, True)


def test_two_attributes_may_not_claim_one_wording() -> None:
    with pytest.raises(MemoryInvalid):
        Attributes((Attribute("a", ("x",)), Attribute("b", ("X",))))
