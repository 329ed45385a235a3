"""What an event loop holds open: closed when the loop ends or nobody can use it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, finalize

from plumbgraph.redis.cluster import Address
from plumbgraph.redis.wires import AsyncWires


@dataclass(eq=False, slots=True)
class _Held:
    """One owner's connections in one loop."""

    end: _End
    wires: dict[Address | None, AsyncWires] = field(default_factory=dict)

    async def close(self) -> None:
        while self.wires:
            address = next(iter(self.wires))
            try:
                await self.wires[address].client.aclose()
            finally:
                self.wires.pop(address, None)


class _End:
    """Waits for the end of one loop, as a generator that `asyncio.run` closes at last."""

    def __init__(self) -> None:
        self._open: set[_Held] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._waiting = self._wait()
        with suppress(StopIteration):
            self._waiting.asend(None).send(None)

    async def _wait(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            for held in tuple(self._open):
                await self.close(held)

    def keep(self, held: _Held) -> None:
        self._open.add(held)

    async def close(self, held: _Held) -> None:
        await held.close()
        self._open.discard(held)

    def leave(self, held: _Held) -> None:
        task = asyncio.get_running_loop().create_task(self.close(held))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


_ends: WeakKeyDictionary[asyncio.AbstractEventLoop, _End] = WeakKeyDictionary()


def _end_of(loop: asyncio.AbstractEventLoop) -> _End:
    known = _ends.get(loop)
    if known is None:
        _forget_ended(_ends)
        known = _ends[loop] = _End()
    return known


def _forget_ended(by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Any]) -> None:
    """Drop what closed loops left: open connections would keep their loop for ever."""
    for loop in [ref() for ref in by_loop.keyrefs()]:
        if loop is not None and loop.is_closed():
            by_loop.pop(loop, None)


class LoopWires:
    """An owner's connections, those of each event loop apart.

    They are closed by `aclose`; when the loop ends (`asyncio.run` and `asyncio.Runner` tell, a
    bare `loop.close()` does not); or, in a loop that goes on, when the owner is gone.
    """

    def __init__(self) -> None:
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, _Held] = WeakKeyDictionary()
        finalize(self, _left, self._held).atexit = False

    def here(self) -> dict[Address | None, AsyncWires]:
        """The running loop's connections, by the node they lead to."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            _forget_ended(self._held)
            held = self._held[loop] = _Held(_end_of(loop))
            held.end.keep(held)
        return held.wires

    async def aclose(self) -> None:
        """Close the running loop's connections."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held.end.close(held)


def _left(by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Held]) -> None:
    for loop, held in list(by_loop.items()):
        with suppress(RuntimeError):  # a closed loop
            loop.call_soon_threadsafe(held.end.leave, held)
