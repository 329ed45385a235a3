"""The demo's quieter acts, each an agent on the same servers: memory, routing, and a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from plumbgraph.agents import create_agent
from plumbgraph.agents.open import Opened
from plumbgraph.agents.routing import RouterNode
from plumbgraph.memory import MemoryStore
from plumbgraph.routing import Aim, Budget, CostRouter, JsonlOutcomes, ModelCard, Price, Route
from plumbgraph.routing.feedback import OutcomeRow
from plumbgraph.routing.values import Decision
from plumbgraph.testing import Reply, ScriptedChatModel, call, tokens
from plumbgraph.tracing.guard import Guard

MOVER, LOOPER = "demo-mover", "demo-loop"
PLACE = ("users", "ada")
PATIENT = 400
"""So often the looping model would ask if nobody stopped it."""

_SMALL_USD, _LARGE_USD = (0.25, 2.0), (3.0, 15.0)
_LIVED = {("talk", "small"): 1.0, ("talk", "large"): 1.0, ("causes", "small"): 0.15}
_SAID = 30


def lived_outcomes() -> list[OutcomeRow]:
    """What earlier answers were worth: the small model talks well and is bad at causes."""
    seen = {**_LIVED, ("causes", "large"): 0.95}
    return [
        OutcomeRow(model=f"scripted:{model}", score=float(n < share * _SAID), task=cell)
        for (task, model), share in seen.items()
        for cell in (f"model//{task}",)
        for n in range(_SAID)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What memory knows of Ada before and after her move, and what the agent made of it."""

    before: str
    after: str
    as_of: str
    versions: tuple[tuple[int, str], ...]
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A decision, and what the calls cost beside what the best model would have cost."""

    decisions: tuple[tuple[str, Decision], ...]
    spent_usd: float
    best_usd: float
    calls: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        decisions = {task: decision.to_dict() for task, decision in self.decisions}
        money = {"spent_usd": self.spent_usd, "all_large_usd": self.best_usd}
        return {"decisions": decisions, "calls": dict(self.calls), **money}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How a loop ended."""

    calls: int
    code: str
    text: str
    usd: float


def router(outcomes: Path, budget: Budget) -> CostRouter:
    """A small and a large model, chosen by what their answers were worth before."""
    cards = [
        ModelCard(model=model(name), price=Price.per_mtok(*price), prior=0.8)
        for name, price in (("small", _SMALL_USD), ("large", _LARGE_USD))
    ]
    return CostRouter(cards, aim=Aim.quality(0.8), budget=budget, outcomes=JsonlOutcomes(outcomes))


def model(name: str) -> ScriptedChatModel:
    """A model that answers from what it is shown, and from nothing else."""
    return ScriptedChatModel.from_messages(answer, model_name=name)


def answer(messages: Sequence[BaseMessage]) -> Any:
    """Keep what the user says of herself; else answer out of what is remembered."""
    if messages[-1].type == "tool":
        return Reply(text="Noted.", usage=tokens(900, 12))
    said = next(m.text for m in reversed(messages) if m.type == "human")
    for city in ("Seattle", "Portland"):
        if city in said:
            fact = call("remember", subject="Ada", attribute="lives in", value=city)
            return Reply(tool_calls=(fact,), usage=tokens(850, 40))
    if "cause" in said:
        return Reply(
            text="Labels and refunds: both repeated a request that had been answered.",
            usage=tokens(2600, 240),
        )
    known = next((m.text for m in messages if m.type == "system"), "")
    line = next((line for line in known.splitlines() if "· lives" in line), "")
    city = next((each for each in ("Portland", "Seattle") if each in line), "I do not know where")
    return Reply(text=f"To {city}.", usage=tokens(950, 14))


def move(plumbing: Opened, outcomes: Path, tenant: str) -> tuple[Moved, Routed]:
    """Ada says where she lives, moves, and asks; then something hard is asked."""
    budget = Budget(1.0, redis=plumbing.endpoints.redis_url, tenant=tenant)
    chooser = router(outcomes, budget)
    route = RouterNode(chooser, describe=_route)
    agent = create_agent(route, memory=PLACE, checkpointer=plumbing.saver, store=plumbing.store)
    config: Any = {"configurable": {"thread_id": MOVER}}

    def ask(text: str) -> dict[str, Any]:
        return agent.invoke({"messages": [("user", text)]}, config)

    store: MemoryStore = plumbing.store
    ask("I live in Seattle.")
    before, moment = _city(store), datetime.now(UTC)
    ask("I have moved to Portland.")
    asked = ask("Where does Ada live? A parcel is on its way.")
    talk = Decision.from_dict(asked["route"])
    hard = ask("Which two of the incidents have one cause in common?")
    store_key = store.facts(PLACE, "Ada")[0].key
    history = store.history(PLACE, store_key)
    moved = Moved(
        before=before,
        after=_city(store),
        as_of=_city(store, as_of=moment),
        versions=tuple((item.version, str((item.value or {}).get("value"))) for item in history),
        answer=str(asked["messages"][-1].text),
    )
    decisions = (("talk", talk), ("causes", Decision.from_dict(hard["route"])))
    routed = _accounts(hard, decisions)
    chooser.close()
    return moved, routed


def _route(state: Any) -> Route:
    said = next(m.text for m in reversed(state["messages"]) if m.type == "human")
    return Route(task="causes" if "cause" in said else "talk")


def _city(store: MemoryStore, **when: Any) -> str:
    return ", ".join(str(item.value["value"]) for item in store.facts(PLACE, "Ada", **when))


def _accounts(state: dict[str, Any], decisions: tuple[tuple[str, Decision], ...]) -> Routed:
    """The thread's ledger beside the same tokens at the large model's price."""
    used: list[Any] = [
        m.usage_metadata or {} for m in state["messages"] if isinstance(m, AIMessage)
    ]
    best = sum(_large(each.get("input_tokens", 0), each.get("output_tokens", 0)) for each in used)
    rows = list(state["ledger"].values())
    names = [str(row["model"]).partition(":")[2] for row in rows]
    return Routed(
        decisions=decisions,
        spent_usd=sum(row["cost_usd"] for row in rows),
        best_usd=best,
        calls=tuple((name, names.count(name)) for name in sorted(set(names), reverse=True)),
    )


def _large(read: int, written: int) -> float:
    """Dollars of so many tokens at the large model's price."""
    return (read * _LARGE_USD[0] + written * _LARGE_USD[1]) / 1e6


def loop(plumbing: Opened) -> Stopped:
    """A model asks the order service the same question over and over, until the guard ends it."""

    def order_status(order: str) -> str:
        """Look an order up."""
        return f"(no page for {order})"

    asks = Reply(tool_calls=(call("order_status", order="A-1001"),), usage=tokens(1200, 30))
    model = ScriptedChatModel([asks] * PATIENT, model_name="looper")
    agent = create_agent(
        model,
        [order_status],
        guard=Guard(max_usd=2.0),
        checkpointer=plumbing.saver,
    )
    config: Any = {"configurable": {"thread_id": LOOPER}}
    done = agent.invoke({"messages": [("user", "Refund order A-1001.")]}, config)
    return Stopped(
        calls=len(model.calls),
        code=str(done["stop_reason"]),
        text=str(done["messages"][-1].text),
        usd=len(model.calls) * _large(1200, 30),
    )
