"""Graphs to crash: an agent that works on files and pays, and one that does so in parallel.

Each exists with plumbgraph's parts and without, so that the same kills show the difference.
"""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

from plumbgraph.agents.effects import EffectToolNode, journal_for
from plumbgraph.agents.workspace import WorkspaceNode, WorkspaceState
from plumbgraph.content import PostgresBlobs
from plumbgraph.effects import Journal, effect
from plumbgraph.postgres.pool import Database
from plumbgraph.testing.crash.ledger import Ledger
from plumbgraph.workspace import Workspace

STEPS = 6
BRANCHES = 12
_PAUSE_S = 0.01


class Torn(RuntimeError):
    """Branches that the state knows are missing."""


class ChainState(WorkspaceState):
    """Messages, and how far the files are."""

    messages: Annotated[list[AnyMessage], add_messages]
    done: Annotated[int, operator.add]


class FanState(WorkspaceState):
    """Which branches ended."""

    job: int
    ended: Annotated[list[int], operator.add]


def chain(saver: Any, database: str, schema: str, folder: Path, ledger: Ledger) -> Any:
    """The agent with a workspace and a journal."""
    db = Database(database, schema=schema)
    workspace = Workspace(folder, blobs=PostgresBlobs(db))
    tools = EffectToolNode([effect(_pay(ledger))], journal=journal_for(saver, db))
    write = WorkspaceNode(_writes(lambda: Workspace.current().folder, ledger), workspace=workspace)
    return _chained(tools, write)


def plain_chain(folder: Path, ledger: Ledger) -> Any:
    """The same agent as LangGraph alone runs it."""
    folder.mkdir(exist_ok=True)
    return _chained(ToolNode([_pay(ledger)]), _writes(lambda: folder, ledger))


def _chained(tools: Any, write: Any) -> Any:
    graph: Any = StateGraph(ChainState)
    graph.add_node("model", _model)
    graph.add_node("tools", tools)
    graph.add_node("write", write)
    graph.add_edge(START, "model")
    graph.add_conditional_edges(
        "model", lambda s: "tools" if s["messages"][-1].tool_calls else END, ["tools", END]
    )
    graph.add_edge("tools", "write")
    graph.add_edge("write", "model")
    return graph


def _model(state: ChainState) -> dict[str, Any]:
    turn = state.get("done", 0)
    if turn >= STEPS:
        return {"messages": [AIMessage("finished")]}
    # Every turn the same id and, every second turn, the same arguments: the hardest case.
    call = {"name": "pay", "args": {"sum": turn // 2}, "id": "call_0", "type": "tool_call"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


def _pay(ledger: Ledger) -> BaseTool:
    @tool
    def pay(sum: int) -> str:  # noqa: A002 - the model's word
        """Pay a sum outside."""
        line = f"pay {json.dumps({'sum': sum})}"
        ledger.note(line)
        time.sleep(_PAUSE_S)
        return f"done {line}"

    return pay


def _writes(folder: Callable[[], Path], ledger: Ledger) -> Callable[[Any], dict[str, Any]]:
    def write(state: ChainState) -> dict[str, Any]:
        base, done = folder(), state.get("done", 0)
        counter = base / "counter.txt"
        found = counter.read_text() if counter.exists() else "0"
        if found != str(done) or len(list(base.glob("f*.txt"))) != done:
            ledger.note(f"torn state {done}, folder {found}")
        with (base / "log.txt").open("a") as log:
            log.write(f"step {done}\n")
        time.sleep(_PAUSE_S)
        counter.write_text(str(done + 1))
        time.sleep(_PAUSE_S)
        (base / f"f{done}.txt").write_text(f"file {done}\n" * 50)
        return {"done": 1}

    return write


def fan(saver: Any, database: str, schema: str, folder: Path, ledger: Ledger) -> Any:
    """Twelve branches, each with a file and a payment, journaled and in folders of their own."""
    db = Database(database, schema=schema)
    workspace = Workspace(folder, blobs=PostgresBlobs(db))
    journal = journal_for(saver, db)
    job = _job(_journaled(journal, _fee(ledger)), lambda: Workspace.current().folder)
    node = WorkspaceNode(job, workspace=workspace)
    return _fanned(ledger, node.invoke, WorkspaceNode(_gather, workspace=workspace))


def journaled_fan(saver: Any, database: str, schema: str, ledger: Ledger, folder: Path) -> Any:
    """Twelve branches with journaled payments and no workspace, in one common folder."""
    folder.mkdir(exist_ok=True)
    journal = journal_for(saver, Database(database, schema=schema))
    return _fanned(ledger, _job(_journaled(journal, _fee(ledger)), lambda: folder), _gather)


def plain_fan(folder: Path, ledger: Ledger) -> Any:
    """The same as LangGraph alone runs it."""
    folder.mkdir(exist_ok=True)
    return _fanned(ledger, _job(_fee(ledger), lambda: folder), _gather)


def _fanned(ledger: Ledger, job: Callable[[Any], Any], gather: Any) -> Any:
    def branch(state: FanState) -> Any:
        ledger.note(f"run {state['job']}")
        update = job(state)
        # The last thing before LangGraph has the branch's update: it ended.
        ledger.note(f"end {state['job']}")
        return update

    graph: Any = StateGraph(FanState)
    graph.add_node("begin", lambda _: {"ended": []})
    graph.add_node("job", branch)
    graph.add_node("gather", gather)
    graph.add_edge(START, "begin")
    graph.add_conditional_edges(
        "begin", lambda s: [Send("job", {**s, "job": n}) for n in range(BRANCHES)], ["job"]
    )
    graph.add_edge("job", "gather")
    return graph


def _fee(ledger: Ledger) -> Callable[[int], str]:
    @effect
    def fee(number: int) -> str:
        line = f"fee {json.dumps({'number': number})}"
        ledger.note(line)
        time.sleep(_PAUSE_S)
        return f"done {line}"

    # Without a journal it is called as the plain function it was.
    plain: Callable[[int], str] = fee
    return plain


def _journaled(journal: Journal, fee: Callable[[int], str]) -> Callable[[int], str]:
    return lambda number: journal.call(fee, number)


def _job(fee: Callable[[int], str], folder: Callable[[], Path]) -> Callable[[Any], dict[str, Any]]:
    def job(state: FanState) -> dict[str, Any]:
        number = state["job"]
        getattr(fee, "__wrapped__", fee)(number)
        (folder() / f"branch{number}.txt").write_text(f"branch {number}\n")
        return {"ended": [number]}

    return job


def _gather(state: FanState) -> dict[str, Any]:
    if sorted(state["ended"]) != list(range(BRANCHES)):
        raise Torn(f"branches are missing: {sorted(state['ended'])}")
    return {"ended": []}


CHAIN_INPUT: dict[str, Any] = {"messages": [("user", "work")]}
FAN_INPUT: dict[str, Any] = {"job": -1}
