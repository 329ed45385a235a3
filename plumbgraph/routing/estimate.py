"""Estimates: how likely a candidate's answer will do, and what the call will cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from plumbgraph.routing.catalog import ModelCard
from plumbgraph.routing.outcomes import ALL, Tallies, posterior
from plumbgraph.routing.prices import Price
from plumbgraph.routing.values import Estimate, Request, ThreadView

_TEXT_HALF = 1_000.0
_LENGTH_SLOPE = 0.12
_USUAL_CHARS = 400.0


def estimate(
    card: ModelCard,
    price: Price,
    request: Request,
    *,
    tallies: Tallies,
    from_text: Mapping[str, tuple[float, int]],
) -> Estimate:
    """What to expect of a candidate.

    Args:
        card: The candidate.
        price: Its price.
        request: What is asked.
        tallies: Outcomes so far.
        from_text: The text model's P(ok) and number of labels, by model name.
    """
    p_ok, source = _p_ok(card, request, tallies, from_text.get(card.name))
    limit = card.max_output_tokens
    if request.max_output_tokens and request.max_output_tokens < limit:
        limit = request.max_output_tokens
    output = min(request.output_tokens, limit)
    cached = cached_tokens(card, request.thread, request.input_tokens)
    expected, later, cold = price.quote(request.input_tokens, cached, output)
    return Estimate(
        model=card.name,
        p_ok=p_ok,
        p_source=source,
        expected_nano=expected,
        worst_nano=price.worst(max(request.worst_input_tokens, request.input_tokens), limit),
        later_nano=later,
        cold_nano=cold,
        max_output_tokens=limit,
        return_nano=(expected if _outlives(card, request.thread) else cold) - later,
    )


def limited(estimate: Estimate, price: Price, request: Request, limit: int) -> Estimate:
    """The candidate with another limit on its answer."""
    worst = price.worst(max(request.worst_input_tokens, request.input_tokens), limit)
    return replace(estimate, max_output_tokens=limit, worst_nano=worst)


def least_of(estimate: Estimate, price: Price, request: Request, fit: float) -> Estimate:
    """The candidate with the lowest limit on its answer that is still an answer: `fit` of its own.

    Never below the expected answer.
    """
    limit = estimate.max_output_tokens
    lowest = max(math.ceil(fit * limit), request.output_tokens, 1)
    return limited(estimate, price, request, min(lowest, limit))


def cached_tokens(card: ModelCard, thread: ThreadView, input_tokens: int) -> int:
    """Input tokens that the candidate's provider has probably still cached for this thread."""
    if thread.model == card.name:
        cached, idle_s = thread.cached_tokens, thread.idle_s
    else:
        cached, idle_s = thread.others.get(card.name, (0, 0.0))
    return 0 if idle_s > card.cache_ttl_s else min(cached, input_tokens)


def _outlives(card: ModelCard, thread: ThreadView) -> bool:
    """Whether the thread's present model keeps its cache through one call made elsewhere.

    The pause before that call tells how long the next one may be.
    """
    return thread.model == card.name and 0 < 2 * thread.idle_s <= card.cache_ttl_s


def text_trust(labels: float) -> float:
    """How much the text model counts beside the task cells, given its number of labels."""
    return labels / (labels + _TEXT_HALF)


def _p_ok(
    card: ModelCard, request: Request, tallies: Tallies, text: tuple[float, int] | None
) -> tuple[float, str]:
    cell, count = posterior(tallies, request.cell, card.name, _prior(card, request))
    source = f"cell, {count:g} outcomes" if count else _without_cell(tallies, card.name)
    if text is None:
        return cell, source
    p_text, labels = text
    trust = text_trust(labels)
    blended = trust * p_text + (1 - trust) * cell
    return blended, f"{source} + text, {labels} labels"


def _without_cell(tallies: Tallies, model: str) -> str:
    elsewhere = tallies.get(ALL, model).count
    return f"prior and {elsewhere:g} outcomes of other tasks" if elsewhere else "prior"


def _prior(card: ModelCard, request: Request) -> float:
    """The card's prior, lower for longer requests; weak models fall off faster."""
    if not request.text:
        return card.prior
    longer = math.log((len(request.text) + 50) / (_USUAL_CHARS + 50))
    logit = math.log(card.prior / (1 - card.prior)) - _LENGTH_SLOPE * longer / card.prior
    return 1 / (1 + math.exp(-logit))
