from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from plumbgraph.plan import Plan, arun, run

Drive = Callable[[Plan[str, int, int], Callable[[str], int]], int]


def drive_async(plan: Plan[str, int, int], send: Callable[[str], int]) -> int:
    async def asend(batch: str) -> int:
        await asyncio.sleep(0)
        return send(batch)

    async def go() -> int:
        return await arun(plan, asend)

    return asyncio.run(go())


def total(words: list[str]) -> Plan[str, int, int]:
    found = 0
    for word in words:
        found += yield word
    return found


def patient(tries: int) -> Plan[str, int, int]:
    for _ in range(tries):
        try:
            return (yield "ask")
        except ConnectionError:
            continue
    return -1


BOTH = pytest.mark.parametrize("drive", [run, drive_async], ids=["sync", "async"])


@BOTH
def test_a_plan_is_sent_its_replies(drive: Drive) -> None:
    assert drive(total(["a", "bbb"]), len) == 4


@BOTH
def test_a_plan_without_io_returns(drive: Drive) -> None:
    assert drive(total([]), len) == 0


@BOTH
def test_an_error_is_thrown_in_where_it_happened(drive: Drive) -> None:
    faults = [ConnectionError("down")]

    def send(_: str) -> int:
        if faults:
            raise faults.pop()
        return 7

    assert drive(patient(3), send) == 7


@BOTH
def test_an_unhandled_error_reaches_the_caller(drive: Drive) -> None:
    def send(_: str) -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        drive(total(["a"]), send)


@BOTH
def test_a_stop_iteration_of_the_wire_is_no_result(drive: Drive) -> None:
    def send(_: str) -> int:
        raise StopIteration(99)

    with pytest.raises(RuntimeError):
        drive(total(["a"]), send)


def test_an_abandoned_plan_is_closed() -> None:
    closed = []

    def plan() -> Plan[str, int, int]:
        try:
            return (yield "x")
        finally:
            closed.append(True)

    def send(_: str) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan(), send)
    assert closed == [True]


async def test_a_cancelled_plan_is_closed() -> None:
    closed = []

    def plan() -> Plan[str, int, int]:
        try:
            return (yield "x")
        finally:
            closed.append(True)

    async def forever(_: str) -> int:
        await asyncio.Event().wait()
        return 0

    task: Awaitable[int] = asyncio.ensure_future(arun(plan(), forever))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, 0.01)
    assert closed == [True]
