"""Budgets on a real cluster: a reservation waits for a replica, and survives the primary."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from plumbgraph.clock import SYSTEM
from plumbgraph.errors import NotReplicated, StoreUnavailable
from plumbgraph.redis.clients import Redis
from plumbgraph.routing.budget import Account, Lease, Refused
from plumbgraph.routing.health import RedisHealth, State
from plumbgraph.routing.ledger import RedisLedger
from plumbgraph.routing.values import Charge
from plumbgraph.testing.cluster import ValkeyCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
TENANT = Account("tenant", 1_000)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ValkeyCluster]:
    with ValkeyCluster(tmp_path) as made:
        yield made


def lease(name: str, nano: int = 300) -> Lease:
    return Lease(lease=name, nano=nano, accounts=(TENANT,), at=SYSTEM.now(), facts={})


def charge(of: Lease, nano: int) -> Charge:
    return Charge(
        charge_id=f"r-{of.lease}",
        lease=of.lease,
        model="a:b",
        nano=nano,
        usage=None,
        price_source="own",
        code="best",
        at=of.at,
    )


def replica_of(cluster: ValkeyCluster, port: int) -> int:
    told = cluster.node(port).info("replication")["slave0"]
    return int(told["port"])


def test_a_reservation_stands_on_a_replica_before_the_call(cluster: ValkeyCluster) -> None:
    with Redis(cluster.url) as server:
        ledger = RedisLedger(server, tenant="acme")
        assert ledger.reserve(lease("one"), ttl_s=60) is None
        primary = cluster.primary_of(key_slot(b"acme"))
        replica = cluster.node(replica_of(cluster, primary))
        replica.execute_command("READONLY")
        assert replica.hexists("plumb:{acme}:lease", "one")
        assert ledger.settle(lease("one"), charge(lease("one"), 70)) == "settled"
        (balance,) = ledger.balances((TENANT,))
        assert (balance.spent_nano, balance.held_nano) == (70, 0)


def test_without_its_replica_a_reservation_is_refused_and_holds_nothing(
    cluster: ValkeyCluster,
) -> None:
    with Redis(cluster.url) as server:
        ledger = RedisLedger(server, tenant="acme")
        assert ledger.reserve(lease("one"), ttl_s=60) is None
        cluster.processes[replica_of(cluster, cluster.primary_of(key_slot(b"acme")))].kill()
        with pytest.raises(NotReplicated, match="reached no replica"):
            ledger.reserve(lease("two"), ttl_s=60)
        (balance,) = ledger.balances((TENANT,))
        assert (balance.spent_nano, balance.held_nano) == (0, 300)


def test_a_budget_survives_its_primary(cluster: ValkeyCluster) -> None:
    with Redis(cluster.url) as server:
        ledger, health = RedisLedger(server, tenant="acme"), RedisHealth(server, tenant="acme")
        for name in ("one", "two", "three"):
            assert ledger.reserve(lease(name), ttl_s=600) is None
        for _ in range(3):
            health.failed("a:b", 0.0)
        cluster.processes[cluster.primary_of(key_slot(b"acme"))].kill()
        until = time.monotonic() + 60
        while True:
            try:
                refused = ledger.reserve(lease("four"), ttl_s=600)
                break
            except (StoreUnavailable, NotReplicated):
                assert time.monotonic() < until
                time.sleep(0.2)
        assert isinstance(refused, Refused)
        assert refused.held_nano == 900
        assert health.states(["a:b"])["a:b"] is State.RESTING
