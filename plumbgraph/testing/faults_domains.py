"""Seeded faults of routing, budgets and effects; see `plumbgraph.testing.faults`."""

from __future__ import annotations

import os
import signal
from typing import Any

from langchain_core.tools import tool

from plumbgraph.policy import Policy
from plumbgraph.routing import CostRouter, ModelCard, Price, RoutedChatModel
from plumbgraph.testing.faults import Stage, dies, fault, scripted
from plumbgraph.testing.script import call


def _router(script: Any, *, usd: float = 10.0, **options: Any) -> CostRouter:
    model = scripted(script, model_name="small", provider="test")
    card = ModelCard(model=model, price=Price.per_mtok(1.0, 2.0), prior=0.9)
    return CostRouter([card], policy=Policy(), budget=usd, **options)


def _routed(stage: Stage, router: CostRouter) -> Any:
    from plumbgraph.agents import create_agent  # noqa: PLC0415 - beside its use
    from plumbgraph.testing.faults import TOOLS  # noqa: PLC0415 - beside its use

    return create_agent(RoutedChatModel(router), [*TOOLS], checkpointer=stage.saver)


@fault("finished", 3)
def a_routed_answer_that_was_good(stage: Stage) -> None:
    """A routed answer that was good."""
    router = _router([call("look", q="a"), "done"])
    _rate(stage, router, 1.0)


@fault("wrong_route", 3)
def a_routed_answer_rated_as_bad(stage: Stage) -> None:
    """A routed answer rated as bad."""
    router = _router([call("look", q="a"), "nonsense"])
    _rate(stage, router, 0.0)


def _rate(stage: Stage, router: CostRouter, score: float) -> None:
    """Ask, and rate the last answer afterwards, outside of any run."""
    result = stage.ask(_routed(stage, router))
    charge = result["messages"][-1].response_metadata["plumbgraph"]["charge_id"]
    with stage.watched():
        router.feedback(charge, score)


@fault("stopped_by_budget", 1)
def no_money_for_the_first_call(stage: Stage) -> None:
    """No money for the first call."""
    stage.ask(_routed(stage, _router(["done"], usd=0.0000001)))


@fault("denied", 1)
def no_model_is_allowed(stage: Stage) -> None:
    """No model is allowed."""
    model = scripted(["done"], model_name="small", provider="test")
    card = ModelCard(model=model, price=Price.per_mtok(1.0, 2.0))
    policy = Policy({"version": 1, "models": {"deny": ["test:*"]}})
    stage.ask(_routed(stage, CostRouter([card], policy=policy)))


def _sending(stage: Stage, *, deadly: bool) -> Any:
    from plumbgraph import effect  # noqa: PLC0415 - beside its use
    from plumbgraph.agents import create_agent  # noqa: PLC0415 - beside its use
    from plumbgraph.agents.effects import EffectToolNode, journal_for  # noqa: PLC0415
    from plumbgraph.testing.faults import look  # noqa: PLC0415 - beside its use

    @tool
    @effect
    def send(to: str) -> str:
        """Send a letter."""
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"sent to {to}"

    node = EffectToolNode([look, send], journal=journal_for(stage.saver))
    script = scripted([call("look", q="a"), call("send", to="ann"), "done"])
    return create_agent(script, [look, send], tool_node=node, checkpointer=stage.saver)


def child_dies_in_effect(stage: Stage) -> None:
    """In the child: the process dies between an effect's intent and its result."""
    stage.ask(_sending(stage, deadly=True))


@fault("effect_in_doubt", 4, "postgres")
def killed_while_a_letter_was_sent(stage: Stage) -> None:
    """Killed while a letter was sent."""
    dies(stage, "child_dies_in_effect")
    stage.go_on(_sending(stage, deadly=False))
