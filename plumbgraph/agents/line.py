"""A thread's line of history as its checkpointer knows it, for the effect journal."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from plumbgraph.effects import Line
from plumbgraph.state import PlumbSaver, current_branch

_MOST = 4096


def line_of(saver: BaseCheckpointSaver[Any], *, tenant: str = "default") -> Line:
    """What the journal asks of a checkpointer; a PlumbSaver answers best, any other will do."""
    return PlumbLine(saver, tenant) if isinstance(saver, PlumbSaver) else SaverLine(saver)


def _config(thread_id: str, ns: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    found = {"thread_id": thread_id, "checkpoint_ns": ns}
    if checkpoint_id is not None:
        found["checkpoint_id"] = checkpoint_id
    return {"configurable": found}


def _id(found: CheckpointTuple | None) -> str:
    return str(found.checkpoint["id"]) if found is not None else ""


class PlumbLine:
    """PlumbSaver keeps branches, and tells when a checkpoint is committed."""

    def __init__(self, saver: PlumbSaver, tenant: str) -> None:
        self._saver = saver
        self._tenant = tenant

    def branch(self, thread_id: str, checkpoint_id: str) -> str:  # noqa: ARG002 - the protocol's
        """The saver's branch."""
        return current_branch(thread_id, tenant=self._tenant)

    async def abranch(self, thread_id: str, checkpoint_id: str) -> str:
        """See `branch`."""
        return self.branch(thread_id, checkpoint_id)

    def committed(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str, *, timeout_s: float
    ) -> bool:
        """Waits for the saver's own put, or anybody's."""
        return self._saver.wait_committed(
            thread_id, checkpoint_ns, checkpoint_id, timeout_s=timeout_s
        )

    async def acommitted(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str, *, timeout_s: float
    ) -> bool:
        """See `committed`."""
        return await self._saver.await_committed(
            thread_id, checkpoint_ns, checkpoint_id, timeout_s=timeout_s
        )

    def base(self, thread_id: str) -> str:
        """The thread's head."""
        return _id(self._saver.get_tuple(_config(thread_id)))

    async def abase(self, thread_id: str) -> str:
        """See `base`."""
        return _id(await self._saver.aget_tuple(_config(thread_id)))


class SaverLine:
    """Any checkpointer: commits are polled for, branches read off the parents of checkpoints.

    A branch begins at a checkpoint that LangGraph marked as a fork, or at a hand-made update
    whose parent had gone on already.
    """

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        self._saver = saver
        self._branches: OrderedDict[str, str] = OrderedDict()

    def branch(self, thread_id: str, checkpoint_id: str) -> str:
        """The id of the checkpoint at which the branch begins; nothing for the first branch."""
        if checkpoint_id not in self._branches:
            found = self._saver.list(_config(thread_id))
            self._learn(list(found))
        return self._branches.get(checkpoint_id, "")

    async def abranch(self, thread_id: str, checkpoint_id: str) -> str:
        """See `branch`."""
        if checkpoint_id not in self._branches:
            self._learn([each async for each in self._saver.alist(_config(thread_id))])
        return self._branches.get(checkpoint_id, "")

    def _learn(self, found: list[CheckpointTuple]) -> None:
        self._branches.update(branches(found))
        while len(self._branches) > _MOST:
            self._branches.popitem(last=False)

    def committed(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str, *, timeout_s: float
    ) -> bool:
        """Looks until the checkpoint is there."""
        until = time.monotonic() + timeout_s
        config = _config(thread_id, checkpoint_ns, checkpoint_id)
        for pause in _pauses():
            if self._saver.get_tuple(config) is not None:
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(pause)
        return False

    async def acommitted(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str, *, timeout_s: float
    ) -> bool:
        """See `committed`."""
        until = time.monotonic() + timeout_s
        config = _config(thread_id, checkpoint_ns, checkpoint_id)
        for pause in _pauses():
            if await self._saver.aget_tuple(config) is not None:
                return True
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(pause)
        return False

    def base(self, thread_id: str) -> str:
        """The thread's newest checkpoint."""
        return _id(self._saver.get_tuple(_config(thread_id)))

    async def abase(self, thread_id: str) -> str:
        """See `base`."""
        return _id(await self._saver.aget_tuple(_config(thread_id)))


def branches(found: Iterable[CheckpointTuple]) -> dict[str, str]:
    """The branch of each checkpoint of one namespace, by id."""
    ordered = sorted(found, key=lambda each: each.checkpoint["id"])
    result: dict[str, str] = {}
    gone_on: set[str] = set()
    for each in ordered:
        own, parent = each.checkpoint["id"], _parent(each)
        source = each.metadata.get("source")
        begins = source == "fork" or (source == "update" and parent in gone_on)
        result[own] = own if begins else result.get(parent, "")
        gone_on.add(parent)
    return result


def _parent(found: CheckpointTuple) -> str:
    parent = (found.parent_config or {}).get("configurable", {})
    return str(parent.get("checkpoint_id", ""))


def _pauses() -> Iterator[float]:
    return chain((0.001, 0.002, 0.005, 0.01, 0.02, 0.05), repeat(0.1))
