"""What a model's tokens cost: own prices first, then a maintained table; never a silent zero.

Rates are whole pico-dollars a token (a dollar a million tokens is 1,000,000) and charges whole
nano-dollars, rounded up, so that sums are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol

from plumbgraph.errors import UnknownPrice
from plumbgraph.routing.tokens import Usage

NANO = 1_000_000_000
_PICO_PER_MTOK = 1_000_000
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Pico-dollars a token, by kind."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    reasoning: int

    @classmethod
    def per_mtok(
        cls,
        input: float | Decimal,  # noqa: A002 - the provider's word
        output: float | Decimal,
        *,
        cache_read: float | Decimal | None = None,
        cache_write: float | Decimal | None = None,
        cache_write_1h: float | Decimal | None = None,
        reasoning: float | Decimal | None = None,
    ) -> Rates:
        """Rates from dollars a million tokens; an unstated kind costs what its base kind costs."""
        write = input if cache_write is None else cache_write
        return cls(
            input=_pico(input),
            output=_pico(output),
            cache_read=_pico(input if cache_read is None else cache_read),
            cache_write=_pico(write),
            cache_write_1h=_pico(write if cache_write_1h is None else cache_write_1h),
            reasoning=_pico(output if reasoning is None else reasoning),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Rates of one model with where they come from.

    Attributes:
        rates: For requests below every tier.
        tiers: Input sizes and the rates for requests with more input than that, all of it.
        source: Where the rates come from: `own`, `genai-prices`, …
        version: Of that source, so that a charge can be checked later.
    """

    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    source: str = "own"
    version: str = ""

    @classmethod
    def per_mtok(cls, input: float, output: float, **more: float) -> Price:  # noqa: A002 - the provider's word
        """A flat price in dollars a million tokens; see `Rates.per_mtok`."""
        return cls(rates=Rates.per_mtok(input, output, **more))

    def at(self, input_tokens: int) -> Rates:
        """The rates for a request of this size."""
        rates = self.rates
        if self.tiers:
            for start, above in self.tiers:
                if input_tokens > start:
                    rates = above
        return rates

    def charge(self, usage: Usage) -> int:
        """Nano-dollars for a call's tokens, rounded up."""
        rates = self.at(usage.input)
        special = usage.cache_read + usage.cache_write + usage.cache_write_1h
        pico = (
            max(usage.input - special, 0) * rates.input
            + usage.cache_read * rates.cache_read
            + usage.cache_write * rates.cache_write
            + usage.cache_write_1h * rates.cache_write_1h
            + max(usage.output - usage.reasoning, 0) * rates.output
            + usage.reasoning * rates.reasoning
        )
        return -(-pico // 1000)

    def expected(self, input_tokens: int, cached: int, output: int) -> int:
        """Nano-dollars of a call that reads `cached` tokens and writes the rest to the cache."""
        return _expected(self.at(input_tokens), input_tokens, cached, output)

    def quote(self, input_tokens: int, cached: int, output: int) -> tuple[int, int, int]:
        """`expected` as things are, with all input cached, and with none."""
        rates = self.at(input_tokens)
        return (
            _expected(rates, input_tokens, cached, output),
            _expected(rates, input_tokens, input_tokens, output),
            _expected(rates, input_tokens, 0, output),
        )

    def worst(self, input_tokens: int, output_tokens: int) -> int:
        """The most nano-dollars a call can cost, however its input is cached or written."""
        rates = self.at(input_tokens)
        dearest_input = max(rates.input, rates.cache_read, rates.cache_write, rates.cache_write_1h)
        dearest_output = max(rates.output, rates.reasoning)
        return -(-(input_tokens * dearest_input + output_tokens * dearest_output) // 1000)

    def output_within(self, nano: int, input_tokens: int) -> int:
        """How many output tokens these nano-dollars cover in the worst case; may be negative."""
        left = nano * 1000 - self.worst(input_tokens, 0) * 1000
        rates = self.at(input_tokens)
        return left // max(rates.output, rates.reasoning, 1)


def _expected(rates: Rates, input_tokens: int, cached: int, output: int) -> int:
    written = (input_tokens - cached) * rates.cache_write
    return -(-(cached * rates.cache_read + written + output * rates.output) // 1000)


class PriceSource(Protocol):
    """Knows prices by model."""

    def price(self, name: str, *, at: float) -> Price | None:
        """The price of `provider:name` at a time in seconds since the epoch, if known."""


class OwnPrices:
    """Prices the user states, by `provider:name` or bare name.

    Args:
        prices: By name.
        version: Written into every charge.
    """

    def __init__(self, prices: Mapping[str, Price], *, version: str = "") -> None:
        self._prices = {
            name: replace(price, version=price.version or version) for name, price in prices.items()
        }

    def price(self, name: str, *, at: float) -> Price | None:  # noqa: ARG002 - own prices are undated
        """The stated price."""
        return self._prices.get(name) or self._prices.get(name.partition(":")[2])


class GenaiPrices:
    """The table of the package genai-prices (extra `prices`), imported on first use.

    Offline: the table is the installed one. A table that is out of date is out of date here
    too; the version stands in every charge. Source: https://github.com/pydantic/genai-prices
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Price | None] = {}

    def price(self, name: str, *, at: float) -> Price | None:
        """The table's price on the day of `at`."""
        key = (name, int(at // _DAY_S))
        if key not in self._known:
            self._known[key] = self._look_up(name, at)
        return self._known[key]

    def _look_up(self, name: str, at: float) -> Price | None:
        try:
            snapshot = import_module("genai_prices.data_snapshot").get_snapshot()
        except ImportError:
            return None
        provider, _, model = name.rpartition(":")
        ref = _PROVIDERS.get(provider, provider) or None
        try:
            _, info = snapshot.find_provider_model(model, None, ref, None)
        except LookupError:
            return None
        return _from_table(info.get_prices(datetime.fromtimestamp(at, UTC)))


class PriceBook:
    """Asks several sources in turn.

    Raises:
        UnknownPrice: From `price`, where none knows the model.
    """

    def __init__(self, *sources: PriceSource) -> None:
        self._sources = sources

    def price(self, name: str, *, at: float) -> Price:
        """The first source's price."""
        for source in self._sources:
            found = source.price(name, at=at)
            if found is not None:
                return found
        raise UnknownPrice(f"No price is known for the model {name!r}.", model=name)


def price_book(prices: Mapping[str, Price] | PriceSource | None = None) -> PriceBook:
    """Own prices, if any, before those of genai-prices."""
    own = OwnPrices(prices) if isinstance(prices, Mapping) else prices
    return PriceBook(*([own] if own is not None else []), GenaiPrices())


_PROVIDERS = {"google_genai": "google", "google_vertexai": "google", "azure_openai": "azure"}
_PROVIDERS |= {"mistralai": "mistral", "bedrock": "aws", "bedrock_converse": "aws", "xai": "x-ai"}
_KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
}


def _from_table(prices: Any) -> Price | None:
    """A table's entry as a price; one without input or output tokens is no token price."""
    told = {kind: getattr(prices, key, None) for kind, key in _KINDS.items()}
    if told["input"] is None or told["output"] is None:
        return None
    starts = sorted({t.start for p in told.values() for t in getattr(p, "tiers", ())})
    return Price(
        rates=Rates.per_mtok(**{kind: _at(price, 0) for kind, price in told.items()}),
        tiers=tuple(
            (start, Rates.per_mtok(**{kind: _at(price, start + 1) for kind, price in told.items()}))
            for start in starts
        ),
        source="genai-prices",
        version=version("genai-prices"),
    )


def _at(price: Any, input_tokens: int) -> Any:
    found = getattr(price, "base", price)
    for tier in getattr(price, "tiers", ()):
        if input_tokens > tier.start:
            found = tier.price
    return found


def _pico(usd_per_mtok: float | Decimal) -> int:
    rate = Decimal(str(usd_per_mtok)) * _PICO_PER_MTOK
    whole = int(rate.to_integral_value(rounding="ROUND_CEILING"))
    if whole < 0:
        raise ValueError(f"a price is never negative: {usd_per_mtok!r}")
    return whole
