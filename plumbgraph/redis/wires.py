"""Batches over pooled connections: packed at once, sent at once, without a client's layers.

A client of redis-py spends more time on a command than the server does. So a batch is packed
here and goes straight over a connection of the client's pool, and connections that were just used
are kept at hand instead of going back into the pool's books after each batch.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from redis import exceptions

Words: TypeAlias = tuple[Any, ...]
Replies: TypeAlias = list[Any]
Held: TypeAlias = tuple[Any, float]
"""A connection and since when nobody uses it."""

_TRUSTED_S = 0.05
_ALL_TAKEN = "No connection available."


def packed(batch: Iterable[Words]) -> bytes:
    """A batch in the server's protocol.

    Raises:
        DataError: A word is neither text, bytes nor a number.
    """
    parts: list[bytes] = []
    for words in batch:
        parts.append(b"*%d\r\n" % len(words))
        for word in words:
            raw = word.encode() if type(word) is str else _raw(word)
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def _raw(word: Any) -> bytes:
    if isinstance(word, bytes):
        return word
    if isinstance(word, str):
        return str(word).encode()
    if isinstance(word, bytearray | memoryview):
        return bytes(word)
    if isinstance(word, bool) or not isinstance(word, int | float):
        raise exceptions.DataError(f"{word!r} is no word of a command: give text or a number.")
    return repr(word).encode()


def translated(callbacks: Mapping[Any, Callable[[Any], Any]], words: Words, reply: Any) -> Any:
    """The reply in the form redis-py gives it, whichever protocol the server speaks."""
    if isinstance(reply, Exception) or words[0] not in callbacks:
        return reply
    return callbacks[words[0]](reply)


class Line:
    """Who may use a connection next: those at hand first, then new ones, then in order of asking.

    A pool wakes one of those that wait and lets whoever runs take the connection first, so that of
    many busy threads some wait for ever.

    Args:
        most: Most connections in use.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._idle: deque[Held] = deque()
        self._asking: deque[Callable[[Held | None], None]] = deque()
        self._free = most

    def take(self, tell: Callable[[Held | None], None]) -> tuple[bool, Held | None]:
        """Whether it is one's turn at once, and the connection if one is at hand.

        Else `tell` is called when it is, with a connection or with the right to open one.
        """
        with self._lock:
            if self._idle:
                return True, self._idle.pop()
            if self._free > 0:
                self._free -= 1
                return True, None
            self._asking.append(tell)
            return False, None

    def leave(self, tell: Callable[[Held | None], None]) -> bool:
        """Stop asking; whether nobody has told yet."""
        with self._lock:
            if tell in self._asking:
                self._asking.remove(tell)
                return True
            return False

    def give(self, held: Held | None) -> None:
        """Hand a connection, or the right to open one, to who asked first."""
        with self._lock:
            tell = self._asking.popleft() if self._asking else None
            if tell is None and held is not None:
                self._idle.append(held)
            elif tell is None:
                self._free += 1
        if tell is not None:
            tell(held)


class Wires:
    """The connections of one pool, for blocking callers of any thread.

    Args:
        client: Whose pool and translations to use.
        most: Most connections in use at once.
        timeout_s: Longest wait for one of them.
    """

    def __init__(self, client: Any, *, most: int, timeout_s: float) -> None:
        self.client = client
        self._pool = client.connection_pool
        self._callbacks = client.response_callbacks
        self._timeout_s = timeout_s
        self._line = Line(most)

    def exchange(self, batch: Sequence[Words]) -> Replies:
        """The replies to a batch, a refusal in its place; one round trip."""
        data = [packed(batch)]
        wire = self._taken()
        try:
            wire.send_packed_command(data)
            replies = [self._reply(wire, words) for words in batch]
        except BaseException:
            try:
                wire.disconnect()
            finally:
                self._dropped(wire)
            raise
        if wire.should_reconnect():
            self._dropped(wire)
        else:
            self._line.give((wire, time.monotonic()))
        return replies

    def _reply(self, wire: Any, words: Words) -> Any:
        try:
            reply = wire.read_response()
        except exceptions.ResponseError as error:
            return error
        return translated(self._callbacks, words, reply)

    def _taken(self) -> Any:
        held = self._turn()
        if held is not None and _trusted(held[1]):
            return held[0]
        try:
            if held is not None:
                # The server may have closed it meanwhile; the pool finds out and connects anew.
                self._pool.release(held[0])
            return self._pool.get_connection()
        except BaseException:
            self._line.give(None)
            raise

    def _turn(self) -> Held | None:
        told: SimpleQueue[Held | None] = SimpleQueue()
        tell = told.put
        mine, held = self._line.take(tell)
        if mine:
            return held
        try:
            return told.get(timeout=self._timeout_s)
        except BaseException as error:
            if not self._line.leave(tell):
                self._line.give(told.get())
            if isinstance(error, Empty):
                raise exceptions.ConnectionError(_ALL_TAKEN) from error
            raise

    def _dropped(self, wire: Any) -> None:
        try:
            self._pool.release(wire)
        finally:
            self._line.give(None)


def _trusted(since: float) -> bool:
    return time.monotonic() - since < _TRUSTED_S


class AsyncWires:
    """The connections of one pool, for the tasks of one event loop; see `Wires`.

    Args:
        client: Whose pool and translations to use.
        most: Most connections in use at once.
        timeout_s: Longest wait for one of them, and for the replies to a batch.
    """

    def __init__(self, client: Any, *, most: int, timeout_s: float) -> None:
        self.client = client
        self._pool = client.connection_pool
        self._callbacks = client.response_callbacks
        self._timeout_s = timeout_s
        self._line = Line(most)

    async def exchange(self, batch: Sequence[Words]) -> Replies:
        """The replies to a batch, a refusal in its place; one round trip."""
        data = [packed(batch)]
        wire = await self._taken()
        try:
            async with asyncio.timeout(self._timeout_s):
                await wire.send_packed_command(data)
                replies = [await self._reply(wire, words) for words in batch]
        except BaseException as error:
            try:
                await wire.disconnect(nowait=True)
            finally:
                await self._dropped(wire)
            if isinstance(error, TimeoutError):
                raise exceptions.TimeoutError("Timeout reading from the server.") from error
            raise
        if wire.should_reconnect():
            await self._dropped(wire)
        else:
            self._line.give((wire, time.monotonic()))
        return replies

    async def _reply(self, wire: Any, words: Words) -> Any:
        try:
            reply = await wire.read_response()
        except exceptions.ResponseError as error:
            return error
        return translated(self._callbacks, words, reply)

    async def _taken(self) -> Any:
        held = await self._turn()
        if held is not None and _trusted(held[1]):
            return held[0]
        try:
            if held is not None:
                await self._pool.release(held[0])
            return await self._pool.get_connection()
        except BaseException:
            self._line.give(None)
            raise

    async def _turn(self) -> Held | None:
        told: asyncio.Future[Held | None] = asyncio.get_running_loop().create_future()
        tell = partial(_tell, told)
        mine, held = self._line.take(tell)
        if mine:
            return held
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(told)
        except BaseException as error:
            if not self._line.leave(tell):
                self._line.give(told.result())
            if isinstance(error, TimeoutError):
                raise exceptions.ConnectionError(_ALL_TAKEN) from error
            raise

    async def _dropped(self, wire: Any) -> None:
        try:
            await self._pool.release(wire)
        finally:
            self._line.give(None)


def _tell(told: asyncio.Future[Held | None], held: Held | None) -> None:
    told.set_result(held)
