"""Routing in a graph: a node that decides before the model is asked, and the core of middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NotRequired, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from typing_extensions import TypedDict, override

from plumbgraph.agents.node import Ask, Node, State, off_loop
from plumbgraph.agents.stages import merged_schema
from plumbgraph.plan import Plan
from plumbgraph.routing.booking import report_decision
from plumbgraph.routing.call import Answer, Asked, Offer
from plumbgraph.routing.chat import Route, RoutedChatModel, request_for
from plumbgraph.routing.handover import MARK
from plumbgraph.routing.health import State as Health
from plumbgraph.routing.journal import Journal
from plumbgraph.routing.router import CostRouter
from plumbgraph.routing.scope import current_scope, identity_of
from plumbgraph.routing.values import Decision

Describe: TypeAlias = Callable[[State], Route]
"""What the state says of its next call: data classes, task, a pin, …"""

Routing: TypeAlias = CostRouter | BaseChatModel
ChooseRouter: TypeAlias = Callable[[Runtime[Any]], Routing]
"""Gives the router of a run, from its context for example; or the model where none is to choose."""

Rows: TypeAlias = dict[str, dict[str, Any]]


def merge_rows(held: Rows | None, new: Rows | None) -> Rows:
    """Ledger rows by charge id; a row that comes twice counts once."""
    return {**(held or {}), **(new or {})}


class RouteState(TypedDict):
    """The router's channels, version 1.

    Attributes:
        route: The latest decision, as plain data.
        route_pin: Name of the model this thread is pinned to; empty or absent for none.
        ledger: What the thread's calls cost, by charge id.
    """

    route: NotRequired[dict[str, Any] | None]
    route_pin: NotRequired[str | None]
    ledger: NotRequired[Annotated[Rows, merge_rows]]


def describe_state(state: State) -> Route:
    """The route of a state that says no more than its pin and its loaded skill."""
    held = state.get("skills") or {}
    loaded = [name for name, entry in held.items() if not entry.get("gone")]
    skill = loaded[0] if len(loaded) == 1 else ""
    return Route(pin=state.get("route_pin") or "", skill=skill)


class RouterNode(Node):
    """Decides which model the next node asks, and writes the decision and the ledger to state.

    Put it before a `ModelNode` whose model is this node's `model`::

        route = RouterNode(router)
        agent = create_agent(route.model, tools, each_turn=[route])

    As the model of `create_agent` it is a step of its own only without a journal: with one the
    decision is on record before the call, so it is made in the step of the call; see `RoutedNode`.

    Args:
        router: Decides; or a function of the runtime that gives each run its router, or the
            plain model that answers without one. It is called off the loop, often: let it cache.
        describe: What the state says of its next call.
        journal: Keeps decisions and answers for a resumed run.
        needs: Profile fields that the calls need, such as `tool_calling`.
        name: The node's name in the graph.
        asks: Name of the node that asks the model, under which outcomes are learnt.
    """

    state_schema = RouteState

    def __init__(
        self,
        router: CostRouter | ChooseRouter,
        *,
        describe: Describe = describe_state,
        journal: Journal | None = None,
        needs: frozenset[str] = frozenset(),
        name: str = "router",
        asks: str = "model",
    ) -> None:
        super().__init__(name=name)
        self.router = router
        self.describe = describe
        self.journal = journal
        self.needs = needs
        self.asks = asks

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, Any]]:
        router = self.router
        if not isinstance(router, CostRouter):
            router = yield off_loop(router, runtime)
        if not isinstance(router, CostRouter):
            return {"route": None, "ledger": unbooked(state)}
        health, names = router.health, router.names
        states = yield Ask(lambda: health.states(names), lambda: health.astates(names))
        resting = [name for name, told in states.items() if told is Health.RESTING]
        messages = state["messages"]
        route = self._route(state)
        request = request_for(route, messages, node=self.asks, now=router.clock.now())
        decision = router.decide(request, closed=resting)
        report_decision(decision, request)
        return {"route": decision.to_dict(), "ledger": unbooked(state)}

    def model(self, state: State, runtime: Runtime[Any]) -> BaseChatModel:
        """The chat model that carries out the state's decision; for `ModelNode`."""
        decided: list[Decision] | None = state.get(_DECIDED)
        told = state.get("route") if decided is None else None
        router = self.router if isinstance(self.router, CostRouter) else self.router(runtime)
        if not isinstance(router, CostRouter):
            return router
        return RoutedChatModel(
            router,
            journal=self.journal,
            route=self._route(state),
            decision=Decision.from_dict(told) if told else None,
            tell=None if decided is None else decided.append,
        )

    def _route(self, state: State) -> Route:
        route = self.describe(state)
        return replace(route, needs=route.needs | self.needs) if self.needs else route


_DECIDED = "plumbgraph_decided"  # in the state as the nodes inside see it, never in a channel


class RoutedNode(Node):
    """A model node with a router: its answers go into the ledger in the step that stores them.

    Where the router has a journal the decision is made in this step too; it is on record, with
    the money it reserved, before the model is asked.

    Args:
        inner: The model node, whose model is the router's.
        route: The router.
    """

    def __init__(self, inner: Node, route: RouterNode) -> None:
        super().__init__(name=inner.name)
        self.inner, self.route = inner, route
        schema = merged_schema([inner.state_schema, route.state_schema])
        self.state_schema = schema  # type: ignore[misc]  # an instance's own

    @property
    @override
    def inside(self) -> tuple[str, ...]:
        own = () if self.route.journal is None else self.route.inside
        return (*own, *self.inner.inside)

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, Any]]:
        if self.route.journal is None:
            update = yield from self.inner.plan(state, runtime, config)
            return {**update, "ledger": ledger_of(update["messages"])}
        decided: list[Decision] = []
        update = yield from self.inner.plan({**state, _DECIDED: decided}, runtime, config)
        rows = {**unbooked(state), **ledger_of(update["messages"])}
        return {**update, "route": decided[-1].to_dict() if decided else None, "ledger": rows}


def ledger_of(messages: list[BaseMessage]) -> Rows:
    """The rows of a thread's routed answers, by charge id."""
    return {mark["charge_id"]: _row(mark) for mark in _marks(messages)}


def unbooked(state: State) -> Rows:
    """The rows of routed answers that the state's ledger does not hold yet."""
    held = state.get("ledger") or {}
    fresh = (mark for mark in _marks(state["messages"]) if mark["charge_id"] not in held)
    return {mark["charge_id"]: _row(mark) for mark in fresh}


def _marks(messages: list[BaseMessage]) -> Iterator[Mapping[str, Any]]:
    told = (m.response_metadata.get(MARK) for m in messages if isinstance(m, AIMessage))
    return (mark for mark in told if mark)


def _row(mark: Mapping[str, Any]) -> dict[str, Any]:
    return {key: mark[key] for key in ("model", "code", "cost_usd", "price_source", "at")}


@dataclass(frozen=True, slots=True)
class Turn:
    """One model call as middleware sees it, without the framework's own types.

    Attributes:
        messages: What the model is to see, the system message among it.
        tools: What it may call.
        state: The agent's state.
        ask: Asks the offered model through the framework.
        aask: The same, awaiting.
        message_of: The answer in what `ask` returned.
    """

    messages: list[BaseMessage]
    tools: list[Any]
    state: State
    ask: Callable[[Offer], Any]
    aask: Callable[[Offer], Awaitable[Any]]
    message_of: Callable[[Any], AIMessage]


class MiddlewareCore:
    """What `RouterMiddleware` does, for any framework that wraps model calls.

    Args:
        router: Decides.
        describe: What the state says of its next call.
        journal: Keeps decisions and answers for a resumed run.
    """

    def __init__(
        self,
        router: CostRouter,
        *,
        describe: Describe = describe_state,
        journal: Journal | None = None,
    ) -> None:
        self.router = router
        self.describe = describe
        self.journal = journal

    def call(self, turn: Turn) -> tuple[Answer, dict[str, Any]]:
        """The answer and the state's update in the same step."""
        answer = self.router.call(self._asked(turn))
        return answer, _update(answer)

    async def acall(self, turn: Turn) -> tuple[Answer, dict[str, Any]]:
        """See `call`."""
        answer = await self.router.acall(self._asked(turn))
        return answer, _update(answer)

    def _asked(self, turn: Turn) -> Asked:
        scope = current_scope()
        now = self.router.clock.now()
        route = self.describe(turn.state)
        names = [getattr(tool, "name", str(tool)) for tool in turn.tools]
        return Asked(
            request=request_for(route, turn.messages, node=scope.node, now=now, tools=turn.tools),
            messages=turn.messages,
            payer=scope.payer,
            call=turn.ask,
            acall=turn.aask,
            message_of=turn.message_of,
            identity=identity_of(turn.messages, names),
            journal=self.journal if scope.replayable else None,
        )


def _update(answer: Answer) -> dict[str, Any]:
    mark = answer.message.response_metadata[MARK]
    return {"route": answer.decision.to_dict(), "ledger": {mark["charge_id"]: _row(mark)}}
