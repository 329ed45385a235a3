from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from plumbgraph.clock import HandClock
from plumbgraph.policy import Policy
from plumbgraph.redis.clients import Redis
from plumbgraph.routing import CostRouter, ModelCard, Payer, Price, Request
from plumbgraph.routing.budget import Ledger
from plumbgraph.routing.call import Asked, Offer
from plumbgraph.routing.ledger import RedisLedger
from plumbgraph.routing.memory_ledger import MemoryLedger
from plumbgraph.testing import ScriptedChatModel

MakeRouter = Callable[..., CostRouter]
Ask = Callable[..., Asked]


@dataclass
class Entry:
    intent: dict[str, Any]
    result: dict[str, Any] | None = None


class DictJournal:
    """A journal in a dictionary: what a store keeps when the process goes."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def key(self, name: str, args: Any) -> str:
        return f"{name}:{args}"

    async def akey(self, name: str, args: Any) -> str:
        return self.key(name, args)

    def lookup(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def intent(self, key: str, facts: Mapping[str, Any]) -> None:
        assert key not in self.entries
        self.entries[key] = Entry(dict(facts))

    def done(self, key: str, result: Mapping[str, Any]) -> None:
        self.entries[key] = Entry(self.entries[key].intent, dict(result))

    async def alookup(self, key: str) -> Entry | None:
        return self.lookup(key)

    async def aintent(self, key: str, facts: Mapping[str, Any]) -> None:
        self.intent(key, facts)

    async def adone(self, key: str, result: Mapping[str, Any]) -> None:
        self.done(key, result)


@pytest.fixture
def journal() -> DictJournal:
    return DictJournal()


@pytest.fixture
def cheap() -> ScriptedChatModel:
    return ScriptedChatModel(["cheap says hi"], model_name="cheap", on_end="repeat")


@pytest.fixture
def strong() -> ScriptedChatModel:
    return ScriptedChatModel(["strong says hi"], model_name="strong", on_end="repeat")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def make(cheap: ScriptedChatModel, strong: ScriptedChatModel, clock: HandClock) -> MakeRouter:
    """A router over a cheap and a strong model; keywords go to `CostRouter` or to the cards."""
    nothing_forbidden = Policy()

    def made(
        *, of_cheap: Mapping[str, Any] | None = None, of_strong: Any = None, **settings: Any
    ) -> CostRouter:
        small: dict[str, Any] = {"price": Price.per_mtok(0.1, 0.4), "prior": 0.85}
        big: dict[str, Any] = {"price": Price.per_mtok(3, 15, cache_read=0.3), "prior": 0.95}
        cards = [
            ModelCard(**{"model": cheap, **small, **(of_cheap or {})}),
            ModelCard(**{"model": strong, **big, **(of_strong or {})}),
        ]
        return CostRouter(cards, **{"clock": clock, "policy": nothing_forbidden, **settings})

    return made


@pytest.fixture(params=["memory", "redis"])
def ledger(request: pytest.FixtureRequest, clock: HandClock) -> Iterator[Ledger]:
    """Both ledgers behind the one protocol."""
    if request.param == "memory":
        yield MemoryLedger()
        return
    with Redis(request.getfixturevalue("redis_url")) as redis:
        yield RedisLedger(redis, tenant="t")


@pytest.fixture
def asked() -> Ask:
    """Describes a call of a scripted model; keywords replace parts of it."""
    return _asked


def _asked(router: CostRouter, **more: Any) -> Asked:
    messages = [HumanMessage("What is the answer?")]

    def call(offer: Offer) -> AIMessage:
        return offer.model.invoke(offer.messages, **offer.settings)

    async def acall(offer: Offer) -> AIMessage:
        return await offer.model.ainvoke(offer.messages, **offer.settings)

    given: dict[str, Any] = {
        "request": Request(text="What?", input_tokens=10, worst_input_tokens=40, node="n"),
        "messages": messages,
        "payer": Payer(thread="t"),
        "call": call,
        "acall": acall,
        "message_of": lambda message: message,
    }
    return Asked(**{**given, **more})
