"""Budgets under many clients, some of them killed: our reservations beside check-then-increment."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import redis
import redis.asyncio as aredis

from plumbgraph.clock import SYSTEM
from plumbgraph.redis.clients import Redis
from plumbgraph.routing.budget import Account, Lease, Refused, periods
from plumbgraph.routing.ledger import RedisLedger
from plumbgraph.routing.values import Charge

WORST = 30_000_000
LEAST = 2_000_000
PROCESSES = 8
LEASE_S = 3.0
PATIENCE_S = 6.0
Client = Callable[[str, str, int, random.Random], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the provider billed and what the ledger holds, in nano-dollars."""

    limit: int
    billed: int
    charged: int
    doubted: int
    doubts: int
    unlisted: int


async def _provider(client: aredis.Redis, tenant: str, lease: str, draw: random.Random) -> int:
    """A call that takes a moment and is billed when its answer begins."""
    await asyncio.sleep(draw.uniform(0.001, 0.02))
    nano = draw.randint(LEAST, WORST)
    await client.hset(f"bench:{tenant}:bill", lease, str(nano))
    await asyncio.sleep(draw.uniform(0.0, 0.005))
    return nano


async def reserving(url: str, tenant: str, limit: int, draw: random.Random) -> None:
    """Reserve, call, settle, until nothing fits and nobody holds anything."""
    plumb, raw = Redis(url, pool_max=8), aredis.Redis.from_url(url)
    ledger = RedisLedger(plumb, tenant=tenant)
    account = Account("tenant", limit)
    waited = time.monotonic()
    while time.monotonic() - waited < PATIENCE_S:
        lease = Lease(
            lease=secrets.token_hex(8),
            nano=WORST,
            accounts=(account,),
            at=SYSTEM.now(),
            facts={},
        )
        refused = await ledger.areserve(lease, ttl_s=LEASE_S)
        if isinstance(refused, Refused):
            if not refused.may_fit_later(WORST):
                break
            await asyncio.sleep(draw.uniform(0.02, 0.1))
            continue
        waited = time.monotonic()
        nano = await _provider(raw, tenant, lease.lease, draw)
        charge = Charge(
            charge_id=f"r-{lease.lease}",
            lease=lease.lease,
            model="a:b",
            nano=nano,
            usage=None,
            price_source="",
            code="",
        )
        for _ in range(1 + (draw.random() < 0.1)):
            await ledger.asettle(lease, charge)
    await plumb.aclose()
    await raw.aclose()


async def checking(url: str, tenant: str, limit: int, draw: random.Random) -> None:
    """Read what is spent, call, add: what gateways do."""
    raw = aredis.Redis.from_url(url)
    key = f"bench:{tenant}:spent"
    while int(await raw.get(key) or 0) + LEAST <= limit:
        lease = secrets.token_hex(8)
        nano = await _provider(raw, tenant, lease, draw)
        await raw.incrby(key, nano)
    await raw.aclose()


def _process(url: str, tenant: str, limit: int, clients: int, kind: str, seed: int) -> None:
    client: Client = reserving if kind == "reserving" else checking

    async def run() -> None:
        draws = [random.Random(seed * 1000 + n) for n in range(clients)]
        await asyncio.gather(*(client(url, tenant, limit, draw) for draw in draws))

    asyncio.run(run())
    os._exit(0)


def play(url: str, *, clients: int, usd: float, kind: str = "reserving", kills: int = 2) -> Outcome:
    """Let clients of several processes spend a budget, kill some processes, and read the books."""
    tenant, limit = f"bench-{secrets.token_hex(4)}", round(usd * 1e9)
    with Redis(url) as server:
        RedisLedger(server, tenant=tenant).balances((Account("tenant", limit),))
    context = get_context("fork")
    each = max(clients // PROCESSES, 1)
    workers = [
        context.Process(target=_process, args=(url, tenant, limit, each, kind, n))
        for n in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers[:kills]:
        time.sleep(0.15)
        if worker.pid and worker.is_alive():
            os.kill(worker.pid, signal.SIGKILL)
    for worker in workers:
        worker.join()
    return _books(url, tenant, limit)


def _books(url: str, tenant: str, limit: int) -> Outcome:
    time.sleep(LEASE_S * 1.1)
    with Redis(url) as server, redis.Redis.from_url(url) as raw:
        ledger = RedisLedger(server, tenant=tenant)
        last = Lease(lease="last", nano=limit, accounts=(Account("tenant", 0),), at=0, facts={})
        ledger.reserve(last, ttl_s=1)
        bill = {k.decode(): int(v) for k, v in raw.hgetall(f"bench:{tenant}:bill").items()}
        charges = ledger.charges(periods(SYSTEM.now())[0])
        doubts = {doubt.lease: doubt.nano for doubt in ledger.doubts()}
        settled = {charge.lease for charge in charges}
        outcome = Outcome(
            limit=limit,
            billed=sum(bill.values()),
            charged=sum(charge.nano for charge in charges),
            doubted=sum(doubts.values()),
            doubts=len(doubts),
            unlisted=sum(lease not in settled and lease not in doubts for lease in bill),
        )
        for key in raw.scan_iter(f"*{tenant}*"):
            raw.delete(key)
    return outcome


def measure(url: str) -> list[dict[str, Any]]:
    """64 and 256 clients against three limits, two of eight processes killed."""
    rows = []
    for clients in (64, 256):
        for usd in (0.25, 1.0, 5.0):
            ours = play(url, clients=clients, usd=usd)
            naive = play(url, clients=clients, usd=usd, kind="checking", kills=0)
            held = ours.charged + ours.doubted
            rows.append(
                {
                    "clients": clients,
                    "limit, $": usd,
                    "billed / limit": round(ours.billed / ours.limit, 3),
                    "ledger / limit": round(held / ours.limit, 3),
                    "overspend": max(ours.billed - ours.limit, 0) / ours.limit,
                    "in doubt": ours.doubts,
                    "billed, not listed": ours.unlisted,
                    "charged = bill of settled": "yes" if _exact(ours) else "no",
                    "check-then-add: billed / limit": round(naive.billed / naive.limit, 3),
                }
            )
    return rows


def _exact(outcome: Outcome) -> bool:
    """The ledger is not below the bill, and only doubts stand between them."""
    return (
        outcome.unlisted == 0
        and outcome.charged <= outcome.billed <= outcome.charged + outcome.doubted
    )
