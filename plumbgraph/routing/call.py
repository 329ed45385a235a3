"""One routed call as a plan: replay or decide, reserve, record, call, record, settle, escalate."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    message_to_dict,
    messages_from_dict,
)
from langgraph.errors import GraphBubbleUp

from plumbgraph.errors import BudgetSpent, ModelUnavailable, NoModelAllowed
from plumbgraph.routing.afford import afford
from plumbgraph.routing.booking import doubt, report_decision, settle
from plumbgraph.routing.budget import Lease, Payer
from plumbgraph.routing.charging import charge_for, marked
from plumbgraph.routing.choose import best_of
from plumbgraph.routing.events import (
    RouteFailed,
    RouteReplayed,
)
from plumbgraph.routing.faults import Fault, classify, require_whole
from plumbgraph.routing.handover import hand_over
from plumbgraph.routing.health import State
from plumbgraph.routing.journal import Journal
from plumbgraph.routing.steps import Emit, RoutePlan, Step, both, off_loop
from plumbgraph.routing.values import Charge, Decision, Request
from plumbgraph.tracing import emit

if TYPE_CHECKING:
    from plumbgraph.routing.router import CostRouter


@dataclass(frozen=True, slots=True)
class Offer:
    """What a skin is to ask of which model."""

    name: str
    model: BaseChatModel
    messages: list[BaseMessage]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call to be routed, as a skin describes it.

    Attributes:
        request: What the decision rests on.
        messages: What the model is to see.
        payer: Who pays.
        call: Asks the offered model; in streamed calls `stream` does.
        acall: The same, awaiting.
        stream: Gives the answer's chunks.
        astream: The same, awaiting.
        whole: Makes one message of the chunks.
        identity: Plain data that tells this call from others of its task.
        journal: Keeps decisions and answers; `None` for no replay.
        decision: Already made, by a `RouterNode`.
    """

    request: Request
    messages: Sequence[BaseMessage]
    payer: Payer
    call: Callable[[Offer], Any]
    acall: Callable[[Offer], Awaitable[Any]]
    message_of: Callable[[Any], AIMessage]
    stream: Callable[[Offer], Iterator[Any]] | None = None
    astream: Callable[[Offer], AsyncIterator[Any]] | None = None
    whole: Callable[[list[Any]], Any] | None = None
    identity: Any = None
    journal: Journal | None = None
    decision: Decision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a routed call.

    Attributes:
        message: The answer; its `response_metadata["plumbgraph"]` says how it was routed.
        raw: What the skin's `call` returned, `None` for a replayed answer.
        decision: The decision.
        charge: What it cost.
        replayed: The answer was recorded by an earlier attempt and nothing was paid now.
        replayable: It is recorded, so that a resumed run will not pay again.
    """

    message: AIMessage
    raw: Any
    decision: Decision
    charge: Charge
    replayed: bool = False
    replayable: bool = False


@dataclass(slots=True)
class _Turn:
    """Where a routed call stands: attempts in the journal, models that are out."""

    key: str = ""
    number: int = 0
    out: tuple[str, ...] = ()
    decision: Decision | None = None
    emitted: bool = False
    escalated: bool = False
    last_fault: Exception | None = None


def routed(router: CostRouter, asked: Asked) -> RoutePlan[Answer]:
    """The plan of one call.

    Raises:
        NoModelAllowed: Rules refuse every candidate.
        BudgetSpent: No candidate fits the budget.
        ModelUnavailable: No candidate answered.
    """
    turn = _Turn(decision=asked.decision)
    if asked.journal is not None:
        turn.key = yield both(asked.journal, "key", "route", asked.identity)
    answer = yield from _replayed(router, asked, turn)
    while answer is None:
        answer = yield from _attempt(router, asked, turn)
    if not turn.escalated:
        answer = yield from _escalated(router, asked, turn, answer)
    if not answer.replayed and answer.decision.shadow:
        yield both(router.shadows, "start", asked, answer)
    return answer


def _replayed(router: CostRouter, asked: Asked, turn: _Turn) -> RoutePlan[Answer | None]:
    """Walk the attempts that an earlier life recorded, up to its answer if there is one."""
    if not turn.key:
        return None
    while entry := (yield both(asked.journal, "lookup", f"{turn.key}/{turn.number}")):
        turn.number += 1
        turn.decision = Decision.from_dict(entry.intent["decision"])
        lease = Lease.from_dict(entry.intent["lease"])
        if entry.result is None:
            yield from doubt(router, lease, "the run was resumed before its answer was recorded")
        elif "failed" in entry.result:
            turn.out = (*turn.out, str(entry.result["failed"]))
            turn.decision = None
        else:
            return (yield from _recalled(router, turn.decision, lease, entry.result))
    return None


def _recalled(
    router: CostRouter, decision: Decision, lease: Lease, result: Mapping[str, Any]
) -> RoutePlan[Answer]:
    charge = Charge.from_dict(result["charge"])
    yield from settle(router, lease, charge)
    (message,) = messages_from_dict([result["message"]])
    assert isinstance(message, AIMessage)
    emit(RouteReplayed(charge_id=charge.charge_id, model=charge.model))
    return Answer(
        message=message, raw=None, decision=decision, charge=charge, replayed=True, replayable=True
    )


def _attempt(router: CostRouter, asked: Asked, turn: _Turn) -> RoutePlan[Answer | None]:
    """One attempt; `None` where the model failed and another may be tried."""
    decision = yield from _decide(router, asked, turn)
    key = f"{turn.key}/{turn.number}" if turn.key else ""
    decision, lease = yield from afford(router, asked, decision, key)
    estimate = decision.chosen
    card = router.catalog.cards[decision.model]
    if turn.key:
        yield from _intended(router, asked, decision, lease, key)
    offer = Offer(
        decision.model,
        router.catalog.model(decision.model),
        hand_over(asked.messages, decision.model),
        {card.limit_key: estimate.max_output_tokens},
    )
    try:
        raw = yield from _call(asked, offer, turn)
        message = asked.message_of(raw)
        require_whole(message, card.provider)
    except GraphBubbleUp:
        yield from doubt(router, lease, "the graph was interrupted during the call")
        raise
    except Exception as error:  # noqa: BLE001 - `_failed` raises what is not the provider's
        yield from _failed(router, asked, turn, lease, error)
        return None
    charge = charge_for(router, decision, lease, message, asked)
    message = marked(message, router, decision, charge)
    if turn.key:
        result = {"message": message_to_dict(message), "charge": charge.to_dict()}
        yield both(asked.journal, "done", key, result)
    turn.number += 1
    router.remember(charge, asked.request.text)
    yield from settle(router, lease, charge)
    if router.may_be_ill(decision.model):
        yield both(router.health, "healthy", decision.model)
    return Answer(
        message=message, raw=raw, decision=decision, charge=charge, replayable=bool(turn.key)
    )


def _intended(
    router: CostRouter, asked: Asked, decision: Decision, lease: Lease, key: str
) -> RoutePlan[None]:
    """Record what is about to be asked; where that fails nothing is asked, so nothing is held."""
    facts = {"decision": decision.to_dict(), "lease": lease.to_dict()}
    try:
        yield both(asked.journal, "intent", key, facts)
    except Exception:
        yield both(router.budget.ledger, "release", lease)
        raise


def _decide(router: CostRouter, asked: Asked, turn: _Turn) -> RoutePlan[Decision]:
    states: Mapping[str, State] = yield both(router.health, "states", router.names)
    closed = {name for name, state in states.items() if state is State.RESTING}
    while True:
        out = closed | set(turn.out)
        decision = turn.decision
        if decision is None or not router.still_allowed(decision, asked.request, out):
            try:
                decision = router.decide(asked.request, closed=out)
                report_decision(decision, asked.request)
            except NoModelAllowed as error:
                raise _unavailable(asked, turn, error) from (turn.last_fault or error)
        else:
            decision = router.refreshed(decision, asked.request, closed=out)
        turn.decision = None
        if turn.out and decision.code not in ("failed_over", "escalated"):
            told = f"{turn.out[-1]} did not answer. {decision.reason}"
            decision = replace(decision, code="failed_over", reason=told)
        if states.get(decision.model) is not State.PROBE:
            return decision
        if (yield both(router.health, "probe", decision.model)):
            return decision
        closed.add(decision.model)


def _unavailable(asked: Asked, turn: _Turn, error: NoModelAllowed) -> Exception:
    """Rules that refuse every model stay what they are; models that are ill are unavailable."""
    ill = any(str(rule).startswith("breaker") for rule in error.refusals.values())
    if turn.last_fault is None and not ill:
        return error
    told = f"No healthy model may answer in node {asked.request.node!r}: {error.message}"
    return ModelUnavailable(told, refusals=error.refusals)


def _call(asked: Asked, offer: Offer, turn: _Turn) -> RoutePlan[Any]:
    if asked.stream is None or asked.astream is None or asked.whole is None:
        return (yield Step(partial(asked.call, offer), partial(asked.acall, offer)))
    pulled = _Chunks(asked.stream, asked.astream, offer)
    chunks: list[Any] = []
    while (chunk := (yield Step(pulled.next, pulled.anext))) is not None:
        chunks.append(chunk)
        turn.emitted = True
        yield Emit(chunk)
    return asked.whole(chunks)


class _Chunks:
    """A stream in either colour, chunk by chunk; `None` at its end."""

    def __init__(
        self,
        stream: Callable[[Offer], Iterator[Any]],
        astream: Callable[[Offer], AsyncIterator[Any]],
        offer: Offer,
    ) -> None:
        self._open: Any = partial(stream, offer)
        self._aopen: Any = partial(astream, offer)
        self._chunks: Any = None

    def next(self) -> Any:
        self._chunks = self._chunks or self._open()
        return next(self._chunks, None)

    async def anext(self) -> Any:
        self._chunks = self._chunks or self._aopen()
        return await anext(self._chunks, None)


def _failed(
    router: CostRouter, asked: Asked, turn: _Turn, lease: Lease, error: Exception
) -> RoutePlan[None]:
    """Book the failure, and return where another model may be tried; else raise."""
    model = str(lease.facts["model"])
    fault = classify(error)
    if fault is None or fault.billed:
        yield from doubt(router, lease, f"{type(error).__name__} during the call")
    else:
        yield both(router.budget.ledger, "release", lease)
    if fault is None:
        raise error
    rest = 0.0
    if fault.breaks:
        router.note_ill(model)
        rest = yield both(router.health, "failed", model, fault.retry_after_s)
    turn.out = (*turn.out, model)
    turn.last_fault = error
    last = turn.emitted or len(turn.out) > router.max_fallbacks
    _report(model, fault, error, rest, last=last)
    if turn.key:
        yield both(asked.journal, "done", f"{turn.key}/{turn.number}", {"failed": model})
    turn.number += 1
    if last:
        why = "after its first words" if turn.emitted else f"after {len(turn.out)} models"
        raise ModelUnavailable(
            f"{model!r} failed ({fault.kind}) {why}: {error}", model=model, kind=fault.kind
        ) from error


def _report(model: str, fault: Fault, error: Exception, rest: float, *, last: bool) -> None:
    told = "" if last else "another"
    text = f"{type(error).__name__}: {error}"[:300]
    emit(RouteFailed(model=model, kind=fault.kind, error=text, rest_s=rest, next_model=told))


def _escalated(router: CostRouter, asked: Asked, turn: _Turn, answer: Answer) -> RoutePlan[Answer]:
    """The answer, or once a better model's where the verifier refuses it."""
    if router.verify is None or turn.emitted:
        return answer
    better = _better(answer.decision, (*turn.out, answer.decision.model))
    if better is None:
        return answer
    good = yield from _verdict(router, asked, turn, answer)
    if good:
        return answer
    turn.escalated = True
    first = answer.decision
    turn.decision = replace(
        first,
        model=better,
        code="escalated",
        reason=f"The verifier refused the answer of {first.model}.",
        shadow="",
    )
    try:
        second: Answer | None = yield from _replayed(router, asked, turn)
        return second or (yield from _attempt(router, asked, turn)) or answer
    except (BudgetSpent, ModelUnavailable, NoModelAllowed):
        return answer


def _verdict(router: CostRouter, asked: Asked, turn: _Turn, answer: Answer) -> RoutePlan[bool]:
    """What the verifier says, recorded so that a resumed run does not ask it again."""
    key = f"{turn.key}/verdict/{turn.number}"
    if turn.key and (entry := (yield both(asked.journal, "lookup", key))) and entry.result:
        return bool(entry.result["good"])
    assert router.verify is not None
    good = bool((yield off_loop(router.verify, asked.request, answer.message)))
    if not answer.replayed:
        router.learn(answer.charge, float(good))
    if turn.key:
        yield both(asked.journal, "intent", key, {"charge": answer.charge.charge_id})
        yield both(asked.journal, "done", key, {"good": good})
    return good


def _better(decision: Decision, out: Collection[str]) -> str | None:
    left = [e for e in decision.candidates if e.model not in out]
    if not left:
        return None
    best = best_of(left)
    return best.model if best.p_ok > decision.chosen.p_ok else None
