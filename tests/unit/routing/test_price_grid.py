"""Charges against the table they come from: models, and ways providers count tokens."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from plumbgraph.routing.prices import GenaiPrices
from plumbgraph.routing.tokens import usage_of

genai = pytest.importorskip("genai_prices")
MODELS = [
    "anthropic:claude-sonnet-4-5",
    "anthropic:claude-haiku-4-5",
    "anthropic:claude-opus-4-6",
    "openai:gpt-5",
    "openai:gpt-5-mini",
    "openai:gpt-4o",
    "openai:o4-mini",
    "google_genai:gemini-2.5-pro",
    "google_genai:gemini-2.5-flash",
]
# What a message's usage says (input and output tokens, input details, reasoning), and the same
# in the table's own words.
SHAPES: dict[str, tuple[int, int, dict[str, int], int, dict[str, int]]] = {
    "plain": (12_000, 800, {}, 0, {}),
    "read from a cache": (12_000, 800, {"cache_read": 9_000}, 0, {"cache_read_tokens": 9_000}),
    "written to a cache": (
        *(12_000, 800, {"cache_read": 6_000, "cache_creation": 4_000}, 0),
        {"cache_read_tokens": 6_000, "cache_write_tokens": 4_000},
    ),
    "written for minutes and for an hour": (
        *(12_000, 800),
        {"cache_creation": 0, "ephemeral_5m_input_tokens": 3_000, "ephemeral_1h_input_tokens": 900},
        0,
        {
            "cache_write_tokens": 3_900,
            "cache_write_5m_tokens": 3_000,
            "cache_write_1h_tokens": 900,
        },
    ),
    "thought about": (12_000, 800, {}, 600, {"output_reasoning_tokens": 600}),
    "long": (250_000, 2_000, {"cache_read": 100_000}, 0, {"cache_read_tokens": 100_000}),
}


@pytest.mark.parametrize(("name", "shape"), list(product(MODELS, SHAPES)))
def test_a_charge_is_what_the_table_says(name: str, shape: str) -> None:
    given, made, details, thought, told = SHAPES[shape]
    usage: Any = {
        "input_tokens": given,
        "output_tokens": made,
        "total_tokens": given + made,
        "input_token_details": details,
        "output_token_details": {"reasoning": thought},
    }
    used = usage_of(AIMessage("x", usage_metadata=usage))
    price = GenaiPrices().price(name, at=1_790_000_000.0)
    assert used is not None
    assert price is not None
    provider, _, model = name.partition(":")
    theirs = genai.calc_price(
        genai.Usage(input_tokens=given, output_tokens=made, **told),
        model,
        provider_id=provider.removesuffix("_genai"),
    )
    ours = price.charge(used)
    assert ours - 1 <= theirs.total_price * Decimal(10**9) <= ours
    assert (price.source, bool(price.version)) == ("genai-prices", True)
