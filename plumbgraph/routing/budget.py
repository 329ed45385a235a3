"""Budgets as values: limits, the accounts they fill, leases, and what a ledger can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias

from plumbgraph.errors import SettingsError
from plumbgraph.routing.prices import NANO
from plumbgraph.routing.values import Charge, shallow

Scope: TypeAlias = Literal["tenant", "user", "thread", "run"]
Per: TypeAlias = Literal["total", "hour", "day", "month"]
_MOST_USD = 9_000_000
_WHERE = {
    "user": 'Call the graph with config={"configurable": {"user_id": …}}.',
    "thread": 'Call the graph with config={"configurable": {"thread_id": …}}.',
    "run": 'Call the graph with config={"run_id": uuid4()}.',
}


@dataclass(frozen=True, slots=True)
class Limit:
    """Most dollars for one scope, in all or in each hour, day or month (UTC).

    Attributes:
        scope: Whose spending it bounds.
        usd: The bound.
        per: The period after which it begins anew.
    """

    scope: Scope
    usd: float
    per: Per = "total"

    def __post_init__(self) -> None:
        if not 0 <= self.usd <= _MOST_USD:
            raise SettingsError(f"The limit {self.usd!r} must lie between $0 and ${_MOST_USD}.")

    @property
    def nano(self) -> int:
        """The bound in whole nano-dollars."""
        return round(self.usd * NANO)


@dataclass(frozen=True, slots=True)
class Account:
    """What a limit is counted on: `tenant`, `user:ann`, `thread:t1`, `run:r1`."""

    name: str
    limit_nano: int
    per: Per = "total"


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a call: the tenant, and the user, thread and run where they are known."""

    user: str = ""
    thread: str = ""
    run: str = ""

    def accounts(self, limits: tuple[Limit, ...]) -> tuple[Account, ...]:
        """The accounts that a call of this payer fills.

        Raises:
            SettingsError: A limit bounds a user, thread or run, and it is not known which.
        """
        return tuple(Account(self._name(x.scope), x.nano, x.per) for x in limits)

    def _name(self, scope: Scope) -> str:
        if scope == "tenant":
            return scope
        value = {"user": self.user, "thread": self.thread, "run": self.run}[scope]
        if not value:
            raise SettingsError(
                f"The budget bounds each {scope}, and this call belongs to no known {scope}.",
                hint=_WHERE[scope],
            )
        return f"{scope}:{value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Money set aside for one call, in every account or in none.

    Attributes:
        lease: Its name, made by the caller, so that a repeated request reserves once. A resumed
            run gives the name again that its earlier life gave before it recorded a call.
        nano: The call's worst case.
        accounts: Where it is held.
        at: When it was asked for, in seconds since the epoch.
        facts: What it is for; shown where it ends in doubt.
    """

    lease: str
    nano: int
    accounts: tuple[Account, ...]
    at: float
    facts: Mapping[str, Any]

    @property
    def period(self) -> str:
        """The month whose ledger the charge goes to."""
        return periods(self.at)[0]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for a journal."""
        told = shallow(self) | {"facts": dict(self.facts)}
        told["accounts"] = tuple(map(shallow, self.accounts))
        return told

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Lease:
        """The inverse of `to_dict`."""
        accounts = tuple(Account(**account) for account in told["accounts"])
        return cls(**{**told, "accounts": accounts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """There is no room for a lease.

    Attributes:
        account: The one that is full.
        spent_nano: Spent there.
        held_nano: Held there by calls under way.
        room_nano: Its limit with what was granted beyond.
    """

    account: str
    spent_nano: int
    held_nano: int
    room_nano: int

    @property
    def left_nano(self) -> int:
        """What the account has room for now."""
        return self.room_nano - self.spent_nano - self.held_nano

    def may_fit_later(self, nano: int) -> bool:
        """Whether it would fit if every call under way cost nothing."""
        return self.spent_nano + nano <= self.room_nano


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """An account's state, in nano-dollars."""

    account: str
    spent_nano: int
    held_nano: int
    room_nano: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A lease that was counted as spent though no answer was recorded for it.

    Attributes:
        lease: Its name.
        nano: The worst case, counted as spent.
        why: What is known.
        at: When it was taken.
        facts: What it was for.
    """

    lease: str
    nano: int
    why: str
    at: float
    facts: Mapping[str, Any]


Settled: TypeAlias = Literal["settled", "again", "cleared", "late"]


class Ledger(Protocol):
    """Keeps budgets: `RedisLedger` for many processes, `MemoryLedger` for one.

    Whatever must be true of sums is decided in one step where the sums are.
    """

    def reserve(self, lease: Lease, *, ttl_s: float) -> Refused | None:
        """Hold the lease's worst case, or say which account has no room for it.

        Who asks again by the same name says that its call was not made: what was held or counted
        for it before is given back first.
        """

    def settle(self, lease: Lease, charge: Charge) -> Settled:
        """Book a charge once by its id and free the lease."""

    def release(self, lease: Lease) -> None:
        """Free the lease of a call that was certainly not billed."""

    def doubt(self, lease: Lease, why: str) -> bool:
        """Count the lease as spent: its call may have been billed. False where it is not held."""

    def grant(self, grant_id: str, account: Account, nano: int) -> None:
        """Raise an account's room, once for each `grant_id`."""

    def balances(self, accounts: tuple[Account, ...]) -> list[Balance]:
        """The accounts' state."""

    def doubts(self) -> list[Doubt]:
        """Leases counted as spent without a row."""

    def charges(self, period: str) -> list[Charge]:
        """The ledger of a month, `YYYYMM`."""

    def charge(self, charge_id: str, at: float) -> Charge | None:
        """A charge of the month of `at` or the one before, by its id."""

    async def areserve(self, lease: Lease, *, ttl_s: float) -> Refused | None:
        """See `reserve`."""

    async def asettle(self, lease: Lease, charge: Charge) -> Settled:
        """See `settle`."""

    async def arelease(self, lease: Lease) -> None:
        """See `release`."""

    async def adoubt(self, lease: Lease, why: str) -> bool:
        """See `doubt`."""

    async def agrant(self, grant_id: str, account: Account, nano: int) -> None:
        """See `grant`."""

    async def abalances(self, accounts: tuple[Account, ...]) -> list[Balance]:
        """See `balances`."""

    async def adoubts(self) -> list[Doubt]:
        """See `doubts`."""

    async def acharges(self, period: str) -> list[Charge]:
        """See `charges`."""

    async def acharge(self, charge_id: str, at: float) -> Charge | None:
        """See `charge`."""


def periods(at: float) -> tuple[str, str]:
    """The ledger months at a time: its own and the one before."""
    now = datetime.fromtimestamp(at, UTC)
    return f"{now:%Y%m}", f"{now.replace(day=1) - timedelta(days=1):%Y%m}"


def row_of(charge: Charge) -> str:
    """A charge as one JSON text."""
    return json.dumps(charge.to_dict(), separators=(",", ":"))
