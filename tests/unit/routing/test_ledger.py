from __future__ import annotations

import time
from dataclasses import replace

import pytest
import redis as sync_redis

from plumbgraph.clock import SYSTEM
from plumbgraph.errors import SettingsError, StoreUnavailable
from plumbgraph.redis.clients import Redis
from plumbgraph.routing import Limit, Payer
from plumbgraph.routing.budget import Account, Lease, Ledger, Refused
from plumbgraph.routing.ledger import RedisLedger
from plumbgraph.routing.values import Charge

TENANT = Account("tenant", 1_000)
THREAD = Account("thread:t", 600)


def lease(name: str, nano: int = 400, accounts: tuple[Account, ...] = (TENANT, THREAD)) -> Lease:
    return Lease(lease=name, nano=nano, accounts=accounts, at=SYSTEM.now(), facts={"model": "a:b"})


def charge(name: str, of: Lease, nano: int) -> Charge:
    return Charge(
        charge_id=name,
        lease=of.lease,
        model="a:b",
        nano=nano,
        usage=None,
        price_source="own",
        code="best",
        at=of.at,
    )


def sums(ledger: Ledger) -> list[tuple[int, int]]:
    return [(b.spent_nano, b.held_nano) for b in ledger.balances((TENANT, THREAD))]


def test_a_reservation_holds_in_every_account_or_in_none(ledger: Ledger) -> None:
    assert ledger.reserve(lease("one"), ttl_s=60) is None
    refused = ledger.reserve(lease("two"), ttl_s=60)
    assert refused == Refused(account="thread:t", spent_nano=0, held_nano=400, room_nano=600)
    assert refused.may_fit_later(400)
    assert sums(ledger) == [(0, 400), (0, 400)]


def test_a_repeated_reservation_holds_once(ledger: Ledger) -> None:
    for _ in range(3):
        assert ledger.reserve(lease("one"), ttl_s=60) is None
    assert sums(ledger) == [(0, 400), (0, 400)]


def test_who_asks_again_by_a_name_gets_back_what_it_held_or_was_counted_for(
    ledger: Ledger,
) -> None:
    ledger.reserve(lease("one", 500), ttl_s=60)
    assert ledger.reserve(lease("one", 200), ttl_s=60) is None
    assert sums(ledger) == [(0, 200), (0, 200)]
    ledger.doubt(lease("one", 200), "its owner was not heard of again")
    assert ledger.reserve(lease("one", 600), ttl_s=60) is None
    assert (sums(ledger), ledger.doubts()) == ([(0, 600), (0, 600)], [])
    assert ledger.reserve(lease("one", 601), ttl_s=60) is not None
    assert sums(ledger) == [(0, 0), (0, 0)]


def test_settling_books_the_true_cost_once(ledger: Ledger) -> None:
    held = lease("one")
    ledger.reserve(held, ttl_s=60)
    assert ledger.settle(held, charge("resp-1", held, 70)) == "settled"
    assert ledger.settle(held, charge("resp-1", held, 70)) == "again"
    assert sums(ledger) == [(70, 0), (70, 0)]
    (row,) = ledger.charges(held.period)
    assert row == charge("resp-1", held, 70)
    assert ledger.charge("resp-1", held.at) == row
    assert ledger.charge("resp-2", held.at) is None


def test_a_provider_that_repeats_its_response_id_is_paid_twice(ledger: Ledger) -> None:
    for name in ("one", "two"):
        held = lease(name, 100)
        ledger.reserve(held, ttl_s=60)
        assert ledger.settle(held, charge("same", held, 70)) == "settled"
        assert ledger.settle(held, charge("same", held, 70)) == "again"
    assert sums(ledger) == [(140, 0), (140, 0)]
    assert len(ledger.charges(lease("x").period)) == 2


def test_what_was_not_billed_is_released(ledger: Ledger) -> None:
    held = lease("one")
    ledger.reserve(held, ttl_s=60)
    ledger.release(held)
    ledger.release(held)
    assert sums(ledger) == [(0, 0), (0, 0)]


def test_a_lease_that_ran_out_is_listed_although_nobody_reserves_any_more(ledger: Ledger) -> None:
    for number in range(3):
        ledger.reserve(lease(f"dead {number}", 100), ttl_s=0.05)
    ledger.reserve(lease("alive", 100), ttl_s=60)
    time.sleep(0.1)
    assert sorted(doubt.lease for doubt in ledger.doubts()) == [f"dead {n}" for n in range(3)]
    assert sums(ledger) == [(300, 100), (300, 100)]


def test_a_doubt_counts_as_spent_until_a_late_charge_clears_it(ledger: Ledger) -> None:
    held = lease("one")
    ledger.reserve(held, ttl_s=60)
    assert ledger.doubt(held, "timeout")
    assert not ledger.doubt(held, "timeout")
    assert sums(ledger) == [(400, 0), (400, 0)]
    (doubt,) = ledger.doubts()
    assert (doubt.lease, doubt.nano, doubt.why) == ("one", 400, "timeout")
    assert doubt.facts == {"model": "a:b"}
    assert ledger.settle(held, charge("resp-1", held, 70)) == "cleared"
    assert ledger.doubts() == []
    assert sums(ledger) == [(70, 0), (70, 0)]


def test_a_lease_that_runs_out_counts_as_spent(ledger: Ledger) -> None:
    ledger.reserve(lease("one"), ttl_s=0.05)
    time.sleep(0.1)
    ledger.reserve(lease("two", 100), ttl_s=60)
    assert sums(ledger) == [(400, 100), (400, 100)]
    assert [d.lease for d in ledger.doubts()] == ["one"]


def test_a_grant_makes_room_once(ledger: Ledger) -> None:
    assert ledger.reserve(lease("one", 700), ttl_s=60) is not None
    for _ in range(2):
        ledger.grant("g1", THREAD, 200)
    assert ledger.balances((THREAD,))[0].room_nano == 800
    assert ledger.reserve(lease("one", 700), ttl_s=60) is None


def test_periods_are_accounts_of_their_own(ledger: Ledger) -> None:
    daily = replace(TENANT, per="day")
    monthly = replace(TENANT, per="month")
    held = lease("one", 400, (daily, monthly))
    ledger.reserve(held, ttl_s=60)
    ledger.settle(held, charge("r", held, 400))
    told = [b.spent_nano for b in ledger.balances((daily, monthly, TENANT))]
    assert told == [400, 400, 0]


async def test_both_colors_share_the_sums(ledger: Ledger) -> None:
    held = lease("one")
    assert await ledger.areserve(held, ttl_s=60) is None
    assert await ledger.asettle(held, charge("r", held, 9)) == "settled"
    await ledger.agrant("g", TENANT, 5)
    await ledger.arelease(lease("none"))
    await ledger.adoubt(lease("none"), "why")
    (balance,) = await ledger.abalances((TENANT,))
    assert (balance.spent_nano, balance.room_nano) == (9, 1_005)
    assert await ledger.adoubts() == []
    assert [c.nano for c in await ledger.acharges(held.period)] == [9]
    found = await ledger.acharge("r", held.at)
    assert found is not None
    if isinstance(ledger, RedisLedger):
        await ledger._redis.aclose()


def test_a_limit_without_its_subject_is_refused_and_not_forgotten() -> None:
    with pytest.raises(SettingsError, match="each user") as caught:
        Payer(thread="t").accounts((Limit("user", 1.0),))
    assert "user_id" in caught.value.hint


def test_a_reservation_is_one_round_trip(redis_url: str) -> None:
    with Redis(redis_url) as redis:
        ledger = RedisLedger(redis)
        ledger.reserve(lease("warm", 1), ttl_s=1)
    plan = ledger._reserve(lease("one", 1), 60.0)
    assert len(next(plan)) == 1
    with pytest.raises(StopIteration):
        plan.send([[b"ok"]])


def test_a_server_that_may_evict_is_refused(redis_url: str) -> None:
    with sync_redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(SettingsError, match="evict"), Redis(redis_url) as server:
                RedisLedger(server).reserve(lease("one"), ttl_s=60)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "0")


def test_an_unreachable_server_reserves_nothing() -> None:
    with pytest.raises(StoreUnavailable):
        RedisLedger(Redis("redis://127.0.0.1:1/0")).reserve(lease("one"), ttl_s=60)
