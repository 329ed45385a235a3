"""A provider that fails over real HTTP: our router beside LangChain's own fallbacks."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from plumbgraph.errors import ModelUnavailable
from plumbgraph.policy import Policy
from plumbgraph.routing import Aim, CostRouter, ModelCard, Price, RoutedChatModel
from plumbgraph.testing.provider import FaultKind, Provider

FAULTS: list[FaultKind] = [
    "dead", "server", "rate_limited", "auth", "context", "timeout", "cut", "truncated",
    "malformed",
]  # fmt: skip


def _chat(provider: Provider, name: str) -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=provider.url, api_key="none", max_retries=0, timeout=0.3)


def _routed(provider: Provider) -> RoutedChatModel:
    cards = [
        ModelCard(model=_chat(provider, name), price=Price.per_mtok(price, price * 4), prior=0.9)
        for name, price in (("primary", 1), ("spare", 2))
    ]
    return RoutedChatModel(CostRouter(cards, aim=Aim.quality(0.8), policy=Policy()))


def _count(model: Any, calls: int) -> int:
    good = 0
    for _ in range(calls):
        try:
            good += model.invoke([HumanMessage("x")]).text == "The answer is forty-two."
        except (ModelUnavailable, ValueError, OSError, RuntimeError) as error:
            print(f"  {type(error).__name__}: {error}"[:160])
    return good


def measure(calls: int = 1000) -> list[dict[str, Any]]:
    """A dead primary for a thousand calls, every other fault for a tenth of that."""
    rows = []
    for fault in FAULTS:
        times = calls if fault == "dead" else calls // 10
        with Provider(hang_s=0.5) as provider:
            provider.faults["primary"] = fault
            good = _count(_routed(provider), times)
            reached = provider.asked["primary"]
        peer_reached: int | None = None
        if fault == "dead":
            with Provider() as provider:
                provider.faults["primary"] = fault
                chain = _chat(provider, "primary").with_fallbacks([_chat(provider, "spare")])
                _count(chain, times)
                peer_reached = provider.asked["primary"]
        rows.append(
            {
                "fault of the primary": fault,
                "calls": times,
                "answered": round(good / times, 4),
                "reached the primary": reached,
                "with_fallbacks reached it": peer_reached,
                "target": "≤ 5 and ≥ 0.999" if fault == "dead" else "≥ 0.999",
            }
        )
    return rows
