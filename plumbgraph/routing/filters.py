"""Hard filters: which candidates may be used at all, and for the others the rule that refuses."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from plumbgraph.errors import NoModelAllowed
from plumbgraph.policy import Policy
from plumbgraph.routing.catalog import ModelCard
from plumbgraph.routing.prices import Price
from plumbgraph.routing.values import Refusal, Request


def refusal(
    card: ModelCard,
    request: Request,
    *,
    policy: Policy,
    price: Price | None,
    closed: Collection[str] = (),
) -> Refusal | None:
    """The first rule that refuses the candidate, `None` where it may be used.

    Args:
        card: The candidate.
        request: What is asked.
        policy: Managed and recommended rules.
        price: The candidate's price; without one it is refused.
        closed: Models that are out of service for now.
    """
    found = (
        _by_policy(card, request, policy, price)
        or _by_data(card, request)
        or _by_capability(card, request)
        or _by_size(card, request)
        or _by_state(card, price, closed)
    )
    return Refusal(card.name, *found) if found else None


def require_any(request: Request, allowed: Collection[str], refusals: Iterable[Refusal]) -> None:
    """Return where a candidate is left.

    Raises:
        NoModelAllowed: None is; the rules that refused each are its facts.
    """
    if allowed:
        return
    rules = {r.model: f"{r.rule}: {r.reason}" for r in refusals}
    told = "; ".join(f"{model!r} by {rule}" for model, rule in rules.items())
    raise NoModelAllowed(
        f"No model may answer in node {request.node!r}: {told}.", refusals=rules, node=request.node
    )


def _by_policy(
    card: ModelCard, request: Request, policy: Policy, price: Price | None
) -> tuple[str, str] | None:
    decision = policy.model(card.facts(price), data_classes=request.data_classes)
    return None if decision.allowed else (decision.rule, decision.reason)


def _by_data(card: ModelCard, request: Request) -> tuple[str, str] | None:
    if not request.data_classes <= card.data_classes:
        missing = sorted(request.data_classes - card.data_classes)
        return "card.data_classes", f"It is not cleared for {missing!r} data."
    if request.regions is not None and card.region not in request.regions:
        return "request.regions", f"It computes in {card.region or 'an unknown region'!r}."
    if request.pin and card.name != request.pin:
        return "request.pin", f"The thread is pinned to {request.pin!r}."
    return None


def _by_capability(card: ModelCard, request: Request) -> tuple[str, str] | None:
    if not request.needs:
        return None
    profile = card.profile
    if missing := sorted(need for need in request.needs if not profile.get(need)):
        return "profile", f"It does not offer {', '.join(missing)}."
    return None


def _by_size(card: ModelCard, request: Request) -> tuple[str, str] | None:
    limit = card.profile.get("max_input_tokens")
    if limit is not None and request.input_tokens > int(limit):
        return "profile.max_input_tokens", f"{request.input_tokens} tokens exceed its {limit}."
    return None


def _by_state(
    card: ModelCard, price: Price | None, closed: Collection[str]
) -> tuple[str, str] | None:
    if price is None:
        return "price", "Its price is not known."
    if card.name in closed:
        return "breaker", "Its breaker is open after failures."
    return None
