"""Faults over real HTTP, met by `langchain-openai`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph

from plumbgraph.errors import ModelUnavailable
from plumbgraph.policy import Policy
from plumbgraph.routing import Aim, CostRouter, ModelCard, Price, RoutedChatModel
from plumbgraph.testing.provider import FaultKind, Provider

openai = pytest.importorskip("langchain_openai")
BEFORE_WORDS: list[FaultKind] = [
    "rate_limited", "server", "timeout", "auth", "context", "dead",
]  # fmt: skip
IN_WORDS: list[FaultKind] = ["cut", "truncated", "malformed"]
NO_PARAMS: Any = SimpleNamespace(params={})


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(hang_s=1.0) as running:
        yield running


@pytest.fixture
def router(request: pytest.FixtureRequest, provider: Provider) -> CostRouter:
    slow = "timeout" in getattr(request.node, "callspec", NO_PARAMS).params.values()

    def card(name: str, price: float) -> ModelCard:
        patience = 0.3 if slow and name == "primary" else 30.0
        model = openai.ChatOpenAI(
            model=name, base_url=provider.url, api_key="none", max_retries=0, timeout=patience
        )
        return ModelCard(model=model, price=Price.per_mtok(price, price * 4), prior=0.9)

    cards = [card("primary", 1), card("spare", 2)]
    return CostRouter(cards, aim=Aim.quality(0.8), policy=Policy())


def ledger(router: CostRouter) -> int:
    from plumbgraph.routing.budget import periods

    charges = router.budget.charges(periods(router.clock.now())[0])
    doubts = router.budget.doubts()
    return sum(c.nano for c in charges) + sum(d.nano for d in doubts)


def billed(provider: Provider) -> int:
    price = {"primary": 1000, "spare": 2000}
    return sum(
        (row.input_tokens + 4 * row.output_tokens) * price[row.model] for row in provider.bill
    )


@pytest.mark.parametrize("fault", [*BEFORE_WORDS, *IN_WORDS])
def test_another_model_answers_and_the_ledger_covers_the_bill(
    router: CostRouter, provider: Provider, fault: FaultKind
) -> None:
    provider.faults["primary"] = fault
    answer = RoutedChatModel(router).invoke([HumanMessage("x")])
    assert answer.text == "The answer is forty-two."
    mark = answer.response_metadata["plumbgraph"]
    assert (mark["model"], mark["code"]) == ("openai:spare", "failed_over")
    assert mark["charge_id"].startswith("chatcmpl-")
    assert ledger(router) >= billed(provider)


@pytest.mark.parametrize("fault", BEFORE_WORDS)
async def test_a_stream_begins_at_another_model(
    router: CostRouter, provider: Provider, fault: FaultKind
) -> None:
    provider.faults["primary"] = fault
    words = [c.text async for c in RoutedChatModel(router).astream([HumanMessage("x")])]
    assert "".join(words) == "The answer is forty-two."


@pytest.mark.parametrize("fault", IN_WORDS)
def test_a_stream_that_has_begun_is_not_switched(
    router: CostRouter, provider: Provider, fault: FaultKind
) -> None:
    provider.faults["primary"] = fault
    words: list[str] = []
    with pytest.raises(ModelUnavailable):
        words.extend(c.text for c in RoutedChatModel(router).stream([HumanMessage("x")]))
    assert provider.asked["spare"] == 0
    assert ledger(router) >= billed(provider)


def test_a_stream_is_paid_by_its_true_usage(router: CostRouter, provider: Provider) -> None:
    whole: Any = None
    for chunk in RoutedChatModel(router).stream([HumanMessage("x")]):
        whole = chunk if whole is None else whole + chunk
    assert whole.usage_metadata["output_tokens"] == 5
    assert ledger(router) == billed(provider)


def test_a_dead_primary_is_left_alone(router: CostRouter, provider: Provider) -> None:
    provider.faults["primary"] = "dead"
    model = RoutedChatModel(router)
    for _ in range(40):
        assert model.invoke([HumanMessage("x")]).text
    assert provider.asked["primary"] == 3


def test_retry_after_is_kept_at_once(router: CostRouter, provider: Provider) -> None:
    provider.faults["primary"] = "rate_limited"
    model = RoutedChatModel(router)
    for _ in range(5):
        model.invoke([HumanMessage("x")])
    assert provider.asked["primary"] == 1


def test_a_request_too_long_for_one_model_does_not_break_it(
    router: CostRouter, provider: Provider
) -> None:
    provider.faults["primary"] = "context"
    model = RoutedChatModel(router)
    for _ in range(5):
        model.invoke([HumanMessage("x")])
    assert provider.asked["primary"] == 5


def test_foreign_thoughts_and_cache_marks_never_reach_another_provider(
    router: CostRouter, provider: Provider
) -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    said: Any = {"type": "text", "text": "Yes.", "cache_control": {"type": "ephemeral"}}
    foreign = AIMessage(
        [thought, said],
        response_metadata={"model_provider": "anthropic", "model_name": "claude-x"},
    )
    asked: Any = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    thread = [HumanMessage(asked), foreign, HumanMessage("b")]
    provider.faults["primary"] = "server"
    RoutedChatModel(router).invoke(thread)
    for model in ("primary", "spare"):
        sent = json.dumps(provider.bodies[model]["messages"])
        assert "Yes." in sent
        assert not any(word in sent for word in ("thinking", "sig", "cache_control"))
    assert foreign.content == [thought, said], "the thread keeps them"


def test_a_cut_answer_never_reaches_a_checkpoint(router: CostRouter, provider: Provider) -> None:
    provider.faults.update(primary="truncated", spare="truncated")
    graph = (
        StateGraph(MessagesState)
        .add_node("model", lambda s: {"messages": RoutedChatModel(router).invoke(s["messages"])})
        .add_edge("__start__", "model")
        .compile(checkpointer=InMemorySaver())
    )
    config: Any = {"configurable": {"thread_id": "t"}}
    with pytest.raises(ModelUnavailable):
        graph.invoke({"messages": [HumanMessage("x")]}, config)
    assert [m.type for m in graph.get_state(config).values["messages"]] == ["human"]
    provider.faults.clear()
    graph.invoke(None, config)
    assert [m.type for m in graph.get_state(config).values["messages"]] == ["human", "ai"]
    assert ledger(router) >= billed(provider)


def test_tools_and_limits_reach_the_provider_of_each_model(
    router: CostRouter, provider: Provider
) -> None:
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    answer = RoutedChatModel(router).bind_tools([add]).invoke([HumanMessage("x")])
    assert answer.response_metadata["plumbgraph"]["model"] == "openai:primary"
    sent = provider.bodies["primary"]
    assert sent["tools"][0]["function"]["name"] == "add"
    assert sent["max_completion_tokens"] == 4096
