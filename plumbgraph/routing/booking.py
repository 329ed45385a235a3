"""Reporting decisions, and booking what came of them: a charge, or a doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumbgraph.errors import StoreUnavailable
from plumbgraph.routing.budget import Lease
from plumbgraph.routing.events import (
    BudgetOverrun,
    LedgerBehind,
    RouteCharged,
    RouteDecided,
    RouteDoubted,
)
from plumbgraph.routing.prices import NANO
from plumbgraph.routing.steps import RoutePlan, both
from plumbgraph.routing.values import Charge, Decision, Request
from plumbgraph.tracing import emit

if TYPE_CHECKING:
    from plumbgraph.routing.router import CostRouter


def doubt(router: CostRouter, lease: Lease, why: str) -> RoutePlan[None]:
    """Count a reservation as spent: its call may have been billed."""
    if not (yield both(router.budget.ledger, "doubt", lease, why)):
        return
    emit(
        RouteDoubted(
            lease=lease.lease,
            model=str(lease.facts.get("model", "")),
            worst_usd=lease.nano / NANO,
            why=why,
        )
    )


def settle(router: CostRouter, lease: Lease, charge: Charge) -> RoutePlan[None]:
    """Book the charge; an unreachable ledger does not cost the answer, its lease stays spent."""
    usd = charge.nano / NANO
    try:
        settled = yield both(router.budget.ledger, "settle", lease, charge)
    except StoreUnavailable as error:
        told = str(error)[:300]
        emit(LedgerBehind(charge_id=charge.charge_id, lease=lease.lease, usd=usd, error=told))
        return
    usage = charge.usage
    emit(
        RouteCharged(
            charge_id=charge.charge_id,
            model=charge.model,
            usd=usd,
            input_tokens=usage.input if usage else 0,
            cached_tokens=usage.cache_read if usage else 0,
            output_tokens=usage.output if usage else 0,
            price_source=charge.price_source,
            settled=settled,
        )
    )
    if charge.nano > lease.nano:
        reserved = lease.nano / NANO
        emit(
            BudgetOverrun(
                charge_id=charge.charge_id, model=charge.model, reserved_usd=reserved, usd=usd
            )
        )


def report_decision(decision: Decision, request: Request) -> None:
    """Emit a decision as an event."""
    chosen = decision.chosen
    emit(
        RouteDecided(
            model=decision.model,
            code=decision.code,
            reason=decision.reason,
            task=request.cell,
            p_ok=round(chosen.p_ok, 4),
            expected_usd=chosen.expected_nano / NANO,
            saved_usd=decision.saved_nano / NANO,
            propensity=decision.propensity,
            refused={r.model: r.rule for r in decision.refusals},
            policy_digest=decision.policy_digest,
        )
    )
