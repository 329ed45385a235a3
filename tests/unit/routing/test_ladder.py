"""What happens as a budget drains, and what a call then costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from plumbgraph.errors import (
    BudgetSpent,
    SettingsError,
    StoreUnavailable,
)
from plumbgraph.routing import (
    Aim,
    Budget,
    CostRouter,
    Ladder,
    Limit,
    Payer,
    Request,
)
from plumbgraph.routing.call import Asked, Offer
from plumbgraph.testing import ScriptedChatModel

MakeRouter = Callable[..., CostRouter]
Ask = Callable[..., Asked]


def test_the_ladder_goes_to_a_cheaper_model_then_stops(make: MakeRouter, asked: Ask) -> None:
    budget = Budget(0.0651, ladder=Ladder(wait_s=0))
    router = make(aim=Aim.quality(0.93), budget=budget)
    first, second = router.call(asked(router)), router.call(asked(router))
    assert first.decision.model == "scripted:strong"
    assert second.decision.model == "scripted:strong"
    tight = make(aim=Aim.quality(0.93), budget=Budget(0.01, ladder=Ladder(wait_s=0)))
    assert tight.call(asked(tight)).decision.code == "cheaper_floor"
    none = make(budget=Budget(0.0001, ladder=Ladder(wait_s=0)))
    with pytest.raises(BudgetSpent) as caught:
        none.call(asked(none))
    assert caught.value.account == "tenant"
    floor = make(aim=Aim.quality(0.93), budget=Budget(0.01, ladder=Ladder(floor=0.9, wait_s=0)))
    with pytest.raises(BudgetSpent):
        floor.call(asked(floor))


def test_what_is_left_bounds_the_answer_before_a_call_is_refused(
    make: MakeRouter, strong: ScriptedChatModel, asked: Ask
) -> None:
    budget = Budget(0.03, ladder=Ladder(wait_s=0))
    router = make(aim=Aim.quality(0.93), budget=budget)
    answer = router.call(asked(router))
    limit = answer.decision.chosen.max_output_tokens
    assert (answer.decision.model, answer.decision.code) == ("scripted:strong", "cheapest_good")
    assert 1024 <= limit < 4096
    assert strong.calls[-1].options["max_tokens"] == limit
    assert answer.decision.chosen.worst_nano <= 30_000_000
    assert f"leaves {limit} output tokens" in answer.decision.reason
    whole = make(aim=Aim.quality(0.93), budget=Budget(0.03, ladder=Ladder(fit=1, wait_s=0)))
    assert whole.call(asked(whole)).decision.model == "scripted:cheap"
    with pytest.raises(SettingsError, match="fit"):
        Ladder(fit=2)
    with pytest.raises(SettingsError, match="wait"):
        Ladder(wait_s=-1)


def test_an_answer_is_never_bounded_below_what_is_expected(make: MakeRouter, asked: Ask) -> None:
    budget = Budget(0.0004, ladder=Ladder(fit=0, wait_s=0))
    router = make(budget=budget)
    request = Request(text="What?", input_tokens=10, worst_input_tokens=40, output_tokens=900)
    assert router.call(asked(router, request=request)).decision.chosen.max_output_tokens >= 900
    with pytest.raises(BudgetSpent) as caught:
        router.call(asked(router, request=replace(request, output_tokens=1_000)))
    assert caught.value.needed_usd == pytest.approx(0.000404)


def test_nested_limits_all_count(make: MakeRouter, asked: Ask) -> None:
    budget = Budget([Limit("tenant", 1.0, "day"), Limit("thread", 0.5)])
    router = make(budget=budget)
    answer = router.call(asked(router))
    told = budget.balances(Payer(thread="t"))
    assert [b.spent_nano for b in told] == [answer.charge.nano] * 2
    with pytest.raises(SettingsError, match="each thread"):
        router.call(asked(router, payer=Payer()))


def test_an_answer_that_does_not_say_its_usage_costs_the_worst_case(
    make: MakeRouter, asked: Ask
) -> None:
    silent = ScriptedChatModel.from_messages(
        lambda _: AIMessage("x", response_metadata={"finish_reason": "stop"}), model_name="cheap"
    )
    router = make(of_cheap={"model": silent})

    def call(offer: Offer) -> AIMessage:
        return offer.model.invoke(offer.messages).model_copy(update={"usage_metadata": None})

    answer = router.call(asked(router, call=call))
    assert answer.charge.usage is None
    assert answer.charge.nano == answer.decision.chosen.worst_nano


def test_a_journal_that_fails_before_the_call_leaves_nothing_held(
    make: MakeRouter, journal: Any, asked: Ask, cheap: ScriptedChatModel
) -> None:
    def intent(*_: object) -> None:
        raise StoreUnavailable("gone")

    journal.intent = intent
    budget = Budget(1.0)
    router = make(budget=budget)
    with pytest.raises(StoreUnavailable):
        router.call(asked(router, identity="k", journal=journal))
    assert (budget.balances()[0].held_nano, budget.doubts(), cheap.calls) == (0, [], [])
