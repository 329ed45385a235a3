"""`MemoryLedger`: the budgets of a single process, with the same rules and no server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from threading import Lock

from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.routing.budget import Account, Balance, Doubt, Lease, Refused, Settled, periods
from plumbgraph.routing.values import Charge

_WINDOWS_S = {"hour": 3600, "day": 86_400}


class _Sum:
    __slots__ = ("extra", "held", "spent")

    def __init__(self) -> None:
        self.spent = self.held = self.extra = 0


class MemoryLedger:
    """Budgets in this process's memory; they end with it.

    Args:
        clock: Tells when leases run out and periods begin.
    """

    def __init__(self, *, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._lock = Lock()
        self._sums: dict[str, _Sum] = {}
        self._leases: dict[str, tuple[Lease, tuple[str, ...], float]] = {}
        self._doubts: dict[str, tuple[Doubt, tuple[str, ...]]] = {}
        self._rows: dict[str, dict[str, Charge]] = {}
        self._grants: set[str] = set()

    def reserve(self, lease: Lease, *, ttl_s: float) -> Refused | None:
        """See `Ledger.reserve`."""
        with self._lock:
            now = self._clock.now()
            self._sweep(now)
            self._give_back(lease.lease)
            for account in lease.accounts:
                found = self._balance(account, now)
                if found.spent_nano + found.held_nano + lease.nano > found.room_nano:
                    return Refused(
                        account=account.name,
                        spent_nano=found.spent_nano,
                        held_nano=found.held_nano,
                        room_nano=found.room_nano,
                    )
            names = tuple(_dated(account, now) for account in lease.accounts)
            self._move(names, held=lease.nano)
            self._leases[lease.lease] = (lease, names, now + ttl_s)
            return None

    def settle(self, lease: Lease, charge: Charge) -> Settled:
        """See `Ledger.settle`."""
        with self._lock:
            rows = self._rows.setdefault(lease.period, {})
            charge_id = charge.charge_id
            if charge_id in rows and rows[charge_id].lease != lease.lease:
                charge_id = f"{charge_id}#{lease.lease}"
            if charge_id in rows:
                return "again"
            rows[charge_id] = charge
            held = self._leases.pop(lease.lease, None)
            if held:
                self._move(held[1], held=-held[0].nano, spent=charge.nano)
                return "settled"
            doubted = self._doubts.pop(lease.lease, None)
            if doubted:
                self._move(doubted[1], spent=charge.nano - doubted[0].nano)
                return "cleared"
            now = self._clock.now()
            self._move(tuple(_dated(a, now) for a in lease.accounts), spent=charge.nano)
            return "late"

    def release(self, lease: Lease) -> None:
        """See `Ledger.release`."""
        with self._lock:
            held = self._leases.pop(lease.lease, None)
            if held:
                self._move(held[1], held=-held[0].nano)

    def doubt(self, lease: Lease, why: str) -> bool:
        """See `Ledger.doubt`."""
        with self._lock:
            return self._to_doubt(lease.lease, why)

    def grant(self, grant_id: str, account: Account, nano: int) -> None:
        """See `Ledger.grant`."""
        with self._lock:
            if grant_id not in self._grants:
                self._grants.add(grant_id)
                self._sum(_dated(account, self._clock.now())).extra += nano

    def balances(self, accounts: tuple[Account, ...]) -> list[Balance]:
        """See `Ledger.balances`."""
        with self._lock:
            return [self._balance(account, self._clock.now()) for account in accounts]

    def doubts(self) -> list[Doubt]:
        """See `Ledger.doubts`."""
        with self._lock:
            self._sweep(self._clock.now())
            return [doubt for doubt, _ in self._doubts.values()]

    def charges(self, period: str) -> list[Charge]:
        """See `Ledger.charges`."""
        with self._lock:
            return list(self._rows.get(period, {}).values())

    def charge(self, charge_id: str, at: float) -> Charge | None:
        """See `Ledger.charge`."""
        with self._lock:
            found = (self._rows.get(period, {}).get(charge_id) for period in periods(at))
            return next((charge for charge in found if charge), None)

    async def acharge(self, charge_id: str, at: float) -> Charge | None:
        """See `Ledger.charge`."""
        return self.charge(charge_id, at)

    async def areserve(self, lease: Lease, *, ttl_s: float) -> Refused | None:
        """See `Ledger.reserve`."""
        return self.reserve(lease, ttl_s=ttl_s)

    async def asettle(self, lease: Lease, charge: Charge) -> Settled:
        """See `Ledger.settle`."""
        return self.settle(lease, charge)

    async def arelease(self, lease: Lease) -> None:
        """See `Ledger.release`."""
        self.release(lease)

    async def adoubt(self, lease: Lease, why: str) -> bool:
        """See `Ledger.doubt`."""
        return self.doubt(lease, why)

    async def agrant(self, grant_id: str, account: Account, nano: int) -> None:
        """See `Ledger.grant`."""
        self.grant(grant_id, account, nano)

    async def abalances(self, accounts: tuple[Account, ...]) -> list[Balance]:
        """See `Ledger.balances`."""
        return self.balances(accounts)

    async def adoubts(self) -> list[Doubt]:
        """See `Ledger.doubts`."""
        return self.doubts()

    async def acharges(self, period: str) -> list[Charge]:
        """See `Ledger.charges`."""
        return self.charges(period)

    def _sum(self, name: str) -> _Sum:
        return self._sums.setdefault(name, _Sum())

    def _move(self, names: tuple[str, ...], *, held: int = 0, spent: int = 0) -> None:
        for name in names:
            total = self._sum(name)
            total.held += held
            total.spent += spent

    def _balance(self, account: Account, now: float) -> Balance:
        total = self._sum(_dated(account, now))
        return Balance(
            account=account.name,
            spent_nano=total.spent,
            held_nano=total.held,
            room_nano=account.limit_nano + total.extra,
        )

    def _sweep(self, now: float) -> None:
        for name in [name for name, (_, _, due) in self._leases.items() if due <= now]:
            self._to_doubt(name, "its owner was not heard of again")

    def _give_back(self, name: str) -> None:
        held = self._leases.pop(name, None)
        if held:
            self._move(held[1], held=-held[0].nano)
        doubted = self._doubts.pop(name, None)
        if doubted:
            self._move(doubted[1], spent=-doubted[0].nano)

    def _to_doubt(self, name: str, why: str) -> bool:
        found = self._leases.pop(name, None)
        if found is None:
            return False
        lease, names, _ = found
        self._move(names, held=-lease.nano, spent=lease.nano)
        facts = json.loads(json.dumps(dict(lease.facts)))
        doubt = Doubt(lease=name, nano=lease.nano, why=why, at=lease.at, facts=facts)
        self._doubts[name] = (doubt, names)
        return True


def _dated(account: Account, now: float) -> str:
    if account.per == "total":
        return account.name
    if account.per == "month":
        return f"{account.name}|m{datetime.fromtimestamp(now, UTC):%Y%m}"
    return f"{account.name}|{account.per[0]}{int(now // _WINDOWS_S[account.per])}"
