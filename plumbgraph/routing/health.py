"""Breakers: a model that fails again and again is left alone for a while, by every process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from threading import Lock
from typing import Any, Protocol

from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.errors import StoreUnavailable
from plumbgraph.redis.clients import Command, Redis, RedisPlan
from plumbgraph.redis.library import Call, library, tag_of

_LIBRARY = library("routing")  # read now: made inside an event loop, too


class State(IntEnum):
    """What a breaker says of a model."""

    READY = 0
    RESTING = 1
    PROBE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When a model is left alone, and for how long.

    Attributes:
        failures: After so many in a row it rests; a provider's own `Retry-After` counts at
            once.
        rest_s: For how long at first; doubled with each further failure.
        most_s: Never longer.
        probe_s: After the rest one call may try; the others wait so long for its outcome.
        fresh_s: How old the shared state may be before it is read again.
    """

    failures: int = 3
    rest_s: float = 30.0
    most_s: float = 300.0
    probe_s: float = 60.0
    fresh_s: float = 1.0


class Health(Protocol):
    """Knows which models are out of service: `MemoryHealth`, or `RedisHealth` shared by all."""

    def states(self, models: Collection[str]) -> dict[str, State]:
        """What each breaker says."""

    def probe(self, model: str) -> bool:
        """Claim the one call that may try a model after its rest."""

    def failed(self, model: str, retry_after_s: float) -> float:
        """Count a failure; the seconds for which the model is left alone."""

    def healthy(self, model: str) -> None:
        """Forget the failures of a model that answered."""

    async def astates(self, models: Collection[str]) -> dict[str, State]:
        """See `states`."""

    async def aprobe(self, model: str) -> bool:
        """See `probe`."""

    async def afailed(self, model: str, retry_after_s: float) -> float:
        """See `failed`."""

    async def ahealthy(self, model: str) -> None:
        """See `healthy`."""


@dataclass(slots=True)
class _Record:
    failures: int = 0
    until: float = 0.0
    probing: float = 0.0


class MemoryHealth:
    """Breakers of a single process.

    Args:
        breaker: When and for how long.
        clock: Tells the time.
    """

    def __init__(self, breaker: Breaker | None = None, *, clock: Clock = SYSTEM) -> None:
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._lock = Lock()
        self._records: dict[str, _Record] = {}

    def states(self, models: Collection[str]) -> dict[str, State]:
        """See `Health.states`."""
        if not self._records:
            return {}
        now = self._clock.monotonic()
        with self._lock:
            return {model: self._state(self._records.get(model), now) for model in models}

    def probe(self, model: str) -> bool:
        """See `Health.probe`."""
        now = self._clock.monotonic()
        with self._lock:
            record = self._records.get(model)
            state = self._state(record, now)
            if state is State.PROBE and record is not None:
                record.probing = now + self._breaker.probe_s
            return state is not State.RESTING

    def failed(self, model: str, retry_after_s: float) -> float:
        """See `Health.failed`."""
        now = self._clock.monotonic()
        with self._lock:
            record = self._records.setdefault(model, _Record())
            record.failures += 1
            over = record.failures - self._breaker.failures
            if not retry_after_s and over < 0:
                return 0.0
            rest = min(self._breaker.rest_s * 2.0 ** min(max(over, 0), 20), self._breaker.most_s)
            rest = max(rest, retry_after_s)
            record.until, record.probing = now + rest, 0.0
            return rest

    def healthy(self, model: str) -> None:
        """See `Health.healthy`."""
        if self._records:
            with self._lock:
                self._records.pop(model, None)

    async def astates(self, models: Collection[str]) -> dict[str, State]:
        """See `Health.states`."""
        return self.states(models)

    async def aprobe(self, model: str) -> bool:
        """See `Health.probe`."""
        return self.probe(model)

    async def afailed(self, model: str, retry_after_s: float) -> float:
        """See `Health.failed`."""
        return self.failed(model, retry_after_s)

    async def ahealthy(self, model: str) -> None:
        """See `Health.healthy`."""
        self.healthy(model)

    @staticmethod
    def _state(record: _Record | None, now: float) -> State:
        if record is None or not record.until:
            return State.READY
        return State.RESTING if max(record.until, record.probing) > now else State.PROBE


class RedisHealth:
    """Breakers shared by every process that uses the server and the tenant.

    The state is read at most once in `fresh_s`, so a call usually costs no round trip for it.
    When the server cannot be reached, each process goes by its own failures.

    Args:
        redis: A client.
        tenant: Whose breakers.
        breaker: When and for how long.
        clock: Tells how old the last reading is.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        tenant: str = "default",
        breaker: Breaker | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._redis = redis
        self._tenant = tag_of(tenant)
        self._breaker = breaker or Breaker()
        self._clock = clock
        self._lua = _LIBRARY
        self._own = MemoryHealth(self._breaker, clock=clock)
        self._read: dict[str, State] = {}
        self._read_at = float("-inf")
        self._suspects: set[str] = set()

    def states(self, models: Collection[str]) -> dict[str, State]:
        """See `Health.states`."""
        return self._redis.run(self._states(tuple(models)))

    async def astates(self, models: Collection[str]) -> dict[str, State]:
        """See `Health.states`."""
        return await self._redis.arun(self._states(tuple(models)))

    def probe(self, model: str) -> bool:
        """See `Health.probe`."""
        return self._redis.run(self._probe(model))

    async def aprobe(self, model: str) -> bool:
        """See `Health.probe`."""
        return await self._redis.arun(self._probe(model))

    def failed(self, model: str, retry_after_s: float) -> float:
        """See `Health.failed`."""
        return self._redis.run(self._failed(model, retry_after_s))

    async def afailed(self, model: str, retry_after_s: float) -> float:
        """See `Health.failed`."""
        return await self._redis.arun(self._failed(model, retry_after_s))

    def healthy(self, model: str) -> None:
        """See `Health.healthy`."""
        self._redis.run(self._healthy(model))

    async def ahealthy(self, model: str) -> None:
        """See `Health.healthy`."""
        await self._redis.arun(self._healthy(model))

    def records(self) -> dict[str, dict[str, float]]:
        """Models with failures: how many in a row, and until when they rest (epoch seconds)."""
        return self._redis.run(self._records())

    async def arecords(self) -> dict[str, dict[str, float]]:
        """See `records`."""
        return await self._redis.arun(self._records())

    def _records(self) -> RedisPlan[dict[str, dict[str, float]]]:
        (told,) = yield (Command("HGETALL", f"plumb:{{{self._tenant}}}:health"),)
        if isinstance(told, Exception):
            raise StoreUnavailable(f"Redis refused a breaker command: {told}.") from told
        pairs = told.items() if isinstance(told, dict) else zip(told[::2], told[1::2], strict=True)
        found: dict[str, dict[str, float]] = {}
        for field, value in pairs:
            model, _, kind = field.decode().rpartition(":")
            record = found.setdefault(model, {"failures": 0, "rests_until_at": 0.0})
            if kind == "n":
                record["failures"] = int(value)
            elif kind == "u":
                record["rests_until_at"] = int(value) / 1000
        return found

    def _states(self, models: tuple[str, ...]) -> RedisPlan[dict[str, State]]:
        now = self._clock.monotonic()
        if now - self._read_at < self._breaker.fresh_s and all(m in self._read for m in models):
            return self._read
        try:
            told = yield from self._call("states", 0, *models, reads=True)
        except StoreUnavailable:
            return self._own.states(models)
        self._read = {model: State(int(n)) for model, n in zip(models, told, strict=True)}
        self._read_at = now
        self._suspects |= {model for model, state in self._read.items() if state}
        return self._read

    def _probe(self, model: str) -> RedisPlan[bool]:
        try:
            told = yield from self._call("probe", 0, int(self._breaker.probe_s * 1000), model)
        except StoreUnavailable:
            return self._own.probe(model)
        return bool(told)

    def _failed(self, model: str, retry_after_s: float) -> RedisPlan[float]:
        own = self._own.failed(model, retry_after_s)
        self._suspects.add(model)
        self._read_at = float("-inf")
        b = self._breaker
        times = (int(s * 1000) for s in (b.rest_s, b.most_s, retry_after_s))
        try:
            told = yield from self._call("failed", 0, model, b.failures, *times)
        except StoreUnavailable:
            return own
        return int(told) / 1000

    def _healthy(self, model: str) -> RedisPlan[None]:
        if model not in self._suspects:
            return
        self._own.healthy(model)
        try:
            yield from self._call("healthy", model)
        except StoreUnavailable:
            return
        self._suspects.discard(model)
        self._read_at = float("-inf")

    def _call(self, part: str, *args: Any, reads: bool = False) -> RedisPlan[Any]:
        base = f"plumb:{{{self._tenant}}}:"
        names = ("budget", "due", "lease", "ledger", "doubt", "seen", "health")
        keys = tuple(base + name for name in names)
        (reply,) = yield from self._lua.calls([Call(part, keys, args, reads=reads)])
        if isinstance(reply, Exception):
            raise StoreUnavailable(f"Redis refused a breaker command: {reply}.") from reply
        return reply
