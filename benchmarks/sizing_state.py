"""Sizing of PostgreSQL: threads, steps and effects, in bytes and in milliseconds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import psycopg
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, MessagesState, StateGraph

from benchmarks.tables import median
from plumbgraph import PlumbSaver, effect
from plumbgraph.agents.effects import journal_for
from plumbgraph.nodes import EffectToolNode

TEXT = "The quick brown fox jumps over the lazy dog, and then it does so again. " * 3
COPIES = 99
APART = 10_000_000  # between the numbers of a copy's rows and those of the next
SHIFTED = """ARRAY(SELECT CASE WHEN place % 3 = 1 THEN value # k.k ELSE value END
    FROM unnest(o.spans) WITH ORDINALITY AS u(value, place) ORDER BY place)"""


def total(url: str, only: str = "%") -> int:
    """Bytes of the schema's tables with their indexes, as they lie on disk."""
    with psycopg.connect(url, autocommit=True) as link:
        link.execute("VACUUM ANALYZE")
        found = link.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relnamespace = 'plumbgraph'::regnamespace AND relkind = 'r' AND relname LIKE %s",
            (only,),
        ).fetchone()
    assert found is not None
    return int(found[0] or 0)


def chat(saver: PlumbSaver) -> Any:
    """A graph of one node that answers with 200 characters."""
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda _: {"messages": [("ai", TEXT)]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


def at(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def p50_ms(action: Callable[[int], object], rounds: int = 60) -> float:
    """Median milliseconds of an action that is told its number."""
    taken = []
    for number in range(rounds):
        began = time.perf_counter()
        action(number)
        taken.append((time.perf_counter() - began) * 1000)
    return median(taken)


def threads(endpoints: Any, most: int) -> list[dict[str, Any]]:
    """Threads of one turn each: two messages of 200 characters, three checkpoints."""
    url, rows, made = endpoints.postgres_url, [], 0
    with PlumbSaver(url) as saver:
        graph = chat(saver)
        saver.setup()
        empty = total(url)
        for count in (n for n in (10**2, 10**4) if n <= most):
            for number in range(made, count):
                graph.invoke({"messages": [("user", TEXT)]}, at(f"t{number}"))
            made = count
            rows.append(_thread_row(url, count, empty, "measured"))
    if most >= 10**6:
        _copy(url)
        rows.append(_thread_row(url, 10**6, empty, "simulated"))
    return rows


def _thread_row(url: str, count: int, empty: int, how: str) -> dict[str, Any]:
    size = total(url) - empty
    dice = random.Random(1)
    names = [f"t{dice.randrange(min(count, 10**4))}" for _ in range(100)]
    if how == "simulated":
        names = [f"{name}-{dice.randrange(1, COPIES)}" for name in names]
    with PlumbSaver(url) as cold:
        graph = chat(cold)
        cold.threads(1)
        opened = p50_ms(lambda i: cold.get_tuple(at(names[i])))
        turn = p50_ms(lambda i: graph.invoke({"messages": [("user", TEXT)]}, at(names[-i - 1])), 30)
        listed = p50_ms(lambda _: cold.threads(100), 5)
        recovery = p50_ms(lambda _: cold.recover(lambda: graph), 3)
    return {
        "threads": count,
        "MiB": size / 2**20,
        "bytes a thread": size // count,
        "bytes a checkpoint": size // count // 3,
        "open one, ms": opened,
        "one more turn, ms": turn,
        "list 100, ms": listed,
        "look for crashed ones, ms": recovery,
        "how": how,
    }


def _copy(url: str) -> None:
    """Each thread 99 times more, with numbers of its own: the same rows a million turns make."""
    series = f"generate_series(1, {COPIES}) AS k(k)"
    moved = f"+ k.k::bigint * {APART}"
    copied = {
        "thread": f"id {moved}, tenant, thread_id || '-' || k.k, epoch, generation",
        "stream": f"id {moved}, thread {moved}, touched_at, ns, head",
        "checkpoint": f"stream {moved}, step, id, parent, branch, tags, {SHIFTED}, body",
        "element": "log # k.k, slot, body",
        "write": f"stream {moved}, slot, n, checkpoint, task, path, {SHIFTED}, body",
        "log_user": f"thread {moved}, log # k.k",
    }
    targets = {
        "thread": "id, tenant, thread_id, epoch, generation",
        "stream": "id, thread, touched_at, ns, head",
        "checkpoint": "stream, step, id, parent, branch, tags, spans, body",
        "element": "log, slot, body",
        "write": "stream, slot, n, checkpoint, task, path, spans, body",
        "log_user": "thread, log",
    }
    with psycopg.connect(url, autocommit=True, options="-c search_path=plumbgraph") as link:
        # Turns of measuring made some threads longer; only those of the first turn are copied.
        for name, columns in copied.items():
            over = "OVERRIDING SYSTEM VALUE" if name in {"thread", "stream"} else ""
            link.execute(
                f"INSERT INTO {name} ({targets[name]}) {over} SELECT {columns} "
                f"FROM {name} AS o CROSS JOIN {series}"
            )


def steps(endpoints: Any, most: int) -> list[dict[str, Any]]:
    """One thread that grows by a message of 200 characters a step."""
    url, rows, made = endpoints.postgres_url, [], 0
    with PlumbSaver(url) as saver:
        graph = chat(saver)
        saver.setup()
        empty = total(url)
        for count in (n for n in (10**2, 10**4) if n <= most):
            _lengthen(saver, made, count)
            made = count
            rows.append(_step_row(url, graph, count, empty))
    last = rows[-1]
    computed = {"MiB": last["MiB"] * 100, "bytes a step": last["bytes a step"], "how": "computed"}
    return [*rows, {"steps": 10**6, **computed}] if most >= 10**6 else rows


def _lengthen(saver: PlumbSaver, start: int, stop: int) -> None:
    """The puts that LangGraph makes for a thread of so many steps, without its own work."""
    found = saver.get_tuple(at("long"))
    config: Any = found.config if found else {"configurable": {"thread_id": "long"}}
    messages = list(found.checkpoint["channel_values"]["messages"]) if found else []
    config["configurable"].setdefault("checkpoint_ns", "")
    for number in range(start, stop):
        messages = [*messages, HumanMessage(TEXT, id=f"m{number}")]
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"messages": messages}
        checkpoint["channel_versions"] = {"messages": number + 1}
        metadata: Any = {"source": "loop", "step": number, "parents": {}}
        config = saver.put(config, checkpoint, metadata, {"messages": number + 1})


def _step_row(url: str, graph: Any, count: int, empty: int) -> dict[str, Any]:
    size = total(url) - empty
    step = p50_ms(lambda _: graph.update_state(at("long"), {"messages": [("user", TEXT)]}), 15)

    def opened(_: int) -> None:
        with PlumbSaver(url) as cold:
            cold.threads(1)
            began.append(time.perf_counter())
            cold.get_tuple(at("long"))
            ended.append(time.perf_counter())

    began: list[float] = []
    ended: list[float] = []
    p50_ms(opened, 5)
    taken = [(end - start) * 1000 for start, end in zip(began, ended, strict=True)]
    return {
        "steps": count,
        "MiB": size / 2**20,
        "bytes a step": size // count,
        "open it cold, ms": median(taken),
        "one more step, ms": step,
        "how": "measured",
    }


def effects(endpoints: Any, most: int) -> list[dict[str, Any]]:
    """Side effects in the journal: the call before, its answer of 40 characters after."""

    @effect(idempotent=True)
    def send(text: str) -> str:
        """Send a text."""
        return f"sent {text} to everybody who asked for it"

    url, made = endpoints.postgres_url, 0
    rows: list[dict[str, Any]] = []
    with PlumbSaver(url) as saver:
        node = EffectToolNode([send], journal=journal_for(saver))
        builder = StateGraph(MessagesState).add_node("tools", node).add_edge(START, "tools")
        graph = builder.compile(checkpointer=saver)
        for count in (n for n in (10**2, 10**4) if n <= most):
            while made < count:
                calls: Any = [
                    {"name": "send", "args": {"text": "x"}, "id": f"c{made + i}"} for i in range(50)
                ]
                asked = AIMessage("", tool_calls=calls, id=f"m{made}")
                graph.invoke({"messages": [asked]}, at(f"e{made}"), durability="sync")
                made += 50
            size = total(url, "effects")
            row = {"effects": count, "MiB": size / 2**20, "bytes an effect": size // count}
            rows.append({**row, "how": "measured"})
    last = rows[-1]
    computed: dict[str, Any] = {
        "MiB": last["MiB"] * 100,
        "bytes an effect": last["bytes an effect"],
    }
    return [*rows, {"effects": 10**6, **computed, "how": "computed"}] if most >= 10**6 else rows
