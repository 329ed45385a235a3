"""What a change of model in mid-thread costs, replayed on recorded tool-using conversations."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from plumbgraph.policy import Policy
from plumbgraph.routing import Aim, CostRouter, ModelCard, Price, Request, ThreadView
from plumbgraph.routing.prices import NANO
from plumbgraph.routing.tokens import Usage

PAIRS = {
    "Sonnet 4.5 / Haiku 4.5": (
        Price.per_mtok(3, 15, cache_read=0.3, cache_write=3.75),
        Price.per_mtok(1, 5, cache_read=0.1, cache_write=1.25),
    ),
    "Opus 4.6 / Sonnet 4.5": (
        Price.per_mtok(5, 25, cache_read=0.5, cache_write=6.25),
        Price.per_mtok(3, 15, cache_read=0.3, cache_write=3.75),
    ),
    "GPT-5 / GPT-5-mini": (
        Price.per_mtok(1.25, 10, cache_read=0.125),
        Price.per_mtok(0.25, 2, cache_read=0.025),
    ),
}
BIG, SMALL = "a:big", "a:small"
Choose = Callable[["Call", str, int], str]


@dataclass(frozen=True)
class Call:
    """One model call of a conversation."""

    shown: int
    said: int
    hard: bool
    mid_tool: bool


def conversations(folder: Path) -> list[list[Call]]:
    with gzip.open(folder / "loops" / "tau_airline_gpt4o.json.gz", "rt") as file:
        return [_calls(run["traj"]) for run in json.load(file)]


def _calls(messages: Sequence[dict[str, Any]]) -> list[Call]:
    calls, shown = [], 1_500  # the tools' descriptions come with every call
    for before, message in pairwise(messages):
        shown += _tokens(before)
        if message["role"] == "assistant":
            hard = bool(message.get("tool_calls"))
            calls.append(Call(shown, _tokens(message), hard, before["role"] == "tool"))
    return calls


def _tokens(message: dict[str, Any]) -> int:
    text = (message.get("content") or "") + json.dumps(message.get("tool_calls") or "")
    return len(text) // 4 + 4


def cost(
    calls: Sequence[Call], choose: Choose, prices: dict[str, Price], *, kept: bool
) -> tuple[int, int]:
    """Nano-dollars of a conversation, and its switches.

    `kept` says whether a model's prompt cache outlives the calls made to the other model, as it
    does where a thread comes back within the provider's time to live.
    """
    cached = {BIG: 0, SMALL: 0}
    now, total, switches = BIG, 0, 0
    for number, call in enumerate(calls):
        model = BIG if number == 0 else choose(call, now, cached[now])
        if model != now:
            switches += 1
            cached[now] = cached[now] if kept else 0
        now = model
        read = min(cached[now], call.shown)
        usage = Usage(
            input=call.shown, cache_read=read, cache_write=call.shown - read, output=call.said
        )
        total += prices[now].charge(usage)
        cached[now] = call.shown
    return total, switches


def per_turn(call: Call, now: str, cached: int) -> str:  # noqa: ARG001 - it looks at nothing else
    """Each turn alone: the small model wherever it is good enough."""
    return BIG if call.hard else SMALL


def staying(call: Call, now: str, cached: int) -> str:  # noqa: ARG001 - it looks at nothing
    return now


def routed(prices: dict[str, Price]) -> Choose:
    """The router, told the same about difficulty as `per_turn`."""
    cards = [ModelCard(model=n, price=p, prior=0.9) for n, p in prices.items()]
    told: dict[str, float] = {}

    def predict(_: str) -> dict[str, tuple[float, int]]:
        return {name: (p, 10**9) for name, p in told.items()}

    router = CostRouter(cards, aim=Aim.quality(0.8), predict=predict, policy=Policy())

    def choose(call: Call, now: str, cached: int) -> str:
        told.update({BIG: 0.95, SMALL: 0.6 if call.hard else 0.9})
        view = ThreadView(model=now, cached_tokens=cached, mid_tool=call.mid_tool)
        request = Request(
            text="x",
            input_tokens=call.shown,
            worst_input_tokens=call.shown * 4,
            output_tokens=call.said,
            thread=replace(view, calls=1),
        )
        return router.decide(request).model

    return choose


def measure(folder: Path) -> list[dict[str, Any]]:
    """Dollars of all conversations under each way of choosing."""
    runs = conversations(folder)
    rows = []
    for (name, (big, small)), kept in product(PAIRS.items(), (False, True)):
        prices = {BIG: big, SMALL: small}
        ways: dict[str, Choose] = {
            "staying": staying,
            "per turn": per_turn,
            "ours": routed(prices),
        }
        found = {
            way: [cost(run, choose, prices, kept=kept) for run in runs]
            for way, choose in ways.items()
        }
        usd = {way: sum(c for c, _ in told) / NANO for way, told in found.items()}
        dearer = sum(o > s for (o, _), (s, _) in zip(found["ours"], found["staying"], strict=True))
        rows.append(
            {
                "pair": name,
                "other cache": "kept" if kept else "lost",
                "staying, $": round(usd["staying"], 3),
                "per turn, $": round(usd["per turn"], 3),
                "ours, $": round(usd["ours"], 3),
                "ours / staying": round(usd["ours"] / usd["staying"], 3),
                "ours / per turn": round(usd["ours"] / usd["per turn"], 3),
                "switches a run": round(sum(n for _, n in found["ours"]) / len(runs), 2),
                "runs dearer than staying": dearer,
                "of": len(runs),
            }
        )
    return rows
