"""Shadow calls: an alternative asked beside the answer, in the background, never returned."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plumbgraph.routing.charging import charge_for
from plumbgraph.routing.events import RouteShadowed
from plumbgraph.routing.faults import classify
from plumbgraph.routing.feedback import OutcomeRow
from plumbgraph.routing.handover import hand_over
from plumbgraph.routing.steps import RoutePlan, Step, arun, both, off_loop, run
from plumbgraph.tracing import emit

if TYPE_CHECKING:
    from plumbgraph.routing.call import Answer, Asked
    from plumbgraph.routing.router import CostRouter

_WORKERS = 2
_WAITING = 32


class Shadows:
    """Runs the shadow calls of a router.

    A shadow call is paid from the same budget and bound by the same rules. It never delays or
    fails the call that it shadows: where the budget has no room or too many are waiting, it is
    left out.

    Args:
        router: Whose calls are shadowed.
    """

    def __init__(self, router: CostRouter) -> None:
        self._router = router
        self._pool: ThreadPoolExecutor | None = None
        self._futures: set[Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, asked: Asked, answer: Answer) -> None:
        """Begin one in a thread."""
        self._futures = {future for future in self._futures if not future.done()}
        if len(self._futures) >= _WAITING:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="plumbgraph-shadow")
        context = copy_context()
        plan = _guarded(self._router, asked, answer)
        self._futures.add(self._pool.submit(context.run, run, plan))

    async def astart(self, asked: Asked, answer: Answer) -> None:
        """Begin one in a task."""
        if len(self._tasks) >= _WAITING:
            return
        task = asyncio.create_task(arun(_guarded(self._router, asked, answer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Wait for those under way."""
        wait(self._futures)
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    async def aclose(self) -> None:
        """Wait for those under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.close)


def _guarded(router: CostRouter, asked: Asked, answer: Answer) -> RoutePlan[None]:
    try:
        yield from _shadowed(router, asked, answer)
    except Exception as error:  # noqa: BLE001 - a shadow never fails what it shadows; the event says what happened
        emit(_event(answer, error=f"{type(error).__name__}: {error}"[:300]))


def _shadowed(router: CostRouter, asked: Asked, answer: Answer) -> RoutePlan[None]:
    from plumbgraph.routing.afford import lease_for  # noqa: PLC0415 - a circle otherwise
    from plumbgraph.routing.call import Offer  # noqa: PLC0415 - a circle otherwise

    name = answer.decision.shadow
    estimate = next(e for e in answer.decision.candidates if e.model == name)
    decision = replace(answer.decision, model=name, code="explored", reason="shadow", shadow="")
    lease = lease_for(router, asked, decision, estimate, "")
    if (yield both(router.budget.ledger, "reserve", lease, ttl_s=router.budget.lease_s)):
        return
    card = router.catalog.cards[name]
    settings = {card.limit_key: estimate.max_output_tokens}
    messages = hand_over(asked.messages, name)
    offer = Offer(name, router.catalog.model(name), messages, settings)
    try:
        raw = yield Step(lambda: asked.call(offer), lambda: asked.acall(offer))
    except Exception as error:
        fault = classify(error)
        if fault is not None and not fault.billed:
            yield both(router.budget.ledger, "release", lease)
        else:
            yield both(router.budget.ledger, "doubt", lease, "a shadow call failed")
        raise
    message = asked.message_of(raw)
    charge = charge_for(router, decision, lease, message, asked)
    yield both(router.budget.ledger, "settle", lease, charge)
    router.remember(charge, asked.request.text)
    scores: list[float | None] = [None, None]
    if router.verify is not None:
        scores = []
        for told, paid in ((answer.message, answer.charge), (message, charge)):
            score = float((yield off_loop(router.verify, asked.request, told)))
            scores.append(score)
            row = OutcomeRow.of(
                paid,
                score,
                text=asked.request.text,
                shadow=paid is charge,
                pair=answer.charge.charge_id,
                at=router.clock.now(),
            )
            yield off_loop(router.outcomes.append, row)
            router.learn(paid, score)
    emit(_event(answer, shadow_charge_id=charge.charge_id, score=scores[0], shadow_score=scores[1]))


def _event(answer: Answer, **told: Any) -> RouteShadowed:
    facts: dict[str, Any] = {"shadow_charge_id": "", "score": None, "shadow_score": None}
    return RouteShadowed(
        charge_id=answer.charge.charge_id,
        model=answer.charge.model,
        shadow_model=answer.decision.shadow,
        **{**facts, "error": None, **told},
    )
