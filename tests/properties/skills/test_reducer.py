"""The reducer's laws, and that no interleaving of parallel loads loses anything."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from plumbgraph.skills.channel import (
    SkillEntry,
    active,
    clock_of,
    loaded_entry,
    merge_skills,
    unloaded_entry,
    used_entry,
)

NAMES = ("a", "b", "c")
LIVE = st.fixed_dictionaries(
    {
        "rev": st.integers(0, 4),
        "used": st.integers(0, 6),
        "at": st.integers(0, 4),
        "digest": st.sampled_from(["d1", "d2"]),
        "tokens": st.integers(0, 3),
        "mode": st.sampled_from(["bounded", "pinned", "turn"]),
    }
)
GONE = st.fixed_dictionaries(
    {
        "rev": st.integers(0, 4),
        "used": st.integers(0, 6),
        "gone": st.just(True),
        "why": st.sampled_from(["asked", "budget"]),
    }
)
STATES: Any = st.dictionaries(st.sampled_from(NAMES), st.one_of(LIVE, GONE))
State = dict[str, SkillEntry]


@given(STATES, STATES)
def test_commutative(a: State, b: State) -> None:
    assert merge_skills(a, b) == merge_skills(b, a)


@given(STATES, STATES, STATES)
@settings(max_examples=400)
def test_associative(a: State, b: State, c: State) -> None:
    assert merge_skills(merge_skills(a, b), c) == merge_skills(a, merge_skills(b, c))


@given(STATES, STATES)
def test_idempotent(a: State, b: State) -> None:
    merged = merge_skills(a, b)
    assert merge_skills(merged, merged) == merged
    assert merge_skills(merged, b) == merged
    assert merge_skills(a, None) == merge_skills(None, a) == merge_skills(a, {})


@given(STATES, STATES)
def test_a_later_write_is_never_undone_by_an_earlier_one(a: State, b: State) -> None:
    merged = merge_skills(a, b)
    for name in merged:
        newest = max(state[name]["rev"] for state in (a, b) if name in state)
        assert merged[name]["rev"] == newest


@given(STATES)
def test_inputs_are_not_changed(a: State) -> None:
    before = repr(a)
    merge_skills(a, {"a": {"rev": 9, "used": 9, "gone": True}})
    assert repr(a) == before


def test_entries_of_an_unknown_version_keep_their_keys() -> None:
    merged = merge_skills({"a": {"rev": 1, "digest": "d", "later": 1}}, None)  # type: ignore[typeddict-item,typeddict-unknown-key]
    assert merged["a"] == {"rev": 1, "used": 1, "at": 1, "tokens": 0, "digest": "d", "later": 1}


def step(state: State, action: str, name: str) -> State:
    """What one tool call writes, having read `state`."""
    if action == "load":
        return {name: loaded_entry(state, f"digest-{name}", 10)}
    if name not in active(state):
        return {}
    if action == "unload":
        return {name: unloaded_entry(state, name, "asked")}
    return {name: used_entry(state, name)}


def test_parallel_calls_in_any_order_lose_nothing() -> None:
    for seed in range(1_000):
        interleave(random.Random(seed))


def interleave(make: random.Random) -> None:
    """Six rounds of parallel calls whose writes arrive in random order."""
    names = [f"skill-{n}" for n in range(8)]
    state: State = {}
    expected: set[str] = set()
    for _ in range(6):
        chosen = make.sample(names, make.randint(1, 6))
        actions = [(make.choice(("load", "load", "unload", "use")), name) for name in chosen]
        writes = [step(state, action, name) for action, name in actions]
        make.shuffle(writes)
        before = clock_of(state)
        for write in writes:
            state = merge_skills(state, write)
        for action, name in actions:
            expected = expected | {name} if action == "load" else expected
            expected = expected - {name} if action == "unload" else expected
        assert set(active(state)) == expected
        assert clock_of(state) >= before


@given(st.permutations(range(6)))
def test_every_order_of_the_same_writes_gives_the_same_state(order: list[int]) -> None:
    base: State = merge_skills({}, {"a": loaded_entry({}, "d", 1)})
    writes: list[State] = [
        {"a": unloaded_entry(base, "a", "asked")},
        {"a": used_entry(base, "a")},
        {"b": loaded_entry(base, "d", 1)},
        {"b": loaded_entry(base, "e", 2)},
        {"c": loaded_entry(base, "d", 1)},
        {"a": loaded_entry(base, "d2", 1)},
    ]
    states = []
    for sequence in (order, range(6)):
        state = base
        for number in sequence:
            state = merge_skills(state, writes[number])
        states.append(state)
    assert states[0] == states[1]
