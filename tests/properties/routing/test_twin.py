from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plumbgraph.clock import SYSTEM
from plumbgraph.redis.clients import Command, Redis
from plumbgraph.routing.budget import Account, Lease, Ledger
from plumbgraph.routing.ledger import RedisLedger
from plumbgraph.routing.memory_ledger import MemoryLedger
from plumbgraph.routing.values import Charge

ACCOUNTS = (Account("tenant", 1_000), Account("thread:t", 700, "day"))
names = st.sampled_from(["a", "b", "c", "d"])
steps = st.one_of(
    st.tuples(st.just("reserve"), names, st.integers(0, 900)),
    st.tuples(st.just("settle"), names, st.integers(0, 300)),
    st.tuples(st.just("release"), names, st.just(0)),
    st.tuples(st.just("doubt"), names, st.just(0)),
    st.tuples(st.just("grant"), names, st.integers(0, 300)),
)


def play(ledger: Ledger, moves: list[tuple[str, str, int]]) -> list[Any]:
    told: list[Any] = []
    at = SYSTEM.now()
    leases: dict[str, Lease] = {}
    for move, name, nano in moves:
        lease = leases.get(name) or Lease(lease=name, nano=nano, accounts=ACCOUNTS, at=at, facts={})
        if move == "reserve":
            leases[name] = Lease(lease=name, nano=nano, accounts=ACCOUNTS, at=at, facts={})
            told.append(ledger.reserve(leases[name], ttl_s=600))
        elif move == "settle":
            row = Charge(
                charge_id=f"r-{'a' if name in 'ab' else name}",
                lease=name,
                model="m:m",
                nano=nano,
                usage=None,
                price_source="",
                code="",
            )
            told.append(ledger.settle(lease, row))
        elif move == "grant":
            ledger.grant(name, ACCOUNTS[0], nano)
        else:
            ledger.release(lease) if move == "release" else ledger.doubt(lease, "w")
        told.append(ledger.balances(ACCOUNTS))
    told.append(sorted((d.lease, d.nano) for d in ledger.doubts()))
    told.append(sorted((c.charge_id, c.lease, c.nano) for c in ledger.charges(lease_period(at))))
    return told


def lease_period(at: float) -> str:
    return Lease(lease="", nano=0, accounts=(), at=at, facts={}).period


@pytest.fixture(scope="module")
def server(redis_admin: str) -> Iterator[Redis]:
    with Redis(redis_admin) as redis:
        yield redis


@settings(max_examples=120, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(steps, max_size=14))
def test_the_ledger_of_one_process_is_a_twin_of_the_servers(
    server: Redis, moves: list[tuple[str, str, int]]
) -> None:
    server.send((Command("EVAL", _WIPE, 0),))
    ours = play(MemoryLedger(), moves)
    theirs = play(RedisLedger(server, tenant="twin"), moves)
    assert ours == theirs


_WIPE = """
for _, key in ipairs(redis.call('KEYS', 'plumb:{twin}:*')) do redis.call('DEL', key) end
"""
