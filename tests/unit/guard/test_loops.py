from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest

from plumbgraph.tracing.loops import Call, Finding, Rules, examine, fingerprint


def alarm(calls: Sequence[Call], rules: Rules | None = None) -> tuple[int, Finding] | None:
    """After how many calls the first finding comes, and which."""
    prints = []
    for count, call in enumerate(calls, 1):
        prints.append(fingerprint(call))
        found = examine(prints, rules or Rules())
        if found:
            return count, found
    return None


def work(count: int, *, salt: str = "") -> list[Call]:
    return [Call("search", {"q": f"topic {salt} {word}"}, f"about {word}") for word in range(count)]


@pytest.mark.parametrize("period", range(1, 9))
def test_a_cycle_is_found_within_twelve_calls(period: int) -> None:
    names = [f"tool_{chr(97 + index)}" for index in range(period)]
    cycle = [Call(name, {"x": "same"}, f"result of {name}") for name in names]
    found = alarm([*work(5), *cycle * 12])
    assert found
    count, finding = found
    assert count - 5 <= 12
    assert set(finding.cycle) <= set(names)


def test_polling_with_changing_results_is_no_loop() -> None:
    polls = [Call("status", {"job": "j1"}, f"{percent} % done") for percent in range(0, 100, 5)]
    assert alarm(polls) is None


def test_polling_with_unchanged_results_is_allowed_by_name_only() -> None:
    polls = [Call("status", {"job": "j1"}, "pending")] * 20
    assert alarm(polls)
    assert alarm(polls, Rules(poll=frozenset({"status"}))) is None


def test_paging_through_results_is_no_loop() -> None:
    pages = [Call("page", {"number": n}, f"rows {n * 10} to {n * 10 + 9}") for n in range(30)]
    assert alarm(pages) is None


@pytest.mark.parametrize(
    "nonce",
    [str, lambda n: uuid.UUID(int=n << 64).hex, lambda n: f"req-{n:04x}-a1"],
    ids=["counter", "hex", "word"],
)
def test_drifting_arguments_are_found(nonce: object) -> None:
    assert callable(nonce)
    calls = [Call("fetch", {"url": "/items", "nonce": nonce(n)}, "no items") for n in range(12)]
    found = alarm([*work(3), *calls])
    assert found
    assert found[1].code == "loop.drift"
    assert found[0] - 3 <= 12


def test_an_echo_of_the_argument_is_no_news() -> None:
    calls = [Call("fetch", {"id": f"a{n}x77"}, f"nothing for a{n}x77") for n in range(12)]
    found = alarm(calls)
    assert found
    assert found[1].code == "loop.drift"


def test_changed_progress_is_news() -> None:
    calls = [Call("write", {"n": "x"}, "ok", progress=f"digest {n}") for n in range(30)]
    assert alarm(calls) is None


def test_failed_calls_in_a_row() -> None:
    calls = [Call("run", {"cmd": word}, f"error in {word}", failed=True) for word in "abcdefgh"]
    found = alarm(calls)
    assert found
    assert found[1].code == "loop.errors"
    assert found[0] == Rules().errors


def test_since_counts_polls_too() -> None:
    polls = [Call("status", {}, "pending")] * 3
    loop = [Call("a", {}, "x")] * 8
    found = alarm([*polls, *loop], Rules(poll=frozenset({"status"})))
    assert found
    assert found[1].since == 3


def test_a_short_history_is_no_loop() -> None:
    assert examine([]) is None
    assert alarm(work(2)) is None
