"""Candidates: chat models with what they can do, where they compute and what they may see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from threading import Lock
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel

from plumbgraph.errors import MissingExtra, SettingsError
from plumbgraph.policy import ModelFacts
from plumbgraph.routing.prices import Price, PriceBook

Load: TypeAlias = Callable[[str], BaseChatModel]

_WITHOUT_PROFILE = {"tool_calling": True, "structured_output": True, "text_inputs": True}
_CLASSES = {
    "anthropic": ("langchain_anthropic", "ChatAnthropic"),
    "azure_openai": ("langchain_openai", "AzureChatOpenAI"),
    "bedrock_converse": ("langchain_aws", "ChatBedrockConverse"),
    "cohere": ("langchain_cohere", "ChatCohere"),
    "deepseek": ("langchain_deepseek", "ChatDeepSeek"),
    "google_genai": ("langchain_google_genai", "ChatGoogleGenerativeAI"),
    "groq": ("langchain_groq", "ChatGroq"),
    "mistralai": ("langchain_mistralai", "ChatMistralAI"),
    "ollama": ("langchain_ollama", "ChatOllama"),
    "openai": ("langchain_openai", "ChatOpenAI"),
    "openrouter": ("langchain_openrouter", "ChatOpenRouter"),
    "xai": ("langchain_xai", "ChatXAI"),
}
_LIMIT_KEYS = {"google_genai": "max_output_tokens", "ollama": "num_predict"}
_DEFAULT_OUTPUT = 4096


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A candidate for routing.

    Attributes:
        model: A LangChain chat model, or `provider:name` to make one when first chosen.
        name: `provider:name`; told from the model where left out.
        region: Where it computes, as the policy's rules call it.
        data_classes: Classes of data it is cleared for. A request that carries a class is never
            given to a model that does not list it.
        tags: Free labels for policy rules, for example `zero-retention`.
        capabilities: Corrections to the model's own profile, by its field names
            (`max_input_tokens`, `image_inputs`, `tool_calling`, …).
        price: Own price; else the router's price book is asked.
        max_output_tokens: Most tokens of an answer: set on every call, since the worst case a
            budget reserves depends on it.
        prior: P(ok) before any outcome is known.
        cache_ttl_s: How long the provider keeps a prompt cache that is not used.
        limit_key: The model's own word for the limit on output tokens.
    """

    model: BaseChatModel | str
    name: str = ""
    region: str = ""
    data_classes: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    price: Price | None = None
    max_output_tokens: int = 0
    prior: float = 0.7
    cache_ttl_s: float = 300.0
    limit_key: str = ""

    def __post_init__(self) -> None:
        name = self.name or (self.model if isinstance(self.model, str) else name_of(self.model))
        if ":" not in name:
            raise SettingsError(
                f"The model name {name!r} has no provider.",
                hint="Write it as 'provider:name', for example 'openai:gpt-5-mini'.",
            )
        if not 0 < self.prior < 1:
            raise SettingsError(f"The prior {self.prior!r} of {name!r} must lie between 0 and 1.")
        provider = name.partition(":")[0]
        set_ = object.__setattr__
        set_(self, "name", name)
        set_(self, "data_classes", frozenset(self.data_classes))
        set_(self, "tags", frozenset(self.tags))
        set_(self, "limit_key", self.limit_key or _LIMIT_KEYS.get(provider, "max_tokens"))
        if not self.max_output_tokens:
            told = self.profile.get("max_output_tokens") or _DEFAULT_OUTPUT
            set_(self, "max_output_tokens", min(int(told), _DEFAULT_OUTPUT))

    @cached_property
    def profile(self) -> Mapping[str, Any]:
        """The model's profile with the corrections; text and tools where it has none."""
        own = getattr(self.model, "profile", None) or _WITHOUT_PROFILE
        return {**own, **self.capabilities}

    @property
    def provider(self) -> str:
        """The first part of the name."""
        return self.name.partition(":")[0]

    def facts(self, price: Price | None) -> ModelFacts:
        """What policy rules may ask about the model; kept for the latest price."""
        known: tuple[Price | None, ModelFacts] | None = self.__dict__.get("_facts")
        if known is None or known[0] is not price:
            facts = ModelFacts(
                name=self.name,
                region=self.region,
                tags=self.tags,
                input_usd_per_mtok=price.rates.input / 1e6 if price else None,
                output_usd_per_mtok=price.rates.output / 1e6 if price else None,
            )
            known = self.__dict__["_facts"] = (price, facts)
        return known[1]


class Catalog:
    """The candidates by name, each model made at most once.

    Args:
        models: Cards, chat models or `provider:name`s.
        prices: Asked for every card without a price of its own.
        load: Makes a chat model from `provider:name`; default: the provider's own LangChain
            package.

    Raises:
        SettingsError: There is no model, or two have the same name.
    """

    def __init__(
        self,
        models: Iterable[ModelCard | BaseChatModel | str],
        *,
        prices: PriceBook,
        load: Load | None = None,
    ) -> None:
        self.cards: dict[str, ModelCard] = {}
        for model in models:
            card = model if isinstance(model, ModelCard) else ModelCard(model=model)
            if card.name in self.cards:
                raise SettingsError(f"Two candidates are named {card.name!r}.")
            self.cards[card.name] = card
        if not self.cards:
            raise SettingsError("A router needs at least one model.")
        self._prices = prices
        self._load = load or load_model
        self._made: dict[str, BaseChatModel] = {}
        self._lock = Lock()

    def price(self, name: str, *, at: float) -> Price:
        """The model's price.

        Raises:
            UnknownPrice: No source knows it.
        """
        return self.cards[name].price or self._prices.price(name, at=at)

    def model(self, name: str) -> BaseChatModel:
        """The chat model itself."""
        given = self.cards[name].model
        if not isinstance(given, str):
            return given
        with self._lock:
            if name not in self._made:
                self._made[name] = self._load(given)
            return self._made[name]


def name_of(model: BaseChatModel) -> str:
    """`provider:name` of a chat model, from its package and its own name."""
    named = getattr(model, "model_name", None) or getattr(model, "model", None)
    if not isinstance(named, str) or not named:
        raise SettingsError(
            f"The chat model {type(model).__name__!r} does not say its name.",
            hint="Wrap it: ModelCard(model=…, name='provider:name').",
        )
    told = getattr(model, "provider", None)
    package = type(model).__module__.partition(".")[0]
    provider = told if isinstance(told, str) and told else package.removeprefix("langchain_")
    return f"{provider}:{named.removeprefix('models/')}"


def load_model(name: str) -> BaseChatModel:
    """The chat model `provider:name` of its provider's LangChain package.

    Raises:
        SettingsError: The provider is not known here.
        MissingExtra: Its package is not installed.
    """
    provider, _, model = name.partition(":")
    if provider not in _CLASSES:
        raise SettingsError(
            f"No chat model class is known for the provider {provider!r} of {name!r}.",
            hint="Pass the chat model itself, or load= to the router.",
        )
    package, class_name = _CLASSES[provider]
    try:
        made = getattr(import_module(package), class_name)(model=model)
    except ImportError as error:
        raise MissingExtra(
            f"The model {name!r} needs the package {package.replace('_', '-')!r}.",
            hint=f"pip install {package.replace('_', '-')}",
        ) from error
    assert isinstance(made, BaseChatModel)
    return made
