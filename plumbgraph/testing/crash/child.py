"""One run of the graph, in a process that may be killed at any moment."""

from __future__ import annotations

import asyncio
import json
import os
import traceback
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

from langgraph.types import Command

from plumbgraph.postgres.pool import Database
from plumbgraph.testing.crash.ledger import Ledger
from plumbgraph.testing.crash.oracle import invalid
from plumbgraph.testing.crash.points import Killer, slowed
from plumbgraph.testing.crash.target import compiled
from plumbgraph.testing.crash.values import Bench, Kill, Setting
from plumbgraph.tracing.emit import attach

_CONFIG: Any = {"configurable": {"thread_id": "crash"}, "recursion_limit": 1000}
_QUESTIONS = 50
CLAIM_S = 2.0
"""How long a claim outlives a process that was killed while it held it."""

Truth: TypeAlias = tuple[Ledger, Killer]


def fork(target: Any, setting: Setting, home: Path, schema: str, kill: Kill | None) -> int:
    """Start a run in a child process; its id.

    The child writes `result.json` when it comes to an end by itself.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        code = _run(target, setting, home, schema, kill)
    finally:
        os._exit(code)


def _run(target: Any, setting: Setting, home: Path, schema: str, kill: Kill | None) -> int:
    killer = Killer(kill, home / "recorded")
    attach(killer)
    result: dict[str, Any] = {"failed": "", "asked": 0, "asked_in_vain": 0, "asked_outside": 0}
    try:
        saver = _saver(setting, schema, killer)
        ledger = Ledger(home / "ledger")
        bench = Bench(saver, setting.database, schema, home / "work", ledger)
        graph = compiled(target, bench)
        if setting.asynchronous:
            state = asyncio.run(_ainvoked(graph, setting, (ledger, killer), result))
        else:
            state = _invoked(graph, setting, (ledger, killer), result)
        result["messages_invalid"] = invalid(state.get("messages", ()))
        result["state"] = sorted(state)
    except Exception as error:  # noqa: BLE001 - whatever it is goes into the report
        last = traceback.extract_tb(error.__traceback__)[-1]
        result["failed"] = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
        (home / "traceback").write_text("".join(traceback.format_exception(error)))
    result["seen"] = killer.seen
    scratch = home / f"result.{os.getpid()}"
    scratch.write_text(json.dumps(result))
    scratch.rename(home / f"result-{os.getpid()}.json")
    return 0


def _saver(setting: Setting, schema: str, killer: Killer) -> Any:
    if setting.saver == "plumb":
        from plumbgraph.state import PlumbSaver  # noqa: PLC0415 - only where it is asked for

        database = Database(setting.database, schema=schema)
        return slowed(PlumbSaver, killer, setting.save_delay_s)(database)
    return _postgres_saver(setting, schema, killer)


def _postgres_saver(setting: Setting, schema: str, killer: Killer) -> Any:
    from langgraph.checkpoint.postgres import PostgresSaver  # noqa: PLC0415 - the peer
    from psycopg.rows import dict_row  # noqa: PLC0415 - as above
    from psycopg_pool import ConnectionPool  # noqa: PLC0415 - as above

    options = {
        "autocommit": True,
        "row_factory": dict_row,
        "prepare_threshold": 0,
        "options": f"-c search_path={schema}",
    }
    pool: Any = ConnectionPool(setting.database, max_size=8, kwargs=options, open=True)
    saver = slowed(PostgresSaver, killer, setting.save_delay_s)(pool)
    saver.setup()
    return saver


def _start(graph: Any, setting: Setting) -> Any:
    """The input, unless the thread has begun: then it goes on."""
    found = graph.checkpointer.get_tuple(_CONFIG)
    return setting.input if found is None else None


def _invoked(graph: Any, setting: Setting, truth: Truth, result: dict[str, Any]) -> Any:
    with _claimed(graph, setting):
        return _answered(graph, setting, truth, result)


def _claimed(graph: Any, setting: Setting) -> AbstractContextManager[Any]:
    """The thread for this process alone, where two resume at once and the saver has claims."""
    claim = getattr(graph.checkpointer, "claim", None)
    if claim is None or not setting.double_resume:
        return nullcontext()
    held: AbstractContextManager[Any] = claim("crash", ttl_s=CLAIM_S)
    return held


def _answered(graph: Any, setting: Setting, truth: Truth, result: dict[str, Any]) -> Any:
    given = _start(graph, setting)
    for _ in range(_QUESTIONS):
        state = graph.invoke(given, _CONFIG, durability=setting.durability)
        told = _told(state, truth, result)
        if told is None:
            return state
        given = Command(resume=told)
    raise RuntimeError("the graph asks without end")


async def _ainvoked(graph: Any, setting: Setting, truth: Truth, result: dict[str, Any]) -> Any:
    given = await asyncio.to_thread(_start, graph, setting)
    for _ in range(_QUESTIONS):
        state = await graph.ainvoke(given, _CONFIG, durability=setting.durability)
        told = _told(state, truth, result)
        if told is None:
            return state
        given = Command(resume=told)
    raise RuntimeError("the graph asks without end")


def _told(state: Any, truth: Truth, result: dict[str, Any]) -> dict[str, Any] | None:
    """The true answer to every question about effects in doubt, by interrupt; none if none."""
    answers: dict[str, Any] = {}
    ledger, killer = truth
    for asked in state.get("__interrupt__", ()):
        question = asked.value
        if not isinstance(question, dict) or question.get("plumbgraph") != "effects_in_doubt":
            raise RuntimeError(f"the graph asks something this test cannot answer: {question!r}")
        told = {}
        for effect in question["effects"]:
            happened = ledger.has(effect["id"])
            line = f"{effect['name']} {json.dumps(effect['args'], sort_keys=True)}"
            told[effect["id"]] = {"done": f"done {line}"} if happened else "not_done"
            result["asked"] += 1
            result["asked_in_vain"] += not happened
            result["asked_outside"] += effect["id"] in killer.recorded()
        answers[asked.id] = {"effects": told}
    return answers or None
