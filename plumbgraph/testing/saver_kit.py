"""`check_saver`: what the official suite does not ask of a saver, as one command and one table.

Each probe runs a real graph or real calls against a saver made by a factory and says "pass",
"fail" with a reason, or "n/a" where the saver does not offer the method. Nothing is faked: a
saver whose deletes are undone by late writes fails, whoever wrote it.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Annotated, Any, Literal, TypeAlias, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphBubbleUp
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Send

Outcome: TypeAlias = Literal["pass", "fail", "n/a"]
Factory: TypeAlias = Callable[[], AbstractContextManager[BaseCheckpointSaver[Any]]]
Holds: TypeAlias = Callable[[bytes], bool]
Expire: TypeAlias = Callable[[Any, str], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found."""

    probe: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SaverReport:
    """What all probes found."""

    findings: tuple[Finding, ...] = field(default_factory=tuple)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The probes that failed."""
        return tuple(each for each in self.findings if each.outcome == "fail")


class ProbeFailed(AssertionError):
    """A saver did not do what the probe asks."""


def check_saver(
    factory: Factory, *, holds: Holds | None = None, expire: Expire | None = None
) -> SaverReport:
    """Run every probe on savers made by `factory`, each on threads of its own.

    Args:
        factory: Opens a saver, as a context manager; two openings reach the same store.
        holds: Whether these bytes can be read somewhere in the store, for a saver that encrypts.
        expire: Given a saver and the thread of an active run that began long ago, lets the
            saver's time-to-live do its work, for a saver that has one.
    """
    probes = dict(PROBES)
    if holds is not None:
        probes["nothing is stored in clear"] = partial(_clear, holds)
    if expire is not None:
        probes["expiry takes whole threads"] = partial(_expiry, expire)
    return SaverReport(tuple(_probe(name, probe, factory) for name, probe in probes.items()))


def _probe(name: str, probe: Callable[[Factory, str], None], factory: Factory) -> Finding:
    try:
        probe(factory, f"kit-{name}")
    except NotImplementedError:
        return Finding(name, "n/a")
    except GraphBubbleUp:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a saver raises is its finding
        reason = str(error).strip().partition("\n")[0][:160]
        return Finding(name, "fail", f"{type(error).__name__}: {reason}")
    return Finding(name, "pass")


def _need(*, that: bool, reason: str) -> None:
    if not that:
        raise ProbeFailed(reason)


def _extend(state: list[Any], writes: list[Any]) -> list[Any]:
    return [*state, *(each for write in writes for each in write)]


class _Deltas(TypedDict):
    messages: Annotated[list[Any], DeltaChannel(_extend, snapshot_frequency=9)]
    n: int


class _Plain(TypedDict):
    messages: Annotated[list[Any], add_messages]
    n: int


class _Values(TypedDict):
    value: Any


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}, "recursion_limit": 200}


def _graph(saver: Any, schema: Any, steps: int = 12) -> Any:
    def work(state: Any) -> dict[str, Any]:
        n = state["n"] + 1
        return {"messages": [AIMessage(f"{n} " + "word " * 40, id=f"m{n}")], "n": n}

    def branch(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(f"branch {state['at']}", id=f"b{state['at']}")]}

    made = StateGraph(schema)
    made.add_node("work", work)
    made.add_node("branch", branch)
    made.add_edge(START, "work")
    made.add_conditional_edges(
        "work",
        lambda s: "work" if s["n"] % steps else [Send("branch", {"at": at}) for at in range(6)],
        ["work", "branch"],
    )
    made.add_edge("branch", END)
    return made.compile(checkpointer=saver)


def _texts(saver: Any, thread: str, schema: Any = _Deltas) -> list[str]:
    found = _graph(saver, schema).get_state(_config(thread)).values
    return [each.content for each in found.get("messages", ())]


def _run(saver: Any, thread: str, schema: Any = _Deltas) -> list[str]:
    start = {"messages": [HumanMessage("hi", id="h")], "n": 0}
    _graph(saver, schema).invoke(start, _config(thread), durability="sync")
    return _texts(InMemorySaver(), thread, schema)


def _expected() -> list[str]:
    memory = InMemorySaver()
    _run(memory, "memory")
    return _texts(memory, "memory")


def _write_order(factory: Factory, thread: str) -> None:
    with factory() as saver:
        _run(saver, thread)
    with factory() as again:
        _need(that=_texts(again, thread) == _expected(), reason="replayed writes are out of order")


def _pending_order(factory: Factory, thread: str) -> None:
    with factory() as saver:
        head = saver.put(_config(thread), empty_checkpoint(), {"source": "loop", "step": 0}, {})
        for task, path in (("t1", "~b"), ("t2", "~a"), ("t0", "")):
            saver.put_writes(head, [("c", task), ("d", task)], task, path)
        found = saver.get_tuple(head)
        order = [write[0] for write in (found and found.pending_writes) or ()]
        _need(that=order == ["t0", "t0", "t2", "t2", "t1", "t1"], reason=f"order is {order}")


def _delta_prune(factory: Factory, thread: str) -> None:
    with factory() as saver:
        _run(saver, thread)
        saver.prune([thread])
        left = len(_texts(saver, thread))
        _need(that=_texts(saver, thread) == _expected(), reason=f"{left} of 19 messages are left")


def _delta_copy(factory: Factory, thread: str) -> None:
    with factory() as saver:
        _run(saver, thread)
        saver.copy_thread(thread, f"{thread}-copy")
        saver.delete_thread(thread)
        found = _texts(saver, f"{thread}-copy")
        _need(that=found == _expected(), reason=f"{len(found)} of 19 messages were copied")


def _late_write(factory: Factory, thread: str) -> None:
    with factory() as saver:
        head = saver.put(_config(thread), empty_checkpoint(), {"source": "loop", "step": 0}, {})
        saver.delete_thread(thread)
        config: Any = {"configurable": {"checkpoint_ns": "", **head["configurable"]}}
        with suppress(LookupError):
            saver.put(config, empty_checkpoint(), {"source": "loop", "step": 1}, {})
        _need(
            that=saver.get_tuple(_config(thread)) is None,
            reason="a late write brought the deleted thread back",
        )


def _two_writers(factory: Factory, thread: str) -> None:
    with factory() as saver:
        for _ in range(2):
            saver.get_tuple(_config(thread))
        saver.put(_config(thread), empty_checkpoint(), {"source": "input", "step": -1}, {})
        refused: list[str] = []

        def second() -> None:
            try:
                saver.put(_config(thread), empty_checkpoint(), {"source": "input", "step": -1}, {})
            except Exception as error:  # noqa: BLE001 - any refusal counts
                refused.append(type(error).__name__)

        racer = threading.Thread(target=second)
        racer.start()
        racer.join()
        _need(that=bool(refused), reason="the second first run won silently")


def _fidelity(factory: Factory, thread: str) -> None:
    values: list[Any] = ["NUL \0", math.inf, -0.0, {1: "int key"}, b"\xff", {"deep": [{2: 1.5}]}]
    with factory() as saver:
        for at, value in enumerate(values):
            made = StateGraph(_Values)
            made.add_node("set", lambda _, v=value: {"value": v})
            made.add_edge(START, "set")
            graph = made.compile(checkpointer=saver)
            graph.invoke({"value": None}, _config(f"{thread}-{at}"))
            got = graph.get_state(_config(f"{thread}-{at}")).values["value"]
            same = repr(got) == repr(value) and type(got) is type(value)
            _need(that=same, reason=f"{value!r} came back as {got!r}")


def _mutation(factory: Factory, thread: str) -> None:
    with factory() as saver:

        def work(state: Any) -> dict[str, Any]:
            if state["n"] == 1:
                state["messages"][0].content = "changed"
            return {"messages": [AIMessage("x" * 600, id=f"m{state['n']}")], "n": state["n"] + 1}

        made = StateGraph(_Plain)
        made.add_node("work", work)
        made.add_edge(START, "work")
        made.add_conditional_edges("work", lambda s: "work" if s["n"] < 3 else END)  # noqa: PLR2004
        graph = made.compile(checkpointer=saver)
        start: Any = {"messages": [HumanMessage("o" * 600, id="h")], "n": 0}
        graph.invoke(start, _config(thread), durability="sync")
        first = [
            s.values["messages"][0].content
            for s in graph.get_state_history(_config(thread))
            if s.values.get("messages")
        ]
        _need(that=first[0] == "changed", reason="a change in place was lost")
        _need(that=first[-1] == "o" * 600, reason="a change in place reached an older checkpoint")


def _growth(factory: Factory, thread: str) -> None:
    with factory() as saver:
        history = list(_sizes(saver, thread))
        _need(that=operator.eq(*history), reason="history and head disagree")


def _sizes(saver: Any, thread: str) -> Iterator[int]:
    _run(saver, thread, _Plain)
    yield len(_texts(saver, thread, _Plain))
    newest = next(iter(saver.list(_config(thread))))
    yield len(newest.checkpoint["channel_values"]["messages"])


def _before(factory: Factory, thread: str) -> None:
    with factory() as saver:
        _run(saver, thread, _Plain)
        ids = [each.config["configurable"]["checkpoint_id"] for each in saver.list(_config(thread))]
        middle: Any = {
            "configurable": {**_config(thread)["configurable"], "checkpoint_id": ids[len(ids) // 2]}
        }
        found = len(list(saver.list(_config(thread), before=middle)))
        expected = len(ids) - len(ids) // 2 - 1
        _need(that=found == expected, reason=f"{found} instead of {expected} are older")


def _delta_history(factory: Factory, thread: str) -> None:
    memory = InMemorySaver()
    with factory() as saver:
        _run(saver, thread)
        _run(memory, thread)
        for each in (saver, memory):
            _graph(each, _Deltas).invoke({"n": 0}, _config(thread))
        found, expected = (_replayed(each, thread) for each in (saver, memory))
        _need(that=found == expected, reason="the writes since the last snapshot are others")


def _replayed(saver: Any, thread: str) -> list[Any]:
    told = saver.get_delta_channel_history(config=_config(thread), channels=["messages"])
    history = told["messages"]
    seed = getattr(history.get("seed"), "value", history.get("seed")) or []
    writes = [each for _, _, value in history["writes"] for each in value]
    return [each.content for each in (*seed, *writes)]


def _crash_points(factory: Factory, thread: str) -> None:
    expected = _expected()
    for at in range(1, 60, 4):
        where = f"{thread}-{at}"
        with factory() as saver, suppress(_Cut), _cutting(saver, at):
            start = {"messages": [HumanMessage("hi", id="h")], "n": 0}
            _graph(saver, _Deltas).invoke(start, _config(where), durability="sync")
        with factory() as again:
            graph = _graph(again, _Deltas)
            if again.get_tuple(_config(where)) is None:
                continue
            graph.invoke(None, _config(where), durability="sync")
            found = _texts(again, where)
            _need(that=found == expected, reason=f"after a cut at call {at}: {len(found)} messages")


class _Cut(BaseException):
    """Stands for a process that ended here."""


@contextmanager
def _cutting(saver: Any, at: int) -> Iterator[None]:
    """After so many calls that write, every further one ends the process, so to say."""
    calls = 0

    def counted(inner: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(inner)  # LangGraph looks at the signature
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= at:
                raise _Cut
            return inner(*args, **kwargs)

        return call

    saver.put, saver.put_writes = counted(saver.put), counted(saver.put_writes)
    try:
        yield
    finally:
        del saver.put, saver.put_writes


def _clear(holds: Holds, factory: Factory, thread: str) -> None:
    secret = f"secret-{thread}-words"
    with factory() as saver:
        config = {**_config(thread), "metadata": {"mail": f"{secret}@example.org"}}
        start = {"messages": [HumanMessage(f"{secret} in a message", id="h")], "n": 11}
        _graph(saver, _Plain).invoke(start, config)
        _need(that=not holds(secret.encode()), reason="a secret can be read in the store")


def _expiry(expire: Expire, factory: Factory, thread: str) -> None:
    with factory() as saver:
        _run(saver, thread)
        expire(saver, thread)
        found = _texts(saver, thread)
        whole = found in ([], _expected())
        _need(that=whole, reason=f"{len(found)} of {len(_expected())} messages are left")


PROBES: dict[str, Callable[[Factory, str], None]] = {
    "writes replay in live order": _write_order,
    "pending writes are ordered": _pending_order,
    "prune keeps delta channels": _delta_prune,
    "copies are whole": _delta_copy,
    "deletes are final": _late_write,
    "second writer is told": _two_writers,
    "values keep their types": _fidelity,
    "changes in place are right": _mutation,
    "list agrees with head": _growth,
    "list before a checkpoint": _before,
    "delta history is whole": _delta_history,
    "a cut at any call is survived": _crash_points,
}
