"""The demo's agent without plumbgraph: LangGraph's own PostgresSaver and ToolNode."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

CONFIG: Any = {"configurable": {"thread_id": "plain"}}
NOTE = "notes.md"


def write_note(text: str) -> str:
    """Add a line to the notes."""
    with Path(NOTE).open("a", encoding="utf-8") as notes:
        notes.write(f"{text}\n")
    return "written"


def notify(text: str) -> str:
    """Notify the people on call."""
    request = urllib.request.Request(  # noqa: S310 - the demo's own server
        os.environ["PLUMBGRAPH_WEBHOOK"], data=json.dumps({"text": text}).encode()
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        return f"notified, {answer.status}"


def model(state: MessagesState) -> dict[str, Any]:
    """Ask for both tools once, then finish."""
    if any(message.type == "tool" for message in state["messages"]):
        return {"messages": [AIMessage("Noted, and people know.")]}
    text = "The lockers went offline (2025-03-04)."
    calls = [
        {"name": name, "args": {"text": text}, "id": name} for name in ("write_note", "notify")
    ]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def main(url: str) -> None:
    """Begin the thread, or go on with it."""
    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", ToolNode([write_note, notify]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    with PostgresSaver.from_conn_string(url) as saver:
        saver.setup()
        begun = saver.get_tuple(CONFIG) is not None
        given: Any = None if begun else {"messages": [("user", "Note the incident.")]}
        graph.compile(checkpointer=saver).invoke(given, CONFIG, durability="sync")


if __name__ == "__main__":
    main(sys.argv[1])
