"""The server settles claims as the pure decision says, and pure parts keep their promises."""

from __future__ import annotations

import secrets
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plumbgraph.memory import Attribute, Fact, MemoryStore
from plumbgraph.memory.bm25 import TextIndex
from plumbgraph.memory.conflict import Claimed, Held, Policy, settle
from plumbgraph.memory.filters import keeps
from plumbgraph.memory.keys import Layout, joined, split_path
from plumbgraph.memory.words import one_edit_apart

NS = ("p",)
CLAIMS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.one_of(st.none(), st.integers(1, 50)),
        st.sampled_from([0.25, 0.5, 1.0]),
        st.sampled_from(["top", "mid", "low"]),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("policy", get_args(Policy))
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(claims=CLAIMS)
def test_the_server_decides_as_the_oracle(redis_url: str, policy: Any, claims: Any) -> None:
    attribute = Attribute("x", policy=policy, sources=("top", "mid", "low"))
    with MemoryStore(redis_url, tenant=secrets.token_hex(8), attributes=[attribute]) as store:
        held: Held | None = None
        for value, since, confidence, source in claims:
            start = None if since is None else float(since)
            fact = Fact("s", "x", value, valid_from=start, confidence=confidence, source=source)
            claim = Claimed(
                value,
                None if since is None else since * 1_000_000,
                confidence,
                attribute.rank(source),
            )
            expected, _ = settle(policy, held, claim)
            outcome = store.remember(NS, fact)
            assert outcome.said == expected
            held = _held(store, attribute)


def _held(store: MemoryStore, attribute: Attribute) -> Held:
    from plumbgraph.memory.plans import records

    record = store._run(records(store.terms, NS, "s|x"))[0]
    claim = record.claim
    assert claim is not None
    return Held(
        claim.norm, record.valid_from_us, claim.confidence, claim.rank, int(claim.affirmed_us or 0)
    )


@given(
    st.lists(st.text(min_size=1).filter(lambda t: "\0" not in t), min_size=1, max_size=4),
    st.text(),
)
def test_paths_split_where_they_were_joined(labels: list[str], key: str) -> None:
    assert split_path(f"{joined(labels)}\0\0{key}") == (tuple(labels), key)


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_shards_of_different_roots_never_share_keys(t1: str, r1: str, t2: str, r2: str) -> None:
    banned = set("{}\0")
    if banned & set(t1 + t2) or "\0" in r1 + r2 or (t1, r1) == (t2, r2):
        return
    one = Layout(t1, "namespace_root").shard((r1,))
    other = Layout(t2, "namespace_root").shard((r2,))
    assert one.names != other.names
    assert Layout(t1).shard((r1,)).names != one.names


@given(
    st.lists(st.tuples(st.lists(st.sampled_from("abcdef"), max_size=6), st.booleans()), max_size=30)
)
def test_a_changed_index_scores_like_a_fresh_one(texts: list[tuple[list[str], bool]]) -> None:
    worn, fresh = TextIndex(), TextIndex()
    places = []
    for words, kept in texts:
        slot = worn.add(words)
        if kept:
            places.append(slot)
            fresh.add(words)
        else:
            worn.remove(slot)
    query = ["a", "b", "c"]
    expected = [round(float(s), 4) for s in fresh.scores(query)]
    assert [round(float(worn.scores(query)[slot]), 4) for slot in places] == expected
    worn.compacted()
    assert [round(float(s), 4) for s in worn.scores(query)] == expected


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_one_edit_is_symmetric(left: str, right: str) -> None:
    assert one_edit_apart(left, right) == one_edit_apart(right, left)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_a_value_passes_the_filter_that_equals_it(value: Any) -> None:
    if not isinstance(value, dict) or any("$" in k or "." in k for k in _keys(value)):
        return
    assert keeps(value, value)


def _keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(k for part in value.values() for k in _keys(part))]
    if isinstance(value, list):
        return [k for part in value for k in _keys(part)]
    return []
