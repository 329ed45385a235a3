from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.errors import GraphInterrupt

from plumbgraph.clock import HandClock
from plumbgraph.errors import PolicyDenied, StoreUnavailable
from plumbgraph.redis.clients import Redis
from plumbgraph.routing import Breaker, MemoryHealth, RedisHealth
from plumbgraph.routing.faults import CutAnswer, classify, require_whole
from plumbgraph.routing.handover import author_of, hand_over
from plumbgraph.routing.health import Health, State


class StatusError(Exception):
    """As the providers' clients raise it."""

    def __init__(self, status: int, message: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status_code = status
        self.response = type("R", (), {"status_code": status, "headers": headers})()


class ReadTimeout(Exception):
    """As httpx raises it."""


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "billed"),
    [
        (StatusError(429), "rate_limited", False),
        (StatusError(503), "server", False),
        (StatusError(529), "server", False),
        (StatusError(401), "auth", False),
        (StatusError(408), "timeout", True),
        (StatusError(413), "context", False),
        (StatusError(400, "maximum context length is 8"), "context", False),
        (TimeoutError(), "timeout", True),
        (ReadTimeout(), "timeout", True),
        (ConnectionResetError(), "connection", True),
        (ConnectionRefusedError(), "connection", False),
        (caused(ConnectionError(), ConnectionRefusedError()), "connection", False),
        (CutAnswer(), "cut", True),
        (json.JSONDecodeError("x", "y", 0), "malformed", True),
    ],
)
def test_failures_are_told_apart(error: BaseException, kind: str, billed: bool) -> None:  # noqa: FBT001 - a table's column
    fault = classify(error)
    assert fault is not None
    assert (fault.kind, fault.billed) == (kind, billed)


@pytest.mark.parametrize(
    "error",
    [
        TypeError("bug"),
        KeyError("bug"),
        ValueError("bug"),
        caused(TypeError("bug"), ConnectionError()),
        StatusError(400, "unknown parameter"),
        StatusError(404),
        GraphInterrupt(),
        PolicyDenied("no"),
        StoreUnavailable("ours"),
    ],
)
def test_what_is_not_the_providers_is_nothing_to_fall_back_from(error: BaseException) -> None:
    assert classify(error) is None


def test_retry_after_is_read() -> None:
    fault = classify(StatusError(429, **{"retry-after": "7"}))
    assert fault is not None
    assert fault.retry_after_s == 7
    assert classify(StatusError(429, **{"retry-after": "Wed, 21 Oct"})) is not None


def test_only_providers_that_always_say_why_they_end_must_say_it() -> None:
    silent = AIMessage("x")
    require_whole(silent, "homemade")
    with pytest.raises(CutAnswer):
        require_whole(silent, "openai")
    require_whole(AIMessage("x", response_metadata={"stop_reason": "end_turn"}), "anthropic")


def thoughtful(**told: Any) -> AIMessage:
    return AIMessage(
        [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
        ],
        response_metadata={"plumbgraph": {"model": "anthropic:claude-x"}},
        **told,
    )


def test_the_author_keeps_its_thoughts_and_marks() -> None:
    messages: list[BaseMessage] = [HumanMessage("x"), thoughtful()]
    assert hand_over(messages, "anthropic:claude-x") == messages


def test_another_model_gets_neither() -> None:
    marked = HumanMessage([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}])
    given: list[BaseMessage] = [marked, thoughtful()]
    told = hand_over(given, "openai:gpt-5")
    assert told[0].content == [{"type": "text", "text": "a"}]
    assert told[1].content == [{"type": "text", "text": "hi"}]
    assert given[1].content[0]["type"] == "thinking"  # type: ignore[index]
    same_provider = hand_over(given, "anthropic:claude-y")
    assert same_provider[0].content == marked.content
    assert [b["type"] for b in same_provider[1].content] == ["text"]  # type: ignore[index]


def test_an_answer_that_was_only_a_thought_goes() -> None:
    empty = AIMessage([{"type": "thinking", "thinking": "hm"}])
    called = AIMessage(
        [{"type": "thinking", "thinking": "hm"}],
        tool_calls=[{"name": "t", "args": {}, "id": "1"}],
    )
    assert hand_over([HumanMessage("x"), empty, called], "openai:gpt-5")[1:] == [
        called.model_copy(update={"content": []})
    ]


def test_an_author_is_known_by_what_its_provider_says() -> None:
    said = {"model_provider": "openai", "model_name": "gpt-5-2025-08-07"}
    answer = AIMessage([{"type": "reasoning", "id": "r"}], response_metadata=said)
    assert author_of(answer) == "openai:gpt-5-2025-08-07"
    assert hand_over([answer], "openai:gpt-5") == [answer]
    assert hand_over([answer], "openai:gpt-4") == []


@pytest.fixture(params=["memory", "redis"])
def health(request: pytest.FixtureRequest, clock: HandClock) -> Iterator[Health]:
    breaker = Breaker(failures=2, rest_s=2.0, most_s=10.0, probe_s=5, fresh_s=0.0)
    if request.param == "memory":
        yield MemoryHealth(breaker)
        return
    with Redis(request.getfixturevalue("redis_url")) as redis:
        yield RedisHealth(redis, breaker=breaker)


def test_a_breaker_rests_probes_and_heals(health: Health) -> None:
    import time

    assert health.failed("m", 0.0) == 0.0
    assert health.states(["m", "n"]).get("m", State.READY) is State.READY
    assert health.failed("m", 0.0) == pytest.approx(2.0)
    assert health.states(["m"])["m"] is State.RESTING
    assert not health.probe("m")
    time.sleep(2.05)
    assert health.states(["m"])["m"] is State.PROBE
    assert health.probe("m")
    assert not health.probe("m")
    assert health.states(["m"])["m"] is State.RESTING
    assert health.failed("m", 0.0) == pytest.approx(4.0)
    health.healthy("m")
    assert health.states(["m"]).get("m", State.READY) is State.READY
    assert health.probe("m")


def test_retry_after_rests_at_once(health: Health) -> None:
    assert health.failed("m", 30.0) == 30.0
    assert health.states(["m"])["m"] is State.RESTING


async def test_breakers_in_the_other_color(health: Health) -> None:
    await health.afailed("m", 30.0)
    assert (await health.astates(["m"]))["m"] is State.RESTING
    assert not await health.aprobe("m")
    await health.ahealthy("m")
    assert (await health.astates(["m"])).get("m", State.READY) is State.READY
    if isinstance(health, RedisHealth):
        await health._redis.aclose()


def test_breakers_are_shared_between_processes(redis_url: str) -> None:
    with Redis(redis_url) as a, Redis(redis_url) as b, Redis(redis_url) as c:
        one, two, three = RedisHealth(a), RedisHealth(b), RedisHealth(c)
        for _ in range(3):
            one.failed("m", 0.0)
        assert two.states(["m"])["m"] is State.RESTING
        two.healthy("m")
        assert three.states(["m"])["m"] is State.READY


def test_without_the_server_each_goes_by_its_own_failures() -> None:
    alone = RedisHealth(Redis("redis://127.0.0.1:1/0"), breaker=Breaker(failures=1))
    assert alone.states(["m"]) == {}
    alone.failed("m", 0.0)
    assert alone.states(["m"])["m"] is State.RESTING
