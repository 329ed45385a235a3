"""Random puts, writes, forks, copies, prunes and deletes against a plain model, both colours."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from plumbgraph.errors import ThreadDeleted
from plumbgraph.state import PlumbSaver

THREADS = ("x", "y", "z")
FILLER = "words and more words " * 30


@dataclass
class Node:
    """One checkpoint of the model; values are kept as texts, so later mutation cannot reach it."""

    parent: str | None
    values: dict[str, str]
    versions: dict[str, int]
    writes: dict[tuple[str, int], tuple[str, str, str]] = field(default_factory=dict)


@dataclass
class Thread:
    nodes: dict[str, Node] = field(default_factory=dict)
    head: str | None = None
    deleted: bool = False


class Machine(RuleBasedStateMachine):
    """The saver beside its model; `other` is a second process's saver on the same tables."""

    savers: tuple[PlumbSaver, PlumbSaver]
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"run{next(self.numbers)}-"
        self.threads = {name: Thread() for name in THREADS}
        self.lives: dict[tuple[str, str], dict[str, Any]] = {}
        self.n = 0

    def _id(self, thread: str, checkpoint: str | None = None) -> Any:
        found = {"thread_id": self.prefix + thread, "checkpoint_ns": ""}
        return {"configurable": found | ({"checkpoint_id": checkpoint} if checkpoint else {})}

    def _call(self, second: int, colour: str, name: str, *args: Any, **options: Any) -> Any:
        saver = self.savers[second]
        if colour == "sync":
            return getattr(saver, name)(*args, **options)

        async def call() -> Any:
            try:
                return await getattr(saver, f"a{name}")(*args, **options)
            finally:
                await saver._core.db.aclose()

        return asyncio.run(call())

    @rule(
        thread=st.sampled_from(THREADS),
        second=st.integers(0, 1),
        colour=st.sampled_from(["sync", "sync", "async"]),
        back=st.integers(0, 3),
        change=st.lists(
            st.sampled_from(["append", "many", "replace", "mutate", "remove", "file", "drop"]),
            max_size=4,
        ),
    )
    def put(self, thread: str, second: int, colour: str, back: int, change: list[str]) -> None:
        model = self.threads[thread]
        ids = list(model.nodes)
        parent = model.head if back < 3 or not ids else ids[len(ids) // 2]
        live = self._live(thread, parent, second)
        old = model.nodes[parent].versions if parent else {}
        for step in change:
            self._change(live, step)
        new = {
            k: old.get(k, 0) + 1 for k, v in live.items() if repr(v) != self._old(model, parent, k)
        }
        checkpoint = empty_checkpoint()
        checkpoint["id"] = str(uuid6(clock_seq=-1))
        checkpoint["channel_values"] = live
        checkpoint["channel_versions"] = {**old, **new}
        args = (self._id(thread, parent), checkpoint, {"source": "loop", "step": self.n}, new)
        if model.deleted:
            with pytest.raises(ThreadDeleted):
                self._call(second, colour, "put", *args)
            return
        self._call(second, colour, "put", *args)
        values = {k: repr(v) for k, v in live.items()}
        model.nodes[checkpoint["id"]] = Node(parent, values, dict(old) | new)
        model.head = checkpoint["id"]
        self.lives[thread, checkpoint["id"]] = live

    @staticmethod
    def _old(model: Thread, parent: str | None, channel: str) -> str | None:
        return model.nodes[parent].values.get(channel) if parent else None

    def _live(self, thread: str, parent: str | None, second: int) -> dict[str, Any]:
        """The very objects of the parent, as a running graph holds them, or freshly read ones."""
        if parent is None:
            return {"messages": [], "files": {}, "n": 0}
        if second or (thread, parent) not in self.lives:
            found = self.savers[second].get_tuple(self._id(thread, parent))
            assert found is not None
            return {"messages": [], "files": {}, **found.checkpoint["channel_values"]}
        live = self.lives[thread, parent]
        return {"messages": list(live["messages"]), "files": dict(live["files"]), "n": live["n"]}

    def _change(self, live: dict[str, Any], step: str) -> None:
        self.n += 1
        messages, files = live["messages"], live["files"]
        live["n"] = self.n
        if step in ("append", "many"):
            count = 1 if step == "append" else 40
            for at in range(count):
                kind = AIMessage if at % 2 else HumanMessage
                messages.append(kind(f"{self.n}.{at} {FILLER}", id=f"{self.n}.{at}"))
        elif step == "replace" and messages:
            messages[self.n % len(messages)] = AIMessage(f"new {self.n} {FILLER}", id=str(self.n))
        elif step == "mutate" and messages:
            # A copy, because a live object is shared with checkpoints the model has closed.
            at = self.n % len(messages)
            messages[at] = messages[at].model_copy(deep=True)
            messages[at].additional_kwargs["n"] = self.n
        elif step == "remove" and messages:
            del messages[self.n % len(messages)]
        elif step == "file":
            files[f"f{self.n % 7}"] = {"text": f"{self.n} {FILLER}"}
        elif step == "drop" and files:
            del files[next(iter(files))]

    @precondition(lambda self: any(t.nodes for t in self.threads.values()))
    @rule(
        thread=st.sampled_from(THREADS),
        second=st.integers(0, 1),
        task=st.sampled_from(["t1", "t2"]),
        path=st.sampled_from(["", "~b", "~a"]),
        kinds=st.lists(
            st.sampled_from(["messages", "n", "__error__", "__interrupt__"]), max_size=4
        ),
    )
    def put_writes(self, thread: str, second: int, task: str, path: str, kinds: list[str]) -> None:
        model = self.threads[thread]
        if model.head is None:
            return
        self.n += 1
        writes = [
            (
                kind,
                [HumanMessage(f"w{self.n} {FILLER}", id=f"w{self.n}")]
                if kind == "messages"
                else f"{kind} {self.n}",
            )
            for kind in kinds
        ]
        self._call(second, "sync", "put_writes", self._id(thread, model.head), writes, task, path)
        stored = model.nodes[model.head].writes
        for at, (kind, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(kind, at)
            if index < 0 or (task, index) not in stored:
                old = stored.get((task, index))
                stored[task, index] = (old[0] if old else path, kind, repr(value))

    @rule(source=st.sampled_from(THREADS), goal=st.sampled_from(THREADS), second=st.integers(0, 1))
    def copy(self, source: str, goal: str, second: int) -> None:
        old, new = self.threads[source], self.threads[goal]
        if source == goal or not old.nodes or new.nodes or new.deleted:
            return
        self._call(second, "sync", "copy_thread", self.prefix + source, self.prefix + goal)
        new.head = old.head
        for name, node in old.nodes.items():
            new.nodes[name] = Node(node.parent, node.values, node.versions, dict(node.writes))

    @rule(
        thread=st.sampled_from(THREADS),
        second=st.integers(0, 1),
        colour=st.sampled_from(["sync", "async"]),
    )
    def prune(self, thread: str, second: int, colour: str) -> None:
        model = self.threads[thread]
        self._call(second, colour, "prune", [self.prefix + thread])
        model.nodes = {k: v for k, v in model.nodes.items() if k == model.head}

    @rule(thread=st.sampled_from(THREADS), second=st.integers(0, 1))
    def clear(self, thread: str, second: int) -> None:
        model = self.threads[thread]
        if len(model.nodes) > 4:
            self._call(second, "sync", "prune", [self.prefix + thread], strategy="delete")
            model.nodes, model.head = {}, None

    @rule(thread=st.just("z"), second=st.integers(0, 1))
    def delete(self, thread: str, second: int) -> None:
        model = self.threads[thread]
        if len(model.nodes) > 2:
            self._call(second, "sync", "delete_thread", self.prefix + thread)
            model.nodes, model.head, model.deleted = {}, None, True

    @rule(second=st.integers(0, 1), colour=st.sampled_from(["sync", "sync", "async"]))
    def compare(self, second: int, colour: str) -> None:
        self._compare(second, colour)

    def _compare(self, second: int, colour: str) -> None:
        for name, model in self.threads.items():
            head = self._call(second, colour, "get_tuple", self._id(name))
            assert (head and head.checkpoint["id"]) == model.head
            if head is not None:
                self._same(head, model)
            for found in self.savers[second].list(self._id(name)):
                self._same(found, model)
            listed = [t.checkpoint["id"] for t in self.savers[second].list(self._id(name))]
            assert listed == sorted(model.nodes, reverse=True)

    def _same(self, found: CheckpointTuple, model: Thread) -> None:
        node = model.nodes[found.checkpoint["id"]]
        got = {k: repr(v) for k, v in found.checkpoint["channel_values"].items()}
        assert got == node.values
        assert found.checkpoint["channel_versions"] == node.versions
        parent = found.parent_config and found.parent_config["configurable"]["checkpoint_id"]
        assert parent == node.parent
        order = sorted(node.writes, key=lambda key: (node.writes[key][0], *key))
        expected = [(task, *node.writes[task, at][1:]) for task, at in order]
        assert [(t, c, repr(v)) for t, c, v in found.pending_writes or ()] == expected

    def teardown(self) -> None:
        self._compare(1, "sync")


@pytest.mark.parametrize(
    "examples", [8, pytest.param(120, marks=[pytest.mark.crash, pytest.mark.timeout(1200)])]
)
def test_the_saver_is_its_model(postgres_url: str, schema: str, examples: int) -> None:
    with (
        PlumbSaver(postgres_url, schema=schema, on_stale="fork") as one,
        PlumbSaver(postgres_url, schema=schema, on_stale="fork") as two,
    ):
        one.setup()
        Machine.savers = (one, two)
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=30,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
