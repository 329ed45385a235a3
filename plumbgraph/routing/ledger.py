"""`RedisLedger`: budgets that many processes share, decided in one Lua function on the server."""

from __future__ import annotations

import json
from typing import Any, cast

from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.errors import NotReplicated, SettingsError, StoreUnavailable
from plumbgraph.redis.clients import Command, Redis, RedisPlan, Replies
from plumbgraph.redis.library import Call, library, tag_of
from plumbgraph.routing.budget import (
    Account,
    Balance,
    Doubt,
    Lease,
    Refused,
    Settled,
    periods,
    row_of,
)
from plumbgraph.routing.values import Charge

_REPLICA_MS = 1_000
_KNOWN_S = 30.0
_LIBRARY = library("routing")  # read now: a ledger may be made inside an event loop


class RedisLedger:
    """Budgets of one tenant on Redis or Valkey.

    Reservations are exact: the server tests and writes in one step. A server that may evict keys
    is refused, since an evicted budget would begin anew. Where the server has replicas, a
    reservation is confirmed by one of them before the call; see `docs/routing.md` for what a
    failover can still lose. What the server says of both is asked anew every half minute.

    Args:
        redis: A client.
        tenant: Whose budgets; also the cluster's hash tag.
        clock: Tells when to ask the server about itself again.
    """

    def __init__(self, redis: Redis, *, tenant: str = "default", clock: Clock = SYSTEM) -> None:
        self._redis = redis
        self._tenant = tag_of(tenant)
        self._clock = clock
        self._replicas = 0
        self._known_until = float("-inf")
        self._lua = _LIBRARY

    def reserve(self, lease: Lease, *, ttl_s: float) -> Refused | None:
        """See `Ledger.reserve`."""
        return self._redis.run(self._reserve(lease, ttl_s))

    async def areserve(self, lease: Lease, *, ttl_s: float) -> Refused | None:
        """See `Ledger.reserve`."""
        return await self._redis.arun(self._reserve(lease, ttl_s))

    def settle(self, lease: Lease, charge: Charge) -> Settled:
        """See `Ledger.settle`."""
        return self._redis.run(self._settle(lease, charge))

    async def asettle(self, lease: Lease, charge: Charge) -> Settled:
        """See `Ledger.settle`."""
        return await self._redis.arun(self._settle(lease, charge))

    def release(self, lease: Lease) -> None:
        """See `Ledger.release`."""
        self._redis.run(self._one("release", lease.lease))

    async def arelease(self, lease: Lease) -> None:
        """See `Ledger.release`."""
        await self._redis.arun(self._one("release", lease.lease))

    def doubt(self, lease: Lease, why: str) -> bool:
        """See `Ledger.doubt`."""
        return bool(self._redis.run(self._one("doubt", lease.lease, why)))

    async def adoubt(self, lease: Lease, why: str) -> bool:
        """See `Ledger.doubt`."""
        return bool(await self._redis.arun(self._one("doubt", lease.lease, why)))

    def grant(self, grant_id: str, account: Account, nano: int) -> None:
        """See `Ledger.grant`."""
        self._redis.run(self._one("grant", grant_id, nano, 0, account.name, account.per))

    async def agrant(self, grant_id: str, account: Account, nano: int) -> None:
        """See `Ledger.grant`."""
        await self._redis.arun(self._one("grant", grant_id, nano, 0, account.name, account.per))

    def balances(self, accounts: tuple[Account, ...]) -> list[Balance]:
        """See `Ledger.balances`."""
        return self._redis.run(self._balances(accounts))

    async def abalances(self, accounts: tuple[Account, ...]) -> list[Balance]:
        """See `Ledger.balances`."""
        return await self._redis.arun(self._balances(accounts))

    def doubts(self) -> list[Doubt]:
        """See `Ledger.doubts`."""
        return self._redis.run(self._doubts())

    async def adoubts(self) -> list[Doubt]:
        """See `Ledger.doubts`."""
        return await self._redis.arun(self._doubts())

    def charges(self, period: str) -> list[Charge]:
        """See `Ledger.charges`."""
        return self._redis.run(self._charges(period))

    async def acharges(self, period: str) -> list[Charge]:
        """See `Ledger.charges`."""
        return await self._redis.arun(self._charges(period))

    def charge(self, charge_id: str, at: float) -> Charge | None:
        """See `Ledger.charge`."""
        return self._redis.run(self._charge(charge_id, at))

    async def acharge(self, charge_id: str, at: float) -> Charge | None:
        """See `Ledger.charge`."""
        return await self._redis.arun(self._charge(charge_id, at))

    def _reserve(self, lease: Lease, ttl_s: float) -> RedisPlan[Refused | None]:
        if self._clock.monotonic() >= self._known_until:
            yield from self._inspect()
        facts = json.dumps(dict(lease.facts), separators=(",", ":"))
        head = (lease.lease, lease.nano, int(ttl_s * 1000), 0, facts)
        call = Call("reserve", self._keys(), (*head, *_triples(lease.accounts)))
        batch: list[Call | Command] = [call]
        if self._replicas:
            batch.append(Command("WAIT", 1, _REPLICA_MS, near=self._keys()[0]))
        replies = _checked((yield from self._lua.calls(batch)))
        word, *rest = replies[0]
        if word == b"no":
            spent, held, room = map(int, rest[1:])
            name = rest[0].decode()
            return Refused(account=name, spent_nano=spent, held_nano=held, room_nano=room)
        if self._replicas and not replies[1]:
            self._known_until = float("-inf")
            yield from self._one("release", lease.lease)
            raise NotReplicated(
                f"The reservation {lease.lease!r} reached no replica within {_REPLICA_MS} ms.",
                hint="Check the replicas; nothing was spent, the call may be retried.",
            )
        return None

    def _settle(self, lease: Lease, charge: Charge) -> RedisPlan[Settled]:
        head = (lease.lease, charge.charge_id, charge.nano, 0, row_of(charge))
        keys = self._keys(lease.period)
        call = Call("settle", keys, (*head, *_triples(lease.accounts)))
        (reply,) = _checked((yield from self._lua.calls([call])))
        return cast("Settled", reply.decode())

    def _one(self, part: str, *args: Any) -> RedisPlan[Any]:
        (reply,) = _checked((yield from self._lua.calls([Call(part, self._keys(), args)])))
        return reply

    def _balances(self, accounts: tuple[Account, ...]) -> RedisPlan[list[Balance]]:
        call = Call("balance", self._keys(), (0, *_triples(accounts)), reads=True)
        (told,) = _checked((yield from self._lua.calls([call])))
        figures = [int(n) for n in told]
        return [
            Balance(account=account.name, spent_nano=spent, held_nano=held, room_nano=room)
            for account, spent, held, room in zip(
                accounts, figures[::3], figures[1::3], figures[2::3], strict=True
            )
        ]

    def _doubts(self) -> RedisPlan[list[Doubt]]:
        yield from self._one("late", 0)
        (told,) = _checked((yield (Command("HGETALL", self._keys()[4]),)))
        return [doubt_of(lease.decode(), json.loads(text)) for lease, text in _pairs(told)]

    def _charges(self, period: str) -> RedisPlan[list[Charge]]:
        (told,) = _checked((yield (Command("HGETALL", self._keys(period)[3]),)))
        return [Charge.from_dict(json.loads(text)) for _, text in _pairs(told)]

    def _charge(self, charge_id: str, at: float) -> RedisPlan[Charge | None]:
        keys = [self._keys(period)[3] for period in periods(at)]
        told = _checked((yield tuple(Command("HGET", key, charge_id) for key in keys)))
        found = next((text for text in told if text), None)
        return Charge.from_dict(json.loads(found)) if found else None

    def _inspect(self) -> RedisPlan[None]:
        near = self._keys()[0]
        sections = ("memory", "replication")
        told = yield tuple(Command("INFO", section, near=near) for section in sections)
        facts: dict[str, str] = {}
        for reply in _checked(told):
            facts |= _info(reply)
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and int(facts.get("maxmemory", "0")):
            raise SettingsError(
                f"Redis at {self._redis.target!r} may evict keys ({policy!r}), budgets too.",
                hint="Set its maxmemory-policy to noeviction, or use another server for budgets.",
            )
        self._replicas = int(facts.get("connected_slaves", "0"))
        self._known_until = self._clock.monotonic() + _KNOWN_S

    def _keys(self, period: str = "") -> tuple[str, ...]:
        base = f"plumb:{{{self._tenant}}}:"
        ledger = f"ledger:{period}" if period else "ledger"
        names = ("budget", "due", "lease", ledger, "doubt", "seen", "health")
        return tuple(base + name for name in names)


def doubt_of(lease: str, told: dict[str, Any]) -> Doubt:
    """A lease in doubt from its stored form."""
    return Doubt(
        lease=lease,
        nano=int(told["nano"]),
        why=str(told.get("why", "")),
        at=told["at_ms"] / 1000,
        facts=json.loads(told["facts"]),
    )


def _triples(accounts: tuple[Account, ...]) -> tuple[Any, ...]:
    return tuple(word for a in accounts for word in (a.name, a.limit_nano, a.per))


def _checked(replies: Replies) -> Replies:
    for reply in replies:
        if isinstance(reply, Exception):
            raise StoreUnavailable(f"Redis refused a budget command: {reply}.") from reply
    return replies


def _pairs(told: Any) -> list[tuple[bytes, bytes]]:
    if isinstance(told, dict):
        return list(told.items())
    return list(zip(told[::2], told[1::2], strict=True))


def _info(reply: Any) -> dict[str, str]:
    if isinstance(reply, dict):
        return {str(key): str(value) for key, value in reply.items()}
    lines = reply.decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
