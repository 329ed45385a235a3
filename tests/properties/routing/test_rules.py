"""No decision, and no fallback in it, ever breaks a rule: judged by an oracle of its own."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from typing import Any

import pytest

from plumbgraph.errors import NoModelAllowed
from plumbgraph.policy import ModelRules, Policy, Rules
from plumbgraph.policy.rules import ModelScope
from plumbgraph.routing import Aim, CostRouter, ModelCard, Price, Request, ThreadView

NAMES = ["a:big", "a:small", "b:big", "b:small", "c:tiny"]
PATTERNS = [*NAMES, "a:*", "b:*", "*:big", "*small", "tiny", "*", "x:*"]
REGIONS, TAGS, CLASSES = ["", "eu", "us"], ["zdr", "soc2"], ["personal", "health"]


def some(draw: random.Random, values: list[str], most: int = 2) -> tuple[str, ...]:
    return tuple(draw.sample(values, draw.randint(0, most)))


def scope(draw: random.Random) -> dict[str, Any]:
    return {
        "allow": some(draw, PATTERNS, 4) if draw.random() < 0.15 else None,
        "deny": some(draw, PATTERNS) if draw.random() < 0.3 else (),
        "regions": ("*", *some(draw, ["eu", "us"]))
        if draw.random() < 0.1
        else None
        if draw.random() < 0.9
        else some(draw, ["eu", "us"]),
        "tags": some(draw, TAGS, 1) if draw.random() < 0.1 else (),
    }


def rules(draw: random.Random) -> Rules:
    classes = {name: ModelScope(**scope(draw)) for name in some(draw, CLASSES)}
    ceiling = draw.choice([None, None, 0.5, 2.0, 8.0])
    return Rules(
        models=ModelRules(**scope(draw), data_classes=classes, max_input_usd_per_mtok=ceiling)
    )


def cards(draw: random.Random) -> list[ModelCard]:
    return [
        ModelCard(
            model=name,
            region=draw.choice(REGIONS),
            tags=frozenset(some(draw, TAGS)),
            data_classes=frozenset(some(draw, CLASSES)),
            price=Price.per_mtok(draw.choice([0.1, 1.0, 5.0, 10.0]), 1.0),
            prior=draw.choice([0.5, 0.7, 0.9]),
            capabilities={"tool_calling": draw.random() < 0.8, "max_input_tokens": 10_000},
        )
        for name in NAMES
    ]


def request(draw: random.Random) -> Request:
    return Request(
        text="x" * draw.randint(0, 300),
        input_tokens=draw.choice([10, 9_000, 20_000]),
        needs=frozenset({"tool_calling"} if draw.random() < 0.4 else ()),
        data_classes=frozenset(some(draw, CLASSES) if draw.random() < 0.4 else ()),
        regions=frozenset(some(draw, ["eu", "us"])) if draw.random() < 0.1 else None,
        pin=draw.choice(NAMES) if draw.random() < 0.1 else "",
        thread=ThreadView(
            model=draw.choice(["", *NAMES]),
            failures=draw.randint(0, 3),
            mid_tool=draw.random() < 0.3,
        ),
    )


def named(patterns: tuple[str, ...], name: str) -> bool:
    return any(
        fnmatchcase(name, p) or (":" not in p and fnmatchcase(name.split(":")[1], p))
        for p in patterns
    )


def breaks(scope_: ModelScope, card: ModelCard) -> bool:
    return (
        named(scope_.deny, card.name)
        or (scope_.allow is not None and not named(scope_.allow, card.name))
        or (
            scope_.regions is not None
            and "*" not in scope_.regions
            and card.region not in scope_.regions
        )
        or not set(scope_.tags) <= card.tags
    )


def forbidden(card: ModelCard, layers: list[Rules], asked: Request, closed: set[str]) -> bool:
    """What the rules mean, said once more in other words."""
    assert card.price
    for layer in layers:
        models = layer.models
        scopes = [models, *(models.data_classes.get(c, ModelScope()) for c in asked.data_classes)]
        ceiling = models.max_input_usd_per_mtok
        if any(breaks(each, card) for each in scopes):
            return True
        if ceiling is not None and card.price.rates.input / 1e6 > ceiling:
            return True
    return (
        not asked.data_classes <= card.data_classes
        or (asked.regions is not None and card.region not in asked.regions)
        or (asked.needs and not card.capabilities["tool_calling"])
        or asked.input_tokens > card.capabilities["max_input_tokens"]
        or card.name in closed
        or (asked.pin not in ("", card.name))
    )


def violations(rounds: int, seed: int) -> tuple[int, int]:
    """Violations, and how many requests were decided at all."""
    draw, bare = random.Random(seed), Policy()
    broken = decided = 0
    aims = [Aim.quality(0.6), Aim.quality(0.95), Aim.value(0.01), Aim.share(0.3)]
    for number in range(rounds):
        if number % 25 == 0:
            router = CostRouter(
                cards(draw), policy=bare, aim=draw.choice(aims), explore=0.2, shadow=0.3, seed=seed
            )
        layers = [rules(draw), rules(draw)]
        router.policy = bare.narrowed(layers[0]).narrowed(layers[1])
        asked, closed = request(draw), set(some(draw, NAMES))
        table = router.catalog.cards
        bad = {name for name, card in table.items() if forbidden(card, layers, asked, closed)}
        try:
            decision = router.decide(asked, closed=closed)
        except NoModelAllowed:
            broken += len(bad) < len(NAMES)
            continue
        decided += 1
        shown = {candidate.model for candidate in decision.candidates}
        broken += bool(({decision.model, decision.shadow} | shown) & bad)
        broken += shown != set(NAMES) - bad
        broken += {refused.model for refused in decision.refusals} != bad
    return broken, decided


def test_no_decision_breaks_a_rule() -> None:
    broken, decided = violations(3_000, seed=1)
    assert broken == 0
    assert decided > 800


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_no_decision_breaks_a_rule_in_a_hundred_thousand(seed: int) -> None:
    broken, decided = violations(10_000, seed=seed)
    assert broken == 0
    assert decided > 2_000
