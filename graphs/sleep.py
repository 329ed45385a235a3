"""A sleep over a namespace that asks a person about contested facts, and can be resumed.

Input: `namespace`, labels joined by slashes. Each contested fact is put to the caller by an
interrupt; answer with the value that is true, or with nothing to leave it open.
"""

from __future__ import annotations

from typing import Any

from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from plumbgraph.agents.memory import store_of
from plumbgraph.memory import MemoryStore


class Night(TypedDict, total=False):
    """What one sleep did."""

    namespace: str
    report: dict[str, Any]
    open: list[str]
    settled: list[str]


def _store() -> MemoryStore:
    found = get_store()
    return store_of(found if isinstance(found, MemoryStore) else None, None)


def _place(state: Night) -> tuple[str, ...]:
    return tuple(label for label in state["namespace"].split("/") if label)


async def tidy(state: Night) -> Night:
    """Merge, date and archive; journaled, so that it can be undone."""
    report = await _store().asleep(_place(state))
    told = {
        "id": report.id,
        "actions": [[a.deed, a.key, a.reason] for a in report.actions],
        "skipped": list(report.skipped),
        "alike_attributes": [list(pair) for pair in report.alike_attributes],
    }
    return {"report": told, "open": list(report.contested), "settled": []}


async def settle(state: Night) -> Night:
    """Ask about one contested fact, and settle it on the answer."""
    store, place = _store(), _place(state)
    key, *rest = state["open"]
    item = await store.aget(place, key)
    if item is None or not item.rivals:
        return {"open": rest}
    value = item.value
    answer = interrupt(
        {
            "subject": value["subject"],
            "attribute": value["attribute"],
            "held": value["value"],
            "rivals": [rival.value["value"] for rival in item.rivals],
        }
    )
    if answer in (None, ""):
        return {"open": rest}
    await store.aresolve(place, value["subject"], value["attribute"], answer)
    return {"open": rest, "settled": [*state["settled"], key]}


def _next(state: Night) -> str:
    return "settle" if state["open"] else END


builder = StateGraph(Night)
builder.add_node("tidy", tidy, metadata={"description": "Merges, dates and archives memories."})
builder.add_node(
    "settle", settle, metadata={"description": "Asks a person which of two claims is true."}
)
builder.add_edge(START, "tidy")
builder.add_conditional_edges("tidy", _next, ["settle", END])
builder.add_conditional_edges("settle", _next, ["settle", END])
graph = builder.compile()
