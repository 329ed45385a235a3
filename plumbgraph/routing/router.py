"""`CostRouter`: decides which model answers, inside a budget and a policy, and learns from it."""

from __future__ import annotations

import random
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.errors import SettingsError, UnknownPrice
from plumbgraph.policy import Policy
from plumbgraph.routing.call import Answer, Asked, routed
from plumbgraph.routing.catalog import Catalog, Load, ModelCard
from plumbgraph.routing.choose import (
    Aim,
    Choice,
    best_of,
    cheapest_of,
    choose,
    gain,
    gate,
    order,
)
from plumbgraph.routing.estimate import estimate
from plumbgraph.routing.events import FeedbackGiven
from plumbgraph.routing.feedback import NoOutcomes, OutcomeRow, Outcomes
from plumbgraph.routing.filters import refusal, require_any
from plumbgraph.routing.health import Health, MemoryHealth, RedisHealth
from plumbgraph.routing.outcomes import Outcome, Tallies
from plumbgraph.routing.predict import Predict
from plumbgraph.routing.prices import Price, PriceSource, price_book
from plumbgraph.routing.quantile import LiveQuantile
from plumbgraph.routing.shadow import Shadows
from plumbgraph.routing.spending import Budget
from plumbgraph.routing.steps import arun, both, off_loop, run
from plumbgraph.routing.values import Charge, Decision, Estimate, Refusal, Request
from plumbgraph.tracing import emit

Verify: TypeAlias = Callable[[Request, AIMessage], Any]
"""Says whether an answer will do; may be a coroutine function."""

_REMEMBERED = 10_000


class CostRouter:
    """Chooses a model for each call by the user's own outcomes, prices and rules.

    Hard filters come first (policy, data class, region, capability, size, breaker), then
    estimates, then the choice, then the question whether a thread's switch pays. `decide` does
    no I/O. `call` and `acall` carry a whole call through: reserve, call, record, settle.

    Args:
        models: Cards, chat models or `provider:name`s.
        policy: Recommended rules of this router; the managed ones always apply.
        budget: Limits and where they are kept; or dollars for everything this router spends.
        prices: Own prices by name, asked before those of genai-prices.
        aim: What the choice is for.
        predict: P(ok) from a request's text; see `TextPredictor` and `EmbeddingPredictor`.
        outcomes: Where outcomes are kept; `JsonlOutcomes` keeps them in a file.
        health: Breakers; shared over the budget's Redis where it has one.
        verify: Says whether an answer will do; where not, a better model is asked once.
        rescue: So many failures in a row make another model take over a thread.
        explore: Share of decisions drawn at random among the allowed, with logged propensity.
        shadow: Share of calls on which an alternative is asked too, its answer never returned.
        max_fallbacks: So many other models may be tried when one does not answer.
        load: Makes a chat model from `provider:name`.
        clock: Tells the time.
        seed: Of the draws for `explore` and `shadow`.

    Raises:
        SettingsError: A setting cannot be used.
    """

    def __init__(
        self,
        models: Iterable[ModelCard | BaseChatModel | str],
        *,
        policy: Policy | Mapping[str, Any] | None = None,
        budget: Budget | float | None = None,
        prices: Mapping[str, Price] | PriceSource | None = None,
        aim: Aim | None = None,
        predict: Predict | None = None,
        outcomes: Outcomes | None = None,
        health: Health | None = None,
        verify: Verify | None = None,
        rescue: int = 2,
        explore: float = 0.0,
        shadow: float = 0.0,
        max_fallbacks: int = 2,
        load: Load | None = None,
        clock: Clock = SYSTEM,
        seed: int | None = None,
    ) -> None:
        for name, part in (("explore", explore), ("shadow", shadow)):
            if not 0 <= part <= 1:
                raise SettingsError(f"The share {name}={part!r} must lie between 0 and 1.")
        self.catalog = Catalog(models, prices=price_book(prices), load=load)
        self.names = tuple(self.catalog.cards)
        self.policy = policy if isinstance(policy, Policy) else Policy(policy)
        self.budget = budget if isinstance(budget, Budget) else Budget(budget or ())
        self.aim = aim or Aim.quality(0.8)
        self.predict = predict
        self.outcomes: Outcomes = outcomes or NoOutcomes()
        self.health = health or self._own_health(clock)
        self.verify = verify
        self.rescue = rescue
        self.max_fallbacks = max_fallbacks
        self.clock = clock
        self.tallies = Tallies()
        self.shadows = Shadows(self)
        self._explore = explore
        self._shadow = shadow
        self._live = LiveQuantile(self.aim.level) if self.aim.kind == "share" else None
        self._random = random.Random(seed)  # noqa: S311 - draws of an experiment, no secret
        self._lock = Lock()
        self._ill: set[str] = set()
        self._charges: OrderedDict[str, tuple[Charge, str]] = OrderedDict()
        self._loaded = False

    def decide(self, request: Request, *, closed: Collection[str] = ()) -> Decision:
        """Which model should answer, why, and what else was possible. No I/O.

        Args:
            request: What is asked.
            closed: Models that are out of service.

        Raises:
            NoModelAllowed: Rules refuse every candidate; they are its facts.
        """
        allowed, refusals = self._candidates(request, closed)
        require_any(request, [e.model for e in allowed], refusals)
        choice, score, threshold = self._choice(allowed, request)
        choice = gate(choice, allowed, request, rescue=self.rescue)
        choice, propensity = self._explored(choice, allowed, request)
        return Decision(
            model=choice.model,
            code=choice.code,
            reason=choice.reason,
            candidates=order(choice, allowed),
            refusals=tuple(refusals),
            propensity=propensity,
            policy_digest=self.policy.digest,
            baseline_nano=best_of(allowed).expected_nano,
            score=score,
            threshold=threshold,
            shadow=self._shadowed(choice, allowed, request),
        )

    def still_allowed(
        self, decision: Decision, request: Request, closed: Collection[str] = ()
    ) -> bool:
        """Whether a decision made earlier may still be carried out under today's rules."""
        card = self.catalog.cards.get(decision.model)
        if card is None or decision.model in closed:
            return False
        price = self._price(card.name)
        return refusal(card, request, policy=self.policy, price=price) is None

    def refreshed(
        self, decision: Decision, request: Request, *, closed: Collection[str] = ()
    ) -> Decision:
        """A decision made earlier, with the estimates of the request as it is now."""
        allowed, refusals = self._candidates(request, closed)
        choice = Choice(decision.model, decision.code, decision.reason)
        return replace(decision, candidates=order(choice, allowed), refusals=tuple(refusals))

    def call(self, asked: Asked) -> Answer:
        """Carry one call through."""
        self._load()
        return run(routed(self, asked))

    async def acall(self, asked: Asked) -> Answer:
        """Carry one call through; see `call`."""
        await self._aload()
        return await arun(routed(self, asked))

    def feedback(self, charge_id: str, score: float, *, comment: str = "") -> None:
        """Count how well a charge's answer did, from a test, an evaluator or a user.

        Args:
            charge_id: `response_metadata["plumbgraph"]["charge_id"]` of the answer.
            score: 0 (useless) to 1 (right).
            comment: Kept with the outcome.

        Raises:
            SettingsError: The score is out of range, or no such charge is known.
        """
        self._load()
        run(self._feedback(charge_id, score, comment))

    async def afeedback(self, charge_id: str, score: float, *, comment: str = "") -> None:
        """See `feedback`."""
        await self._aload()
        await arun(self._feedback(charge_id, score, comment))

    def learn(self, charge: Charge, score: float) -> None:
        """Count an outcome in this process only."""
        with self._lock:
            self.tallies.add(Outcome(charge.task, charge.model, score))

    def remember(self, charge: Charge, text: str) -> None:
        """Keep a charge and its request's text until feedback comes, for the last ten thousand."""
        with self._lock:
            self._charges[charge.charge_id] = (charge, text)
            if len(self._charges) > _REMEMBERED:
                self._charges.popitem(last=False)

    def new_id(self) -> str:
        """A name for a reservation that no other has."""
        return uuid.uuid4().hex

    def note_ill(self, model: str) -> None:
        """Remember that a model failed, so that its next answer is reported to the breakers."""
        self._ill.add(model)

    def may_be_ill(self, model: str) -> bool:
        """Whether an answer of this model is news to the breakers; asked once."""
        if isinstance(self.health, RedisHealth):
            return True
        known = model in self._ill
        self._ill.discard(model)
        return known

    def close(self) -> None:
        """Wait for shadow calls and close the connections."""
        self.shadows.close()
        self.budget.close()

    async def aclose(self) -> None:
        """See `close`."""
        await self.shadows.aclose()
        await self.budget.aclose()

    def _own_health(self, clock: Clock) -> Health:
        if self.budget.redis is None:
            return MemoryHealth(clock=clock)
        return RedisHealth(self.budget.redis, tenant=self.budget.tenant, clock=clock)

    def _candidates(
        self, request: Request, closed: Collection[str]
    ) -> tuple[list[Estimate], list[Refusal]]:
        allowed: list[tuple[ModelCard, Price]] = []
        refusals: list[Refusal] = []
        for card in self.catalog.cards.values():
            price = self._price(card.name)
            refused = refusal(card, request, policy=self.policy, price=price, closed=closed)
            if refused or price is None:
                refusals.append(refused or Refusal(card.name, "price", "Its price is not known."))
            else:
                allowed.append((card, price))
        text: Mapping[str, tuple[float, int]] = {}
        if self.predict is not None and len(allowed) > 1 and request.text:
            text = self.predict(request.text)
        estimates = [
            estimate(card, price, request, tallies=self.tallies, from_text=text)
            for card, price in allowed
        ]
        return estimates, refusals

    def _price(self, name: str) -> Price | None:
        try:
            return self.catalog.price(name, at=self.clock.now())
        except UnknownPrice:
            return None

    def _choice(
        self, allowed: list[Estimate], request: Request
    ) -> tuple[Choice, float | None, float | None]:
        if request.pin:
            return Choice(request.pin, "pinned", "The thread is pinned to it."), None, None
        if self._live is None or len(allowed) < 2:  # noqa: PLR2004 - a choice needs two
            return choose(allowed, self.aim), None, None
        score = gain(allowed)
        strong, threshold = self._live.passes(score)
        return choose(allowed, self.aim, score=score, strong=strong), score, threshold

    def _explored(
        self, choice: Choice, allowed: list[Estimate], request: Request
    ) -> tuple[Choice, float]:
        fixed = choice.code in ("pinned", "only", "stayed", "rescued") or request.thread.mid_tool
        if not self._explore or fixed:
            return choice, 1.0
        each = self._explore / len(allowed)
        with self._lock:
            draw, pick = self._random.random(), self._random.choice(allowed).model
        if draw >= self._explore or pick == choice.model:
            return choice, 1 - self._explore + each
        told = f"Drawn at random, {self._explore:.1%} of the time."
        return Choice(pick, "explored", told), each

    def _shadowed(self, choice: Choice, allowed: list[Estimate], request: Request) -> str:
        if not self._shadow or len(allowed) < 2 or request.thread.mid_tool:  # noqa: PLR2004 - an alternative is needed
            return ""
        with self._lock:
            if self._random.random() >= self._shadow:
                return ""
        others = [e for e in allowed if e.model != choice.model]
        best = best_of(allowed).model
        return cheapest_of(others).model if choice.model == best else best

    def _feedback(self, charge_id: str, score: float, comment: str) -> Any:
        if not 0 <= score <= 1:
            raise SettingsError(f"The score {score!r} must lie between 0 and 1.")
        charge, text = self._charges.get(charge_id, (None, ""))
        if charge is None:
            charge = yield both(self.budget.ledger, "charge", charge_id, self.clock.now())
        if charge is None:
            raise SettingsError(
                f"No charge {charge_id!r} is known.",
                hint="Take it from the answer's response_metadata['plumbgraph']['charge_id'].",
            )
        row = OutcomeRow.of(charge, score, text=text, comment=comment, at=self.clock.now())
        yield off_loop(self.outcomes.append, row)
        self.learn(charge, score)
        emit(FeedbackGiven(charge_id=charge_id, model=charge.model, task=charge.task, score=score))

    def _load(self) -> None:
        if not self._loaded:
            run(self._loading())

    async def _aload(self) -> None:
        if not self._loaded:
            await arun(self._loading())

    def _loading(self) -> Any:
        rows = yield off_loop(self.outcomes.read)
        with self._lock:
            if not self._loaded:
                self._loaded = True
                self.tallies.add_all(row.outcome() for row in rows)
