"""What an answer cost, and the mark on it that says how it was routed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage

from plumbgraph.routing.budget import Lease
from plumbgraph.routing.handover import MARK
from plumbgraph.routing.prices import NANO
from plumbgraph.routing.tokens import usage_of
from plumbgraph.routing.values import Charge, Decision

if TYPE_CHECKING:
    from plumbgraph.routing.call import Asked
    from plumbgraph.routing.router import CostRouter


def charge_for(
    router: CostRouter, decision: Decision, lease: Lease, message: AIMessage, asked: Asked
) -> Charge:
    """The charge of an answer; the worst case where the provider does not say what it used."""
    at = router.clock.now()
    price = router.catalog.price(decision.model, at=at)
    usage = usage_of(message)
    return Charge(
        charge_id=response_id(message) or lease.lease,
        lease=lease.lease,
        model=decision.model,
        nano=price.charge(usage) if usage else lease.nano,
        usage=usage,
        price_source=f"{price.source} {price.version}".strip(),
        code=decision.code,
        node=asked.request.node,
        task=asked.request.cell,
        thread_id=asked.payer.thread,
        propensity=decision.propensity,
        at=at,
    )


def response_id(message: AIMessage) -> str:
    """The provider's own id of a response, `""` where LangChain made one up."""
    told = message.response_metadata.get("id") or message.id or ""
    return "" if str(told).startswith(("run-", "lc_")) else str(told)


def marked(message: AIMessage, router: CostRouter, decision: Decision, charge: Charge) -> AIMessage:
    """The answer with the mark: model, reason, price, what was saved."""
    mark = mark_of(router, decision, charge)
    return message.model_copy(
        update={"response_metadata": {**message.response_metadata, MARK: mark}}
    )


def mark_of(router: CostRouter, decision: Decision, charge: Charge) -> dict[str, Any]:
    """How an answer was routed, as plain data."""
    return {
        "model": decision.model,
        "code": decision.code,
        "reason": decision.reason,
        "cost_usd": charge.nano / NANO,
        "saved_usd": _saved(router, decision, charge) / NANO,
        "charge_id": charge.charge_id,
        "price_source": charge.price_source,
        "propensity": decision.propensity,
        "policy_digest": decision.policy_digest,
        "input_tokens": charge.usage.input if charge.usage else 0,
        "at": charge.at,
    }


def _saved(router: CostRouter, decision: Decision, charge: Charge) -> int:
    """What the same tokens would have cost more at the most capable candidate."""
    if charge.usage is None:
        return 0
    best = min(decision.candidates, key=lambda e: (-e.p_ok, e.expected_nano, e.model))
    return router.catalog.price(best.model, at=charge.at).charge(charge.usage) - charge.nano
