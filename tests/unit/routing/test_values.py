from __future__ import annotations

import json
from decimal import Decimal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from plumbgraph.errors import SettingsError, UnknownPrice
from plumbgraph.routing import Aim, Decision, Estimate, ModelCard, Price, Request, ThreadView
from plumbgraph.routing.catalog import Catalog, name_of
from plumbgraph.routing.choose import choose, gate
from plumbgraph.routing.estimate import estimate as expect
from plumbgraph.routing.outcomes import Outcome, Tallies, posterior
from plumbgraph.routing.prices import GenaiPrices, OwnPrices, PriceBook, Rates, price_book
from plumbgraph.routing.quantile import LiveQuantile
from plumbgraph.routing.scope import view_of
from plumbgraph.routing.tokens import Usage, bounds_of, needs_of, usage_of
from plumbgraph.routing.values import Refusal
from plumbgraph.testing import ScriptedChatModel


def answer(**details: int) -> AIMessage:
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    told = {**usage, "input_token_details": details, "output_token_details": {"reasoning": 40}}
    return AIMessage("x", usage_metadata=told)


def test_cached_and_reasoning_tokens_of_both_conventions() -> None:
    openai = usage_of(answer(cache_read=600))
    assert openai == Usage(input=1000, cache_read=600, output=100, reasoning=40)
    anthropic = usage_of(
        answer(cache_read=600, ephemeral_5m_input_tokens=100, ephemeral_1h_input_tokens=50)
    )
    assert anthropic is not None
    assert (anthropic.cache_write, anthropic.cache_write_1h) == (100, 50)
    price = Price.per_mtok(3, 15, cache_read=0.3, cache_write=3.75, cache_write_1h=6)
    assert price.charge(openai) == 400 * 3000 + 600 * 300 + 100 * 15_000
    assert price.charge(anthropic) == 250 * 3000 + 600 * 300 + 100 * 3750 + 50 * 6000 + 1_500_000


def test_charges_are_whole_nano_dollars_rounded_up() -> None:
    price = Price.per_mtok(0.0375, 0.15)
    assert price.rates.input == 37_500
    assert price.charge(Usage(input=1)) == 38
    assert price.charge(Usage(input=1000, output=1)) == 37_500 + 150


def test_a_tier_prices_the_whole_request() -> None:
    high = Rates.per_mtok(6, 22.5)
    price = Price(rates=Rates.per_mtok(3, 15), tiers=((200_000, high),))
    assert price.charge(Usage(input=200_000)) == 600_000_000
    assert price.charge(Usage(input=200_001)) == 200_001 * 6000
    assert price.worst(200_001, 10) == 200_001 * 6000 + 225_000


@pytest.mark.parametrize(
    "name",
    [
        "anthropic:claude-sonnet-4-5",
        "openai:gpt-5",
        "openai:gpt-4o-mini",
        "google_genai:gemini-2.5-pro",
    ],
)
@pytest.mark.parametrize("size", [1_000, 150_000, 250_000])
def test_charges_equal_those_of_the_table_they_come_from(name: str, size: int) -> None:
    genai = pytest.importorskip("genai_prices")
    price = GenaiPrices().price(name, at=1_790_000_000.0)
    assert price is not None
    assert price.version
    usage = Usage(input=size, cache_read=size // 2, output=700, reasoning=100)
    told = genai.Usage(input_tokens=size, cache_read_tokens=size // 2, output_tokens=700)
    provider, _, model = name.partition(":")
    ids = {"google_genai": "google"}
    theirs = genai.calc_price(told, model, provider_id=ids.get(provider, provider))
    assert price.charge(usage) == pytest.approx(float(theirs.total_price * Decimal(10**9)), abs=1)


def test_own_prices_come_first_and_unknown_ones_refuse() -> None:
    own = price_book({"openai:gpt-5": Price.per_mtok(1, 2)})
    assert own.price("openai:gpt-5", at=0.0).source == "own"
    versioned = OwnPrices({"gpt-5": Price.per_mtok(1, 2)}, version="2026-11")
    found = versioned.price("openai:gpt-5", at=0.0)
    assert found is not None
    assert found.version == "2026-11"
    with pytest.raises(UnknownPrice, match="nowhere:none"):
        PriceBook().price("nowhere:none", at=0.0)


def test_worst_case_tokens_are_never_fewer_than_bytes() -> None:
    bounds = bounds_of(
        [HumanMessage("ä" * 100), HumanMessage([{"type": "image_url", "image_url": "…"}])]
    )
    assert bounds.worst >= 200 + 6_000
    assert bounds.expected < bounds.worst
    assert needs_of([HumanMessage([{"type": "image", "url": "x"}])]) == {"image_inputs"}


def test_cards_know_their_names_and_limits() -> None:
    model = ScriptedChatModel(["x"], model_name="m", provider="acme")
    assert name_of(model) == "acme:m"
    assert ModelCard(model="google_genai:gemini-2.5-pro").limit_key == "max_output_tokens"
    with pytest.raises(SettingsError, match="no provider"):
        ModelCard(model="gpt-5")
    with pytest.raises(SettingsError, match="Two candidates"):
        Catalog([model, model], prices=PriceBook())
    with pytest.raises(SettingsError, match="at least one"):
        Catalog([], prices=PriceBook())


def estimate(
    model: str, p_ok: float, usd: float, later: float | None = None, cold: float | None = None
) -> Estimate:
    nano = round(usd * 1e9)
    return Estimate(
        model=model,
        p_ok=p_ok,
        p_source="prior",
        expected_nano=nano,
        worst_nano=nano * 2,
        later_nano=nano if later is None else round(later * 1e9),
        cold_nano=nano if cold is None else round(cold * 1e9),
        max_output_tokens=100,
        return_nano=round(((cold or usd) - (later or usd)) * 1e9),
    )


WEAK, STRONG = estimate("a:weak", 0.7, 0.001), estimate("a:strong", 0.9, 0.02)


@pytest.mark.parametrize(
    ("aim", "model", "code"),
    [
        (Aim.quality(0.6), "a:weak", "cheapest_good"),
        (Aim.quality(0.85), "a:strong", "cheapest_good"),
        (Aim.quality(0.95), "a:strong", "best"),
        (Aim.value(0.01), "a:weak", "value"),
        (Aim.value(1.0), "a:strong", "value"),
    ],
)
def test_the_choice_serves_its_aim(aim: Aim, model: str, code: str) -> None:
    choice = choose([WEAK, STRONG], aim)
    assert (choice.model, choice.code) == (model, code)
    assert choice.reason


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0, float("nan")])
def test_aims_are_checked(wrong: float) -> None:
    with pytest.raises(SettingsError):
        Aim.quality(wrong)


def thread(model: str, **told: object) -> Request:
    return Request(thread=ThreadView(model=model, **told), turns_left=3)  # type: ignore[arg-type]


def test_a_switch_must_pay_its_cold_cache() -> None:
    here = estimate("a:here", 0.9, 0.004, later=0.004, cold=0.01)
    there = estimate("a:there", 0.9, 0.03, later=0.002)
    cheap = choose([here, there], Aim.quality(0.8))
    assert cheap.model == "a:here"
    wish = cheap._replace(model="a:there")
    stay = gate(wish, [here, there], thread("a:here"), rescue=2)
    assert (stay.model, stay.code) == ("a:here", "stayed")
    long = Request(thread=ThreadView(model="a:here"), turns_left=40)
    assert gate(wish, [here, there], long, rescue=2).model == "a:there"


def test_a_tool_result_is_read_by_the_model_that_called() -> None:
    wish = choose([WEAK, STRONG], Aim.quality(0.85))
    stay = gate(wish, [WEAK, STRONG], thread("a:weak", mid_tool=True), rescue=2)
    assert (stay.model, stay.code) == ("a:weak", "stayed")


def test_repeated_failure_rescues_even_between_tool_call_and_result() -> None:
    wish = choose([WEAK, STRONG], Aim.quality(0.6))
    saved = gate(wish, [WEAK, STRONG], thread("a:weak", mid_tool=True, failures=2), rescue=2)
    assert (saved.model, saved.code) == ("a:strong", "rescued")


def test_quality_may_switch_though_it_costs() -> None:
    wish = choose([WEAK, STRONG], Aim.quality(0.85))
    assert gate(wish, [WEAK, STRONG], thread("a:weak"), rescue=2).model == "a:strong"


def test_outcomes_move_the_cell_and_a_little_its_neighbors() -> None:
    tallies = Tallies()
    tallies.add_all([Outcome("code//", "m", 0.0)] * 20)
    own, count = posterior(tallies, "code//", "m", 0.8)
    other, none = posterior(tallies, "chat//", "m", 0.8)
    assert own < other < 0.8
    assert (count, none) == (20, 0)


def test_the_live_threshold_keeps_its_share_through_a_shift() -> None:
    live = LiveQuantile(0.2)
    for n in range(500):
        live.passes((n * 37 % 101) / 101)
    after = [live.passes(5 + (n * 53 % 97) / 97)[0] for n in range(200)]
    assert abs(sum(after) / 200 - 0.2) <= 0.03


def test_a_thread_tells_its_past() -> None:
    mark = {"plumbgraph": {"model": "a:b", "at": 90.0, "input_tokens": 10}}
    called = AIMessage(
        "",
        tool_calls=[{"name": "t", "args": {}, "id": "1"}],
        response_metadata=mark,
        usage_metadata={"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
    )
    failed = ToolMessage("no", tool_call_id="1", status="error")
    view = view_of([HumanMessage("x"), called, failed, called, failed], now=100.0)
    assert view == ThreadView(
        model="a:b", cached_tokens=15, idle_s=10.0, calls=2, failures=2, mid_tool=True
    )
    good = view_of([called, failed, called, ToolMessage("ok", tool_call_id="1")], now=100.0)
    assert good.failures == 0
    other = {"plumbgraph": {"model": "a:other", "at": 40.0, "input_tokens": 7}}
    told = view_of([AIMessage("x", response_metadata=other), called], now=100.0)
    assert (told.model, told.others) == ("a:b", {"a:other": (7, 60.0)})


def test_a_cache_that_outlives_the_absence_makes_a_short_change_cheaper() -> None:
    here = ModelCard(model="a:here", price=Price.per_mtok(3, 15, cache_read=0.3))
    there = ModelCard(model="a:there", price=Price.per_mtok(1, 5, cache_read=0.1))

    def pick(idle_s: float, others: dict[str, tuple[int, float]]) -> str:
        view = ThreadView(
            model="a:here", cached_tokens=10_000, idle_s=idle_s, calls=3, others=others
        )
        request = Request(input_tokens=10_200, worst_input_tokens=40_000, thread=view)
        found = [
            expect(card, price, request, tallies=Tallies(), from_text={})
            for card in (here, there)
            if (price := card.price)
        ]
        wish = choose(found, Aim.quality(0.5))._replace(model="a:there")
        return gate(wish, found, request, rescue=2).model

    assert pick(10.0, {"a:there": (9_900, 20.0)}) == "a:there"
    assert pick(200.0, {"a:there": (9_900, 250.0)}) == "a:here", "our own cache would be cold"
    assert pick(10.0, {"a:there": (9_900, 400.0)}) == "a:here", "theirs is cold"
    assert pick(10.0, {}) == "a:here"


def test_decisions_survive_json() -> None:
    decision = Decision(model="a:weak", code="best", reason="r", candidates=(WEAK, STRONG))
    again = Decision.from_dict(json.loads(json.dumps(decision.to_dict())))
    assert again == decision
    assert again.chosen == WEAK


def test_a_notebook_shows_a_decision_with_everything_escaped() -> None:
    refused = Refusal("a:no", "managed.models.deny[0] 'a:no'", "<script>alert(1)</script>")
    decision = Decision(
        model="a:weak", code="best", reason="r", candidates=(WEAK, STRONG), refusals=(refused,)
    )
    shown = decision._repr_html_()
    assert "<b>a:weak</b> (best) r" in shown
    assert "0.70" in shown
    assert "managed.models.deny[0]" in shown
    assert "<script>" not in shown
