"""LangGraph's official conformance suite, for the asynchronous and the blocking half of a saver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.conformance import checkpointer_test, validate

Factory = Callable[[], AbstractAsyncContextManager[BaseCheckpointSaver[Any]]]


@dataclass(frozen=True, slots=True)
class Conformance:
    """What the suite found.

    Attributes:
        passed: How many tests passed.
        failures: Name and reason of each that did not, a capability that is missing included.
    """

    passed: int
    failures: tuple[str, ...]


class Blocking(BaseCheckpointSaver[Any]):
    """A saver whose asynchronous methods call the blocking ones of another, in a thread."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        super().__init__(serde=saver.serde)
        self._saver = saver

    async def aget_tuple(self, config: Any) -> CheckpointTuple | None:
        """`get_tuple` of the other."""
        return await asyncio.to_thread(self._saver.get_tuple, config)

    async def alist(self, config: Any, **options: Any) -> AsyncIterator[CheckpointTuple]:
        """`list` of the other."""
        for found in await asyncio.to_thread(lambda: [*self._saver.list(config, **options)]):
            yield found

    async def aput(self, *arguments: Any) -> Any:
        """`put` of the other."""
        return await asyncio.to_thread(self._saver.put, *arguments)

    async def aput_writes(
        self, config: Any, writes: Any, task_id: str, task_path: str = ""
    ) -> None:
        """`put_writes` of the other."""
        await asyncio.to_thread(self._saver.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """`delete_thread` of the other."""
        await asyncio.to_thread(self._saver.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """`delete_for_runs` of the other."""
        await asyncio.to_thread(self._saver.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """`copy_thread` of the other."""
        await asyncio.to_thread(self._saver.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """`prune` of the other."""
        await asyncio.to_thread(self._saver.prune, thread_ids, strategy=strategy)


async def conformance(factory: Factory, *, blocking: bool = False) -> Conformance:
    """Run the official suite on the savers a factory makes.

    Args:
        factory: Makes a fresh saver each time, as an asynchronous context manager.
        blocking: Test the blocking methods instead of the asynchronous ones.
    """

    async def make() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        async with factory() as saver:
            yield Blocking(saver) if blocking else saver

    report = await validate(checkpointer_test(name="saver")(make))
    results = report.to_dict()["results"]
    failures = [failure for found in results.values() for failure in found["failures"]]
    missing = [f"{name} is missing" for name, found in results.items() if not found["detected"]]
    passed = sum(found["tests_passed"] for found in results.values())
    return Conformance(passed, (*failures, *missing))
