"""A routed call, carried through with scripted models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.errors import GraphInterrupt

from plumbgraph.clock import HandClock
from plumbgraph.errors import (
    ModelUnavailable,
    NoModelAllowed,
    SettingsError,
    UnknownPrice,
)
from plumbgraph.routing import (
    Aim,
    Budget,
    CostRouter,
    JsonlOutcomes,
    ModelCard,
    Request,
)
from plumbgraph.routing.call import Asked, Offer, routed
from plumbgraph.routing.steps import run
from plumbgraph.testing import ScriptedChatModel
from plumbgraph.testing.script import Fault, Reply

MakeRouter = Callable[..., CostRouter]
Ask = Callable[..., Asked]


def test_the_answer_says_who_gave_it_why_and_for_how_much(make: MakeRouter, asked: Ask) -> None:
    answer = make(aim=Aim.quality(0.8)).call(asked(make()))
    mark = answer.message.response_metadata["plumbgraph"]
    assert (mark["model"], mark["code"]) == ("scripted:cheap", "cheapest_good")
    assert mark["cost_usd"] == answer.charge.nano / 1e9 > 0
    assert mark["saved_usd"] > 0
    assert mark["price_source"] == "own"
    assert mark["policy_digest"].startswith("sha256:")


async def test_both_colors_are_one_plan(make: MakeRouter, asked: Ask) -> None:
    router = make()
    answer = await router.acall(asked(router))
    assert answer.message.text == "cheap says hi"
    assert (await router.budget.abalances())[0:] == []
    await router.afeedback(answer.charge.charge_id, 1.0)
    await router.aclose()


def test_the_limit_on_the_answer_is_set_so_that_the_worst_case_holds(
    make: MakeRouter, cheap: ScriptedChatModel, asked: Ask
) -> None:
    router = make(of_cheap={"max_output_tokens": 77})
    router.call(asked(router))
    assert cheap.calls[0].options["max_tokens"] == 77


def test_a_failing_model_is_left_for_another_and_rests(
    make: MakeRouter, cheap: ScriptedChatModel, asked: Ask
) -> None:
    dead = ScriptedChatModel([ConnectionError("gone")], model_name="cheap", on_end="repeat")
    router = make(of_cheap={"model": dead})
    codes = [router.call(asked(router)).decision.code for _ in range(10)]
    assert codes[:3] == ["failed_over"] * 3
    assert set(codes[3:]) == {"only"}
    assert len(dead.calls) == 3
    assert [d.nano > 0 for d in router.budget.doubts()] == [True] * 3


def test_after_its_rest_a_model_gets_one_probe(
    make: MakeRouter, clock: HandClock, asked: Ask
) -> None:
    script = [ConnectionError("gone")] * 3 + ["back"]
    ill = ScriptedChatModel(script, model_name="cheap", on_end="repeat")
    router = make(of_cheap={"model": ill})
    for _ in range(5):
        router.call(asked(router))
    assert len(ill.calls) == 3
    clock.advance(31)
    assert router.call(asked(router)).message.text == "back"
    assert router.call(asked(router)).decision.model == "scripted:cheap"


def test_a_mistake_of_our_own_is_never_fallen_back(make: MakeRouter, asked: Ask) -> None:
    wrong = ScriptedChatModel([TypeError("bug")], model_name="cheap")
    router = make(of_cheap={"model": wrong})
    with pytest.raises(TypeError, match="bug"):
        router.call(asked(router))


def test_an_interrupt_passes_and_its_money_is_in_doubt(make: MakeRouter, asked: Ask) -> None:
    router = make()

    def call(offer: Offer) -> AIMessage:
        raise GraphInterrupt

    with pytest.raises(GraphInterrupt):
        router.call(asked(router, call=call))
    assert len(router.budget.doubts()) == 1


def test_an_answer_without_a_finish_reason_is_a_failure(make: MakeRouter, asked: Ask) -> None:
    cut = ScriptedChatModel([Reply(text="half", fault=Fault(after_chunks=1))], model_name="cheap")
    router = make(of_cheap={"model": cut})
    answer = router.call(asked(router))
    assert answer.decision.code == "failed_over"
    assert answer.message.text == "strong says hi"


def test_when_no_model_answers_the_error_says_so(make: MakeRouter, asked: Ask) -> None:
    dead = [ScriptedChatModel([ConnectionError("gone")], model_name=n) for n in ("cheap", "strong")]
    router = make(of_cheap={"model": dead[0]}, of_strong={"model": dead[1]})
    with pytest.raises(ModelUnavailable, match="No healthy model"):
        router.call(asked(router))


def test_rules_that_refuse_every_model_are_named(make: MakeRouter, asked: Ask) -> None:
    router = make(policy={"version": 1, "models": {"deny": ["*:cheap"], "regions": ["eu"]}})
    with pytest.raises(NoModelAllowed) as caught:
        router.call(asked(router))
    refusals = caught.value.refusals
    assert "models.deny" in refusals["scripted:cheap"]
    assert "models.regions" in refusals["scripted:strong"]


def test_a_fallback_never_widens_the_rules(
    make: MakeRouter, strong: ScriptedChatModel, asked: Ask
) -> None:
    dead = ScriptedChatModel([ConnectionError("gone")], model_name="cheap", on_end="repeat")
    router = make(of_cheap={"model": dead, "data_classes": frozenset({"personal"})})
    request = Request(text="x", data_classes=frozenset({"personal"}))
    with pytest.raises(ModelUnavailable, match="not cleared"):
        router.call(asked(router, request=request))
    assert strong.calls == []


def test_a_model_without_a_price_is_refused_and_not_free(asked: Ask) -> None:
    router = CostRouter([ScriptedChatModel(["x"], model_name="mystery", provider="nowhere")])
    with pytest.raises(NoModelAllowed, match="price is not known"):
        router.call(asked(router))
    with pytest.raises(UnknownPrice):
        router.catalog.price("nowhere:mystery", at=0.0)


def test_capability_size_and_pin_filter(make: MakeRouter) -> None:
    router = make(of_cheap={"capabilities": {"max_input_tokens": 100, "image_inputs": False}})
    assert router.decide(Request(input_tokens=200)).model == "scripted:strong"
    assert router.decide(Request(pin="scripted:strong")).code == "pinned"
    seeing = router.decide
    with pytest.raises(NoModelAllowed, match="image_inputs"):
        seeing(Request(needs=frozenset({"image_inputs"})))


def test_a_verifier_that_says_no_escalates_once(make: MakeRouter, asked: Ask) -> None:
    seen: list[str] = []

    def verify(_: Request, message: AIMessage) -> bool:
        seen.append(message.text)
        return False

    router = make(verify=verify)
    answer = router.call(asked(router))
    assert seen == ["cheap says hi"]
    assert (answer.decision.code, answer.message.text) == ("escalated", "strong says hi")
    assert router.tallies.get("", "scripted:cheap").score == 0.0
    assert len(router.budget.charges(asked_period(router))) == 2


def asked_period(router: CostRouter) -> str:
    from plumbgraph.routing.budget import periods

    return periods(router.clock.now())[0]


def test_a_resumed_call_neither_pays_again_nor_changes_its_model(
    make: MakeRouter, journal: Any, cheap: ScriptedChatModel, asked: Ask
) -> None:
    router = make()
    call = asked(router, identity="k", journal=journal)
    first = router.call(call)
    router.catalog.cards.pop("scripted:cheap")
    again = make(aim=Aim.quality(0.93), budget=router.budget).call(call)
    assert again.replayed
    assert again.message == first.message
    assert again.charge == first.charge
    assert len(cheap.calls) == 1
    assert len(router.budget.charges(asked_period(router))) == 1


def test_a_call_killed_before_its_record_keeps_its_decision_and_is_listed(
    make: MakeRouter, journal: Any, asked: Ask
) -> None:
    router = make()
    call = asked(router, identity="k", journal=journal)
    plan = routed(router, call)
    step = next(plan)
    while True:
        reply = step.do()  # type: ignore[union-attr]
        if getattr(reply, "text", "") == "cheap says hi":
            break
        step = plan.send(reply)
    plan.close()
    changed = make(aim=Aim.quality(0.93), budget=router.budget)
    answer = changed.call(call)
    assert answer.decision.model == "scripted:cheap"
    (doubt,) = router.budget.doubts()
    assert doubt.facts["key"] == "route:k/0"
    assert "resumed" in doubt.why


def test_a_call_killed_before_its_intent_leaves_no_doubt(
    make: MakeRouter, journal: Any, asked: Ask
) -> None:
    router = make(budget=Budget(1.0))
    call = asked(router, identity="k", journal=journal)
    plan = routed(router, call)
    reply = None
    while not router.budget.balances()[0].held_nano:
        reply = plan.send(reply).do()  # type: ignore[union-attr]
    plan.close()
    assert journal.entries == {}
    answer = make(aim=Aim.quality(0.93), budget=router.budget).call(call)
    (balance,) = router.budget.balances()
    assert (balance.spent_nano, balance.held_nano) == (answer.charge.nano, 0)
    assert router.budget.doubts() == []


def test_a_decision_that_today_is_forbidden_is_made_anew(
    make: MakeRouter, journal: Any, asked: Ask
) -> None:
    router = make()
    call = asked(router, identity="k", journal=journal)
    decision = router.decide(call.request)
    lease: dict[str, Any] = {"lease": "old", "nano": 5, "accounts": [], "at": 0.0, "facts": {}}
    journal.intent("route:k/0", {"decision": decision.to_dict(), "lease": lease})
    strict = make(policy={"version": 1, "models": {"deny": ["*:cheap"]}})
    assert strict.call(call).decision.model == "scripted:strong"


def test_escalation_and_its_verdict_are_replayed(
    make: MakeRouter, journal: Any, asked: Ask
) -> None:
    asked_of: list[str] = []

    def verify(_: Request, message: AIMessage) -> bool:
        asked_of.append(message.text)
        return False

    router = make(verify=verify)
    call = asked(router, identity="k", journal=journal)
    first, second = router.call(call), router.call(call)
    assert first.message == second.message
    assert second.replayed
    assert asked_of == ["cheap says hi"]


def test_a_plan_survives_a_ledger_that_fails_after_the_answer(make: MakeRouter, asked: Ask) -> None:
    from plumbgraph.errors import StoreUnavailable

    router = make()
    plan = routed(router, asked(router))
    step = next(plan)
    while True:
        reply = step.do()  # type: ignore[union-attr]
        if getattr(reply, "text", "") == "cheap says hi":
            plan.send(reply)
            break
        step = plan.send(reply)
    with pytest.raises(StopIteration) as done:
        plan.throw(StoreUnavailable("gone"))
    assert done.value.value.message.text == "cheap says hi"


def test_feedback_teaches_and_is_kept(make: MakeRouter, tmp_path: Any, asked: Ask) -> None:
    kept = JsonlOutcomes(tmp_path / "outcomes.jsonl")
    router = make(outcomes=kept, aim=Aim.quality(0.8))
    for _ in range(12):
        charge = router.call(asked(router)).charge
        router.feedback(charge.charge_id, 0.0 if charge.model.endswith("cheap") else 1.0)
    assert router.decide(asked(router).request).model == "scripted:strong"
    rows = kept.read()
    assert rows[0].text == "What?"
    assert rows[0].usd > 0
    fresh = make(outcomes=kept)
    fresh.call(asked(fresh))
    assert (
        fresh.tallies.get("", "scripted:cheap").count
        == router.tallies.get("", "scripted:cheap").count
    )
    with pytest.raises(SettingsError, match="No charge"):
        router.feedback("nothing", 1.0)
    with pytest.raises(SettingsError, match="between 0 and 1"):
        router.feedback("nothing", 2.0)


def test_shadow_calls_are_paid_scored_and_never_returned(
    make: MakeRouter, tmp_path: Any, asked: Ask
) -> None:
    kept = JsonlOutcomes(tmp_path / "outcomes.jsonl")
    good = "strong says hi"
    router = make(shadow=1.0, outcomes=kept, seed=1)
    answer = router.call(asked(router))
    router.shadows.close()
    assert answer.message.text == "cheap says hi"
    paid = {c.model for c in router.budget.charges(asked_period(router))}
    assert paid == {"scripted:cheap", "scripted:strong"}
    router.verify = lambda _, m: 1.0 if m.text == good else 0.5
    router.call(asked(router))
    router.close()
    told = {(row.model, row.score, row.shadow) for row in kept.read()}
    assert told == {("scripted:cheap", 0.5, False), ("scripted:strong", 1.0, True)}


async def test_a_failing_shadow_fails_nothing(make: MakeRouter, asked: Ask) -> None:
    dead = ScriptedChatModel([ConnectionError("gone")], model_name="strong")
    router = make(shadow=1.0, of_strong={"model": dead})
    answer = await router.acall(asked(router))
    await router.aclose()
    assert answer.message.text == "cheap says hi"
    assert len(dead.calls) == 1


def test_explored_choices_log_their_propensity(make: MakeRouter) -> None:
    router = make(explore=0.5, seed=3)
    told = [router.decide(Request(text="x")) for _ in range(400)]
    explored = [d for d in told if d.code == "explored"]
    assert 60 < len(explored) < 140
    assert {d.propensity for d in explored} == {0.25}
    assert {d.propensity for d in told if d.code != "explored"} == {0.75}


def test_run_drives_the_plan_once(make: MakeRouter, asked: Ask) -> None:
    router = make()
    assert run(routed(router, asked(router))).message.text == "cheap says hi"


def test_a_card_as_a_name_is_loaded_once(make: MakeRouter, asked: Ask) -> None:
    made: list[str] = []

    def load(name: str) -> ScriptedChatModel:
        made.append(name)
        return ScriptedChatModel(["x"], model_name="lazy", on_end="repeat")

    from plumbgraph.routing import Price

    card = ModelCard(model="acme:lazy", price=Price.per_mtok(1, 1))
    router = CostRouter([card], load=load)
    assert made == []
    for _ in range(2):
        router.call(asked(router))
    assert made == ["acme:lazy"]
