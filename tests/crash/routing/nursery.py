"""Runs graphs in children of its own, forked once everything is imported; killed from outside."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any


def life(order: dict[str, Any]) -> None:
    """One life of a thread: begin it or go on with it, to the end if nobody kills us."""
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI
    from langgraph.graph import StateGraph

    from plumbgraph.agents.effects import journal_for
    from plumbgraph.agents.model import AgentState
    from plumbgraph.routing import Aim, Budget, CostRouter, Limit, ModelCard, Price, RoutedChatModel
    from plumbgraph.state import PlumbSaver

    def card(name: str, price: float, prior: float) -> ModelCard:
        model = ChatOpenAI(
            model=name, base_url=order["provider"], api_key="none", max_retries=0, timeout=20
        )
        return ModelCard(model=model, price=Price.per_mtok(price, price * 4), prior=prior)

    budget = Budget(
        [Limit("tenant", 1000.0, "day"), Limit("thread", 10.0)],
        redis=order["redis"],
        tenant=order["tenant"],
        lease_s=order["lease_s"],
    )
    router = CostRouter(
        [card("weak", 1, 0.7), card("strong", 10, 0.95)],
        budget=budget,
        aim=Aim.quality(order["aim"]),
    )
    with PlumbSaver(order["postgres"], schema=order["schema"]) as saver:
        model = RoutedChatModel(router, journal=journal_for(saver))

        def step(number: int) -> Any:
            def node(state: Any) -> dict[str, Any]:
                asked = HumanMessage(f"{order['thread']} step {number}")
                return {"messages": [asked, model.invoke([*state["messages"], asked])]}

            return node

        graph: Any = StateGraph(AgentState)
        for number in range(order["steps"]):
            graph.add_node(f"n{number}", step(number))
            if number:
                graph.add_edge(f"n{number - 1}", f"n{number}")
        graph.set_entry_point("n0")
        agent = graph.compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": order["thread"]}}
        begun = agent.get_state(config).created_at is not None
        given = None if begun else {"messages": [HumanMessage("begin")]}
        agent.invoke(given, config, durability="sync")


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """Fork a life for each line; answer with its process id."""
    import langchain_openai  # noqa: F401 - imported once, for all children

    import plumbgraph.agents.effects
    import plumbgraph.routing
    import plumbgraph.state  # noqa: F401 - as above

    _say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                life(order)
                code = 0
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(code)
        _say(child)
        _, status = os.waitpid(child, 0)
        _say(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
