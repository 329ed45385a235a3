"""What all copies of a saver share: the database, its caches, and what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from plumbgraph.errors import SettingsError
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import SqlPlan
from plumbgraph.state.cache import ByteCache, Recent
from plumbgraph.state.context import StreamKey
from plumbgraph.state.crypt import Vault, secret_of
from plumbgraph.state.frames import Cipher
from plumbgraph.state.ids import checked_text
from plumbgraph.state.logs import LogBook
from plumbgraph.state.pace import Paces
from plumbgraph.state.refs import Channels, Shelf
from plumbgraph.state.spans import Span

if TYPE_CHECKING:
    from plumbgraph.state.retention import Retention

Tenant: TypeAlias = str | Callable[[Mapping[str, Any]], str]
CheckpointKey: TypeAlias = tuple[StreamKey, str]


@dataclass(slots=True, eq=False)
class _Flight:
    """One call; what waits for its end is made when somebody does."""

    end: Future[None] | None = None


class Flights:
    """Calls this process has begun and not finished, by what they write to."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._flying: dict[CheckpointKey, list[_Flight]] = {}

    @contextmanager
    def flight(self, key: CheckpointKey) -> Iterator[None]:
        """Announce a call for as long as the block lasts; its error is the flight's."""
        flight = _Flight()
        with self._lock:
            self._flying.setdefault(key, []).append(flight)
        try:
            yield
        except BaseException as error:
            if (end := self._end(key, flight)) is not None:
                end.set_exception(error)
            raise
        if (end := self._end(key, flight)) is not None:
            end.set_result(None)

    def _end(self, key: CheckpointKey, flight: _Flight) -> Future[None] | None:
        with self._lock:
            flying = self._flying[key]
            flying.remove(flight)
            if not flying:
                del self._flying[key]
            return flight.end

    def number(self, key: CheckpointKey) -> int:
        """How many calls are under way."""
        with self._lock:
            return len(self._flying.get(key, ()))

    def of(self, key: CheckpointKey) -> list[Future[None]]:
        """The ends of the calls under way."""
        with self._lock:
            flying = self._flying.get(key, ())
            for flight in flying:
                flight.end = flight.end or Future()
            return [flight.end for flight in flying if flight.end is not None]

    def wait(self, key: CheckpointKey) -> None:
        """Block until the calls that are under way now are over, however they end."""
        if flying := self.of(key):
            wait(flying)

    async def await_(self, key: CheckpointKey) -> None:
        """Await the same."""
        if flying := self.of(key):
            await asyncio.gather(*map(asyncio.wrap_future, flying), return_exceptions=True)


@dataclass(slots=True)
class Core:
    """The shared part of a saver; caches hold nothing that correctness rests on."""

    db: Database
    tenant: Tenant
    on_stale: Literal["raise", "fork"]
    retention: Retention | None = None
    vault: Vault | None = None
    book: LogBook = field(default_factory=LogBook)
    cached: ByteCache = field(default_factory=ByteCache)
    channels: Recent[CheckpointKey, Channels] = field(default_factory=lambda: Recent(1024))
    handed: Recent[CheckpointKey, dict[str, Shelf]] = field(default_factory=lambda: Recent(1024))
    logs: Recent[StreamKey, list[Span]] = field(default_factory=lambda: Recent(4096))
    generations: Recent[tuple[str, str], int] = field(default_factory=lambda: Recent(4096))
    committed: Recent[CheckpointKey, bool] = field(default_factory=lambda: Recent(4096))
    ciphers: Recent[tuple[str, str], Cipher] = field(default_factory=lambda: Recent(1024))
    puts: Flights = field(default_factory=Flights)
    writes: Flights = field(default_factory=Flights)
    paces: Paces = field(default_factory=Paces)
    number: int = field(default_factory=count().__next__)

    def scope(self, tenant: str) -> str:
        """A tenant's name in context variables, which other savers' tenants share."""
        return f"{self.number}:{tenant}"

    def tenant_of(self, config: Mapping[str, Any]) -> str:
        """The tenant a config belongs to.

        Raises:
            SettingsError: The tenant is a function, and cannot tell it from this config.
        """
        if isinstance(self.tenant, str):
            return self.tenant
        try:
            found = self.tenant(config)
        except (LookupError, TypeError, AttributeError) as error:
            raise SettingsError(
                f"The tenant cannot be told from this config: {error!r}.",
                hint="Outside of runs name it: saver.for_tenant(…) has the same methods.",
            ) from error
        return checked_text("tenant", found)

    def stream_of(self, config: Mapping[str, Any]) -> StreamKey:
        """Tenant, thread and namespace of a config.

        Raises:
            SettingsError: It names no thread, or one PostgreSQL cannot hold.
        """
        found = config.get("configurable", {})
        if found.get("thread_id") is None:
            raise SettingsError(
                "The config names no thread_id.",
                hint='Pass {"configurable": {"thread_id": …}} when calling the graph.',
            )
        thread = checked_text("thread_id", found["thread_id"])
        ns = checked_text("checkpoint_ns", found.get("checkpoint_ns") or "")
        return self.tenant_of(config), thread, ns

    def cipher(self, tenant: str, thread: str, secret: bytes | None) -> Cipher | None:
        """The cipher of a thread whose stored secret this is; None without encryption."""
        if self.vault is None:
            return None
        found = self.ciphers.get((tenant, thread))
        if found is None:
            found = self.vault.cipher(secret)
            self.ciphers.put((tenant, thread), found)
        return found

    def writing_cipher(self, tenant: str, thread: str) -> SqlPlan[Cipher | None]:
        """The cipher to write to a thread with; its key is made where there is none."""
        if self.vault is None:
            return None
        found = self.ciphers.get((tenant, thread))
        if found is not None:
            return found
        secret = yield from secret_of(self.vault, tenant, thread)
        return self.cipher(tenant, thread, secret)

    @property
    def tag_key(self) -> bytes:
        """What keys the hashes of metadata; empty without encryption."""
        return b"" if self.vault is None else self.vault.encryption.tag_key

    def learn_generation(self, tenant: str, thread: str, generation: int) -> None:
        """Note a thread's generation; content was taken away since another, so forget all of it."""
        known = self.generations.get((tenant, thread))
        if known is not None and known != generation:
            self.forget(tenant, thread)
        self.generations.put((tenant, thread), generation)

    def forget(self, tenant: str, thread: str) -> None:
        """Drop everything cached about a thread."""

        def of_thread(key: Any) -> bool:
            return bool(key[0][:2] == (tenant, thread))

        for cache in (self.channels, self.handed, self.committed):
            cache.drop(of_thread)
        self.logs.drop(lambda key: key[:2] == (tenant, thread))
        self.generations.pop((tenant, thread))
        self.ciphers.pop((tenant, thread))
        self.book.forget((tenant, thread))

    def forget_all(self) -> None:
        """Drop everything cached about all threads."""
        for tenant, thread in self.generations.known():
            self.forget(tenant, thread)
        self.cached.clear()
