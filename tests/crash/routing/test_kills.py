"""A process that dies anywhere in a routed call: nothing is paid twice but what is listed."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.redis.clients import Redis
from plumbgraph.routing import Budget, Limit, Payer
from plumbgraph.routing.budget import Doubt, periods
from plumbgraph.routing.ledger import RedisLedger
from plumbgraph.routing.values import Charge
from plumbgraph.state import PlumbSaver
from plumbgraph.testing.provider import Billed, Provider

STEPS = 3
LEASE_S = 60.0


@dataclass(frozen=True)
class Moment:
    """When a life ends: so long after the provider was asked so often."""

    provider: Provider
    asks: int
    later_s: float


class Nursery:
    """The helper program, asked for one life at a time."""

    def __init__(self) -> None:
        path = Path(__file__).with_name("nursery.py")
        self._process = subprocess.Popen(
            [sys.executable, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def live(self, order: dict[str, Any], moment: Moment | None) -> int:
        """Let one life happen, or end it at a moment; its exit code, negative for a signal."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        child = int(self._line())
        ended = threading.Event()
        killer = threading.Thread(target=_kill, args=(child, moment, ended))
        killer.start()
        code = int(self._line())
        ended.set()
        killer.join()
        return code

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def _kill(child: int, moment: Moment | None, ended: threading.Event) -> None:
    if moment is None:
        return
    before = sum(moment.provider.asked.values())
    while sum(moment.provider.asked.values()) - before < moment.asks:
        if ended.wait(0.002):
            return
    if not ended.wait(moment.later_s):
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    pytest.importorskip("langchain_openai")
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(delay_s=0.01) as running:
        yield running


def torment(
    nursery: Nursery, provider: Provider, places: dict[str, str], *, kills: int, seed: int
) -> tuple[int, list[str]]:
    """Threads that are killed and resumed, each time with another aim, until `kills` are done."""
    draw = random.Random(seed)
    done = 0
    threads: list[str] = []
    while done < kills:
        thread = f"thread-{len(threads)}"
        threads.append(thread)
        while True:
            order = {
                **places,
                "provider": provider.url,
                "thread": thread,
                "steps": STEPS,
                "lease_s": LEASE_S,
                "aim": draw.choice([0.6, 0.9]),
            }
            asks = draw.choice([0, 1, 1, 1, 1, 2])
            moment = Moment(provider, asks, draw.uniform(0.0, 0.1 if asks else 1.0))
            code = nursery.live(order, moment if done < kills else None)
            if code == 0:
                break
            assert code == -signal.SIGKILL, "the graph itself failed"
            done += 1
    return done, threads


def books(redis_url: str, tenant: str) -> tuple[list[Charge], list[Doubt]]:
    with Redis(redis_url) as server:
        ledger = RedisLedger(server, tenant=tenant)
        now = time.time()  # noqa: TID251 - the ledger's own clock
        return ledger.charges(periods(now)[0]), ledger.doubts()


def nano(row: Billed) -> int:
    price = {"weak": 1000, "strong": 10_000}[row.model]
    return (row.input_tokens + 4 * row.output_tokens) * price


def check(
    bill: list[Billed], charges: list[Charge], doubts: list[Doubt], threads: list[str]
) -> None:
    """The books after everything: every row of the bill is charged, or its thread is in doubt."""
    paid = {charge.charge_id: charge for charge in charges}
    assert sum(map(nano, bill)) <= sum(c.nano for c in charges) + sum(d.nano for d in doubts)
    for row in bill:
        if row.response_id in paid:
            charge = paid[row.response_id]
            assert (charge.nano, charge.model) == (nano(row), f"openai:{row.model}")
    lost = Counter(row.key.split()[0] for row in bill if row.response_id not in paid)
    listed = Counter(str(doubt.facts["thread"]) for doubt in doubts)
    assert lost <= listed, "billed, not charged, not listed"
    assert Counter(charge.thread_id for charge in charges) == dict.fromkeys(threads, STEPS)
    for key, times in Counter(row.key for row in bill).items():
        thread = key.split()[0]
        assert times - 1 <= listed[thread], f"{key} was billed {times} times"


def balanced(
    places: dict[str, str], charges: list[Charge], doubts: list[Doubt], threads: list[str]
) -> None:
    """Nothing is held any more, and what is spent are the rows that are listed."""
    listed: Counter[str] = Counter()
    for charge in charges:
        listed[charge.thread_id] += charge.nano
    for doubt in doubts:
        assert "resumed before its answer was recorded" in doubt.why
        listed[str(doubt.facts["thread"])] += doubt.nano
    with Redis(places["redis"]) as server:
        budget = Budget([Limit("thread", 10.0)], redis=server, tenant=places["tenant"])
        for thread in threads:
            (balance,) = budget.balances(Payer(thread=thread))
            assert (balance.spent_nano, balance.held_nano) == (listed[thread], 0)


def finished(places: dict[str, str], threads: list[str], charges: list[Charge]) -> None:
    """Every answer in a thread says which model gave it, and the ledger agrees."""
    paid = {charge.charge_id: charge.model for charge in charges}
    with PlumbSaver(places["postgres"], schema=places["schema"]) as saver:
        for thread in threads:
            config: Any = {"configurable": {"thread_id": thread}}
            found = saver.get_tuple(config)
            assert found is not None
            messages = found.checkpoint["channel_values"]["messages"]
            marks = [m.response_metadata["plumbgraph"] for m in messages if m.type == "ai"]
            assert len(marks) == STEPS
            for mark in marks:
                assert paid[mark["charge_id"]] == mark["model"]


def run(
    nursery: Nursery, provider: Provider, places: dict[str, str], *, kills: int, seed: int
) -> dict[str, int]:
    done, threads = torment(nursery, provider, places, kills=kills, seed=seed)
    charges, doubts = books(places["redis"], places["tenant"])
    check(provider.bill, charges, doubts, threads)
    balanced(places, charges, doubts, threads)
    finished(places, threads, charges)
    unpaid = {row.response_id for row in provider.bill} - {c.charge_id for c in charges}
    return {
        "kills": done,
        "threads": len(threads),
        "billed": len(provider.bill),
        "charged": len(charges),
        "in doubt": len(doubts),
        "in doubt, answered and billed": len(unpaid),
        "in doubt, not yet billed": len(doubts) - len(unpaid),
    }


@pytest.fixture
def places(postgres_url: str, schema: str, redis_url: str) -> dict[str, str]:
    tenant = f"crash-{secrets.token_hex(4)}"
    return {"postgres": postgres_url, "schema": schema, "redis": redis_url, "tenant": tenant}


def test_kills_anywhere_bill_nothing_twice_unlisted(
    nursery: Nursery, provider: Provider, places: dict[str, str]
) -> None:
    told = run(nursery, provider, places, kills=12, seed=5)
    assert told["kills"] == 12


@pytest.mark.crash
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(11, 21))
def test_a_thousand_kills(
    seed: int, nursery: Nursery, provider: Provider, places: dict[str, str]
) -> None:
    """A hundred of the thousand, so that each part can be run by itself."""
    told = run(nursery, provider, places, kills=100, seed=seed)
    print(told)  # noqa: T201 - the run's figures
    assert told["kills"] == 100
