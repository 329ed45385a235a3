"""A graph of several slow steps that tells a file when each one ran."""

from __future__ import annotations

import asyncio
import operator
import os
from pathlib import Path
from typing import Annotated

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

STEPS = 6
LEDGER = Path(os.environ.get("SLOW_LEDGER", "ledger.txt"))


class State(TypedDict):
    """The steps done so far, and how many."""

    done: Annotated[list[str], operator.add]
    count: Annotated[int, operator.add]


async def step(state: State) -> State:
    """Wait a moment and note it outside of the graph."""
    name = f"step {state.get('count', 0)}"
    await asyncio.sleep(0.25)
    await asyncio.to_thread(_note, name)
    return {"done": [name], "count": 1}


def _note(name: str) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(f"{name}\n")


def again(state: State) -> str:
    """Go on until all steps are done."""
    return "step" if state["count"] < STEPS else "end"


graph = StateGraph(State)
graph.add_node(step)
graph.add_edge(START, "step")
graph.add_conditional_edges("step", again, {"step": "step", "end": END})
