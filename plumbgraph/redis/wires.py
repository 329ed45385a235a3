"""Batches over pooled connections: packed at once, sent at once, without a client's layers.

A client of redis-py spends more time on a command than the server does. So a batch is packed
here and goes straight over a connection of the client's pool, and connections that were just used
are kept at hand instead of going back into the pool's books after each batch.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from redis import exceptions

Words: TypeAlias = tuple[Any, ...]
Replies: TypeAlias = list[Any]

_TRUSTED_S = 0.05


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


class Wires:
    """The connections of one pool, for blocking callers of any thread.

    Args:
        client: Whose pool and translations to use.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._pool = client.connection_pool
        self._callbacks = client.response_callbacks
        self._idle: deque[tuple[Any, float]] = deque()
        self._waiters: deque[None] = deque()

    def exchange(self, batch: Sequence[Words]) -> Replies:
        """The replies to a batch, a refusal in its place; one round trip."""
        data = [packed(batch)]
        wire = self._taken()
        try:
            wire.send_packed_command(data)
            replies = [self._reply(wire, words) for words in batch]
        except BaseException:
            wire.disconnect()
            self._pool.release(wire)
            raise
        self._returned(wire)
        return replies

    def _reply(self, wire: Any, words: Words) -> Any:
        try:
            reply = wire.read_response()
        except exceptions.ResponseError as error:
            return error
        return translated(self._callbacks, words, reply)

    def _taken(self) -> Any:
        stale = self._popped()
        if stale is not None and _trusted(stale[1]):
            return stale[0]
        # Said before looking again: who puts a connection down looks here afterwards.
        self._waiters.append(None)
        try:
            stale = stale or self._popped()
            if stale is not None:
                # The server may have closed it meanwhile; the pool finds out and connects anew.
                self._pool.release(stale[0])
            return self._pool.get_connection()
        finally:
            self._waiters.pop()

    def _popped(self) -> tuple[Any, float] | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _returned(self, wire: Any) -> None:
        if wire.should_reconnect():
            self._pool.release(wire)
            return
        self._idle.append((wire, time.monotonic()))
        if self._waiters and (surplus := self._popped()):
            self._pool.release(surplus[0])


def _trusted(since: float) -> bool:
    return time.monotonic() - since < _TRUSTED_S


class AsyncWires:
    """The connections of one pool, for the tasks of one event loop; see `Wires`.

    Args:
        timeout_s: Longest wait for the replies to a batch.
    """

    def __init__(self, client: Any, *, timeout_s: float) -> None:
        self.client = client
        self._pool = client.connection_pool
        self._callbacks = client.response_callbacks
        self._timeout_s = timeout_s
        self._idle: deque[tuple[Any, float]] = deque()
        self._waiting = 0

    async def exchange(self, batch: Sequence[Words]) -> Replies:
        """The replies to a batch, a refusal in its place; one round trip."""
        data = [packed(batch)]
        wire = await self._taken()
        try:
            async with asyncio.timeout(self._timeout_s):
                await wire.send_packed_command(data)
                replies = [await self._reply(wire, words) for words in batch]
        except BaseException as error:
            await wire.disconnect(nowait=True)
            await self._pool.release(wire)
            if isinstance(error, TimeoutError):
                raise exceptions.TimeoutError("Timeout reading from the server.") from error
            raise
        await self._returned(wire)
        return replies

    async def _reply(self, wire: Any, words: Words) -> Any:
        try:
            reply = await wire.read_response()
        except exceptions.ResponseError as error:
            return error
        return translated(self._callbacks, words, reply)

    async def _taken(self) -> Any:
        stale = self._idle.pop() if self._idle else None
        if stale is not None and _trusted(stale[1]):
            return stale[0]
        self._waiting += 1
        try:
            if stale is not None:
                await self._pool.release(stale[0])
            return await self._pool.get_connection()
        finally:
            self._waiting -= 1

    async def _returned(self, wire: Any) -> None:
        if self._waiting or wire.should_reconnect():
            await self._pool.release(wire)
        else:
            self._idle.append((wire, time.monotonic()))
