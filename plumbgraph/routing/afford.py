"""Reserving a call's worst case, and what happens where the budget has no room for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langgraph.types import interrupt

from plumbgraph.errors import BudgetSpent, SettingsError
from plumbgraph.routing.budget import Lease, Refused
from plumbgraph.routing.estimate import least_of, limited
from plumbgraph.routing.events import BudgetDegraded
from plumbgraph.routing.prices import NANO
from plumbgraph.routing.steps import RoutePlan, Step, both, pause
from plumbgraph.routing.values import Decision, Estimate
from plumbgraph.tracing import emit

if TYPE_CHECKING:
    from plumbgraph.routing.call import Asked
    from plumbgraph.routing.router import CostRouter

_FIRST_PAUSE_S = 0.02
_MOST_PAUSE_S = 0.5
_FITTINGS = 3


def afford(
    router: CostRouter, asked: Asked, decision: Decision, key: str
) -> RoutePlan[tuple[Decision, Lease]]:
    """The decision that the budget has room for, with the reservation.

    The ladder: the chosen model; the same with a lower limit on its answer; cheaper ones; a wait
    where only calls under way stand in the way; a question to a person, where the budget says so;
    `BudgetSpent`.

    Raises:
        BudgetSpent: There is no room.
    """
    waited, delay, asked_person = 0.0, _FIRST_PAUSE_S, False
    ladder = router.budget.ladder
    while True:
        refusals: list[tuple[Estimate, Refused]] = []
        for estimate in _rungs(decision, ladder.floor):
            found = yield from _reserved(router, asked, decision, estimate, key, refusals)
            if found is not None:
                return _taken(decision, found[0], refusals), found[1]
        if waited < ladder.wait_s and any(r.may_fit_later(e.worst_nano) for e, r in refusals):
            yield pause(delay)
            waited, delay = waited + delay, min(delay * 2, _MOST_PAUSE_S)
            continue
        if not ladder.ask or asked_person:
            raise _spent(decision, refusals)
        asked_person = True
        yield from _ask(router, asked, refusals, key)


def _reserved(
    router: CostRouter,
    asked: Asked,
    decision: Decision,
    estimate: Estimate,
    key: str,
    refusals: list[tuple[Estimate, Refused]],
) -> RoutePlan[tuple[Estimate, Lease] | None]:
    """A candidate with its lease; the limit on its answer is lowered to what the budget has left.

    Others reserve meanwhile, so a limit that fits now may not fit in a moment: it is lowered a
    few times at most.
    """
    request, ledger = asked.request, router.budget.ledger
    price = router.catalog.price(estimate.model, at=router.clock.now())
    least = least_of(estimate, price, request, router.budget.ladder.fit)
    worst_input = max(request.worst_input_tokens, request.input_tokens)
    for _ in range(_FITTINGS):
        lease = lease_for(router, asked, decision, estimate, key)
        refused = yield both(ledger, "reserve", lease, ttl_s=router.budget.lease_s)
        if refused is None:
            return estimate, lease
        refusals.append((least, refused))
        limit = price.output_within(refused.left_nano, worst_input)
        if not least.max_output_tokens <= limit < estimate.max_output_tokens:
            break
        estimate = limited(estimate, price, request, limit)
    return None


def _rungs(decision: Decision, floor: float) -> Iterator[Estimate]:
    """The chosen candidate, then cheaper ones that are good enough, dearest first."""
    chosen = decision.chosen
    yield chosen
    if decision.code in ("pinned", "escalated"):
        return
    cheaper = [
        e for e in decision.candidates if e.worst_nano < chosen.worst_nano and e.p_ok >= floor
    ]
    yield from sorted(cheaper, key=lambda e: -e.worst_nano)


def lease_for(
    router: CostRouter, asked: Asked, decision: Decision, estimate: Estimate, key: str
) -> Lease:
    """A reservation of the candidate's worst case, not yet made.

    It is named after the journal's key. The journal has no entry there yet, so whatever an
    earlier life held by this name was held for a call that it never made.
    """
    return Lease(
        lease=hashlib.sha256(key.encode()).hexdigest()[:32] if key else router.new_id(),
        nano=estimate.worst_nano,
        accounts=asked.payer.accounts(router.budget.limits),
        at=router.clock.now(),
        facts={
            "model": estimate.model,
            "code": decision.code,
            "node": asked.request.node,
            "task": asked.request.cell,
            "thread": asked.payer.thread,
            "key": key,
        },
    )


def _taken(
    decision: Decision, estimate: Estimate, refusals: list[tuple[Estimate, Refused]]
) -> Decision:
    """The decision as the budget lets it be, and why."""
    if not refusals:
        return decision
    refused = refusals[0][1]
    emit(
        BudgetDegraded(
            account=refused.account,
            wanted=decision.model,
            model=estimate.model,
            left_usd=refused.left_nano / NANO,
            max_output_tokens=estimate.max_output_tokens,
        )
    )
    others = (estimate if e.model == estimate.model else e for e in decision.candidates)
    lowered = f"The budget of {refused.account} leaves {estimate.max_output_tokens} output tokens."
    if estimate.model == decision.model:
        told = f"{decision.reason} {lowered}"
        return replace(decision, candidates=tuple(others), reason=told)
    told = f"{decision.model} no longer fits the budget of {refused.account}."
    if estimate not in decision.candidates:
        told = f"{told} {lowered}"
    return replace(
        decision,
        model=estimate.model,
        code="cheaper_floor",
        reason=told,
        candidates=tuple(others),
    )


def _ask(
    router: CostRouter, asked: Asked, refusals: list[tuple[Estimate, Refused]], key: str
) -> RoutePlan[None]:
    estimate, refused = min(refusals, key=lambda pair: pair[0].worst_nano)
    question = {
        "kind": "plumbgraph.budget",
        "account": refused.account,
        "spent_usd": refused.spent_nano / NANO,
        "limit_usd": refused.room_nano / NANO,
        "needed_usd": estimate.worst_nano / NANO,
        "question": f"The budget of {refused.account!r} is spent. How many dollars more?",
    }
    granted = _dollars((yield _asking(question)))
    if granted <= 0:
        raise _spent(None, refusals)
    accounts = asked.payer.accounts(router.budget.limits)
    account = next(a for a in accounts if a.name == refused.account)
    grant = f"{key or router.new_id()}@{account.name}"
    yield both(router.budget.ledger, "grant", grant, account, granted)


def _asking(question: dict[str, Any]) -> Step:
    async def aask() -> Any:
        return interrupt(question)

    return Step(lambda: interrupt(question), aask)


def _dollars(answer: Any) -> int:
    try:
        return round(float(answer or 0) * NANO)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"The answer {answer!r} to the budget's question is no amount of dollars.",
            hint="Resume with a number, 0 to stop.",
        ) from error


def _spent(decision: Decision | None, refusals: list[tuple[Estimate, Refused]]) -> BudgetSpent:
    estimate, refused = min(refusals, key=lambda pair: pair[0].worst_nano)
    left = refused.left_nano / NANO
    wanted = f" (chosen was {decision.model!r})" if decision else ""
    return BudgetSpent(
        f"The budget of {refused.account!r} has ${left:.6f} left, and the cheapest allowed call, "
        f"to {estimate.model!r}{wanted}, may cost ${estimate.worst_nano / NANO:.6f}.",
        account=refused.account,
        left_usd=left,
        needed_usd=estimate.worst_nano / NANO,
    )
