"""Put what a model call cost into the message itself, where logs, budgets and LangSmith look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars of one call, by side."""

    input_usd: float
    output_usd: float

    @property
    def total_usd(self) -> float:
        """Dollars of both sides."""
        return self.input_usd + self.output_usd


Pricing: TypeAlias = Callable[[str, Mapping[str, Any]], Cost | float | None]
"""Dollars of a call by its model's name and its `usage_metadata`; `None` where unknown.

`input_tokens` of the usage includes cached tokens; `input_token_details` says how many.
"""


def with_cost(usage: Mapping[str, Any], cost: Cost | float) -> dict[str, Any]:
    """A `usage_metadata` with the cost under the names that LangSmith reads."""
    if isinstance(cost, Cost):
        parts = {"input_cost": cost.input_usd, "output_cost": cost.output_usd}
        return {**usage, **parts, "total_cost": cost.total_usd}
    return {**usage, "total_cost": float(cost)}


def add_costs(response: LLMResult, price: Pricing | None = None) -> list[str]:
    """Price each message that tells its tokens and no cost; the models nobody could price.

    An answer of a `CostRouter` tells what it was charged, so it needs no `price`.
    """
    unknown = []
    for generation in (each for row in response.generations for each in row):
        message = getattr(generation, "message", None)
        usage = getattr(message, "usage_metadata", None)
        if message is None or not usage or usage.get("total_cost") is not None:
            continue
        about = message.response_metadata or {}
        model = str(about.get("model_name") or about.get("model") or "")
        # A routed answer knows what it was charged, price source and cache included.
        charged = (about.get("plumbgraph") or {}).get("cost_usd")
        cost: Cost | float | None = None if charged is None else float(charged)
        if cost is None and price is not None:
            cost = price(model, usage)
        if cost is None:
            unknown.append(model)
        else:
            message.usage_metadata = with_cost(usage, cost)
    return unknown


class Costs(BaseCallbackHandler):
    """A callback handler that prices every answer that does not say its cost.

    The graph's state, its guard and the next process see the cost then. LangChain promises no
    order among handlers: for costs in the log and in LangSmith pass `price` to `trace` and
    `LangSmith` instead.

    Args:
        price: Says what a call cost.

    Attributes:
        unknown: Models for which `price` knew nothing, with the number of their calls.
    """

    run_inline = True

    def __init__(self, price: Pricing) -> None:
        self.price = price
        self.unknown: dict[str, int] = {}

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Add the cost to each message that tells its tokens."""
        for model in add_costs(response, self.price):
            self.unknown[model] = self.unknown.get(model, 0) + 1
