"""`Budget`: limits, where they are kept, and what happens when they are reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from plumbgraph.errors import SettingsError
from plumbgraph.redis.clients import Redis
from plumbgraph.routing.budget import Balance, Doubt, Ledger, Limit, Payer
from plumbgraph.routing.ledger import RedisLedger
from plumbgraph.routing.memory_ledger import MemoryLedger
from plumbgraph.routing.values import Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """What happens as a budget drains.

    In this order: a lower limit on the answer, a cheaper model, a wait, a question, `BudgetSpent`.

    Attributes:
        fit: Where the worst case does not fit any more, the limit on the answer is lowered to
            what does, down to this share of it and never below the expected answer; 1 for never.
            A longer answer is then cut by the provider, as its finish reason says.
        floor: A cheaper model takes over only where its P(ok) is at least this.
        ask: Whether to ask, with LangGraph's `interrupt`, before giving up; the answer is the
            dollars to grant.
        wait_s: How long to wait for calls under way to free what they hold.
    """

    fit: float = 0.25
    floor: float = 0.0
    ask: bool = False
    wait_s: float = 10.0

    def __post_init__(self) -> None:
        for name, share in (("fit", self.fit), ("floor", self.floor)):
            if not 0 <= share <= 1:
                raise SettingsError(f"The share {name}={share!r} must lie between 0 and 1.")
        if not self.wait_s >= 0:
            raise SettingsError(f"A wait of {self.wait_s!r} s is none.")


class Budget:
    """Money that cannot be overspent.

    The worst case of a call is reserved before it and settled to the true cost after it, in
    every account at once. With Redis all processes share the sums; without, they are this
    process's own. A process that dies with a reservation has it counted as spent.

    Args:
        limits: Nested limits; or just dollars for everything the router spends.
        redis: URL or client; `None` keeps the sums in this process.
        tenant: Whose sums.
        lease_s: How long a call may take before its reservation counts as spent.
        ladder: What happens as the budget drains.

    Raises:
        SettingsError: A limit cannot be used.
    """

    def __init__(
        self,
        limits: float | Limit | Iterable[Limit] = (),
        *,
        redis: str | Redis | None = None,
        tenant: str = "default",
        lease_s: float = 600.0,
        ladder: Ladder | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        if isinstance(limits, int | float):
            limits = (Limit("tenant", limits),)
        self.limits = (limits,) if isinstance(limits, Limit) else tuple(limits)
        if not lease_s > 0:
            raise SettingsError(f"A lease of {lease_s!r} s is none.")
        if not tenant or set(tenant) & set("{}"):
            raise SettingsError(f"The tenant {tenant!r} cannot be part of a key.")
        self.redis = Redis(redis) if isinstance(redis, str) else redis
        self.tenant = tenant
        self.lease_s = lease_s
        self.ladder = ladder or Ladder()
        self.ledger: Ledger = ledger or (
            RedisLedger(self.redis, tenant=tenant) if self.redis else MemoryLedger()
        )

    def balances(self, payer: Payer | None = None) -> list[Balance]:
        """What is spent, held and left in each of the payer's accounts."""
        return self.ledger.balances((payer or Payer()).accounts(self.limits))

    async def abalances(self, payer: Payer | None = None) -> list[Balance]:
        """See `balances`."""
        return await self.ledger.abalances((payer or Payer()).accounts(self.limits))

    def doubts(self) -> list[Doubt]:
        """Calls that may have been billed though no answer was recorded."""
        return self.ledger.doubts()

    async def adoubts(self) -> list[Doubt]:
        """See `doubts`."""
        return await self.ledger.adoubts()

    def charges(self, period: str) -> list[Charge]:
        """The ledger of a month, `YYYYMM`."""
        return self.ledger.charges(period)

    async def acharges(self, period: str) -> list[Charge]:
        """See `charges`."""
        return await self.ledger.acharges(period)

    def close(self) -> None:
        """Close the connections."""
        if self.redis:
            self.redis.close()

    async def aclose(self) -> None:
        """See `close`."""
        if self.redis:
            await self.redis.aclose()
