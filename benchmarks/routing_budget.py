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
from multiprocessing.synchronize import Barrier
from typing import Any

import redis
import redis.asyncio as aredis
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata

from plumbgraph.clock import SYSTEM
from plumbgraph.errors import BudgetSpent
from plumbgraph.policy import Policy
from plumbgraph.redis.clients import Redis
from plumbgraph.routing import Budget, CostRouter, Ladder, ModelCard, Payer, Price, Request
from plumbgraph.routing.budget import Account, Lease, periods
from plumbgraph.routing.call import Asked, Offer
from plumbgraph.routing.ledger import RedisLedger
from plumbgraph.testing import ScriptedChatModel

MOST_TOKENS, LEAST_TOKENS = 3_000, 200
NANO_PER_TOKEN = 10_000
LEAST = LEAST_TOKENS * NANO_PER_TOKEN
PROCESSES = 8
LEASE_S = 3.0
PATIENCE_S = 6.0
UNDER_WAY = 4
MODEL = "bench:model"
Client = Callable[[str, str, int, list[random.Random]], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the provider billed and what the ledger holds, in nano-dollars."""

    limit: int
    billed: int
    charged: int
    doubted: int
    doubts: int
    unlisted: int


async def _provider(
    client: aredis.Redis, tenant: str, call: str, draw: random.Random, most: int
) -> int:
    """A call that takes a moment and is billed when its answer begins; the answer's tokens."""
    await asyncio.sleep(draw.uniform(0.001, 0.02))
    tokens = min(draw.randint(LEAST_TOKENS, MOST_TOKENS), most)
    await client.hset(f"bench:{tenant}:bill", call, str(tokens * NANO_PER_TOKEN))
    await asyncio.sleep(draw.uniform(0.0, 0.005))
    return tokens


async def reserving(url: str, tenant: str, limit: int, draws: list[random.Random]) -> None:
    """The router's whole calls, until the budget is spent."""
    plumb, raw = Redis(url, pool_max=8), aredis.Redis.from_url(url)
    budget = Budget(
        limit / 1e9, redis=plumb, tenant=tenant, lease_s=LEASE_S, ladder=Ladder(wait_s=PATIENCE_S)
    )
    price = Price.per_mtok(0, NANO_PER_TOKEN / 1000)
    card = ModelCard(model=MODEL, price=price, max_output_tokens=MOST_TOKENS)
    load = lambda name: ScriptedChatModel(["unused"], model_name=name)  # noqa: E731 - never asked
    router = CostRouter([card], budget=budget, policy=Policy(), load=load)
    await asyncio.gather(*(_spend(router, tenant, raw, draw) for draw in draws))
    await router.aclose()
    await raw.aclose()


async def _spend(router: CostRouter, tenant: str, raw: aredis.Redis, draw: random.Random) -> None:
    async def ask(offer: Offer) -> AIMessage:
        call = secrets.token_hex(8)
        tokens = await _provider(raw, tenant, call, draw, offer.settings["max_tokens"])
        used = UsageMetadata(input_tokens=0, output_tokens=tokens, total_tokens=tokens)
        told = {"id": call, "finish_reason": "stop"}
        return AIMessage("x", usage_metadata=used, response_metadata=told)

    asked = Asked(
        request=Request(),
        messages=[HumanMessage("x")],
        payer=Payer(),
        call=_no_sync,
        acall=ask,
        message_of=lambda message: message,
    )
    while True:
        try:
            answer = await router.acall(asked)
        except BudgetSpent:
            return
        if draw.random() < 0.1:  # a settlement that is sent twice
            charge = answer.charge
            lease = Lease(lease=charge.lease, nano=charge.nano, accounts=(), at=charge.at, facts={})
            await router.budget.ledger.asettle(lease, charge)


def _no_sync(_: Offer) -> Any:
    raise AssertionError("the other color was asked for")


async def checking(url: str, tenant: str, limit: int, draws: list[random.Random]) -> None:
    """Read what is spent, call, add: what gateways do."""
    raw = aredis.Redis.from_url(url)
    key = f"bench:{tenant}:spent"

    async def spend(draw: random.Random) -> None:
        while int(await raw.get(key) or 0) + LEAST <= limit:
            call = secrets.token_hex(8)
            tokens = await _provider(raw, tenant, call, draw, MOST_TOKENS)
            await raw.incrby(key, tokens * NANO_PER_TOKEN)

    await asyncio.gather(*map(spend, draws))
    await raw.aclose()


def _process(
    url: str, tenant: str, limit: int, clients: int, kind: str, seed: int, ready: Barrier
) -> None:
    client: Client = reserving if kind == "reserving" else checking
    draws = [random.Random(seed * 1000 + n) for n in range(clients)]
    ready.wait()
    asyncio.run(client(url, tenant, limit, draws))
    os._exit(0)


def play(url: str, *, clients: int, usd: float, kind: str = "reserving", kills: int = 2) -> Outcome:
    """Let clients of several processes spend a budget, kill some processes, and read the books."""
    tenant, limit = f"bench-{secrets.token_hex(4)}", round(usd * 1e9)
    with Redis(url) as server:
        RedisLedger(server, tenant=tenant).balances((Account("tenant", limit),))
    context = get_context("fork")
    each = max(clients // PROCESSES, 1)
    ready = context.Barrier(PROCESSES + 1)
    workers = [
        context.Process(target=_process, args=(url, tenant, limit, each, kind, n, ready))
        for n in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    for worker in random.Random(limit + clients).sample(workers, kills):
        _until_calls_are_under_way(url, tenant)
        if worker.pid and worker.is_alive():
            os.kill(worker.pid, signal.SIGKILL)
    for worker in workers:
        worker.join()
    return _books(url, tenant, limit)


def _until_calls_are_under_way(url: str, tenant: str) -> None:
    time.sleep(0.02)
    with redis.Redis.from_url(url) as raw:
        until = time.monotonic() + 2
        while time.monotonic() < until and raw.hlen(f"plumb:{{{tenant}}}:lease") < UNDER_WAY:
            time.sleep(0.001)


def _books(url: str, tenant: str, limit: int) -> Outcome:
    time.sleep(LEASE_S * 1.1)
    with Redis(url) as server, redis.Redis.from_url(url) as raw:
        ledger = RedisLedger(server, tenant=tenant)
        last = Lease(lease="last", nano=limit, accounts=(Account("tenant", 0),), at=0, facts={})
        ledger.reserve(last, ttl_s=1)
        bill = {k.decode(): int(v) for k, v in raw.hgetall(f"bench:{tenant}:bill").items()}
        charges = ledger.charges(periods(SYSTEM.now())[0])
        doubts = ledger.doubts()
        settled = {charge.charge_id for charge in charges}
        outcome = Outcome(
            limit=limit,
            billed=sum(bill.values()),
            charged=sum(charge.nano for charge in charges),
            doubted=sum(doubt.nano for doubt in doubts),
            doubts=len(doubts),
            unlisted=max(len(bill.keys() - settled) - len(doubts), 0),
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
            calm = play(url, clients=clients, usd=usd, kills=0)
            naive = play(url, clients=clients, usd=usd, kind="checking", kills=0)
            rows.append(
                {
                    "clients": clients,
                    "limit, $": usd,
                    "ledger / limit (target ≥ 0.95)": _used(ours),
                    "overspend": max(ours.billed - ours.limit, 0) / ours.limit,
                    "in doubt": ours.doubts,
                    "billed, not listed": ours.unlisted,
                    "ledger = bill + doubts": "yes" if _exact(ours) else "no",
                    "billed / limit": round(ours.billed / ours.limit, 3),
                    "billed / limit, none killed": round(calm.billed / calm.limit, 3),
                    "ledger = bill, none killed": "yes" if calm.charged == calm.billed else "no",
                    "check-then-add: billed / limit": round(naive.billed / naive.limit, 3),
                }
            )
    return rows


def _used(outcome: Outcome) -> float:
    return round((outcome.charged + outcome.doubted) / outcome.limit, 3)


def _exact(outcome: Outcome) -> bool:
    """The ledger is not below the bill, and only doubts stand between them."""
    return (
        outcome.unlisted == 0
        and outcome.charged <= outcome.billed <= outcome.charged + outcome.doubted
    )
