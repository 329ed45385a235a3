"""What a change of model in mid-thread costs, replayed on recorded tool-using conversations."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
TTL_S = 300.0
Choose = Callable[["Call", str, "Caches", int], str]


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


class Caches:
    """What each model's provider has cached of a conversation, while time goes by."""

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s
        self._held: dict[str, tuple[int, int]] = {}

    def of(self, model: str, number: int) -> tuple[int, float]:
        """Tokens, and seconds since the model's last call; none that are too old."""
        tokens, last = self._held.get(model, (0, number))
        age_s = (number - last) * self.pause_s
        return (tokens if age_s <= TTL_S else 0), age_s

    def asked(self, model: str, number: int, tokens: int) -> None:
        self._held[model] = (tokens, number)


def charge(call: Call, cached: int, price: Price) -> int:
    read = min(cached, call.shown)
    written = call.shown - read
    return price.charge(
        Usage(input=call.shown, cache_read=read, cache_write=written, output=call.said)
    )


def cost(
    calls: Sequence[Call], choose: Choose, prices: dict[str, Price], *, pause_s: float
) -> tuple[int, int]:
    """Nano-dollars of a conversation, and its switches."""
    caches = Caches(pause_s)
    now, total, switches = BIG, 0, 0
    for number, call in enumerate(calls):
        model = BIG if number == 0 else choose(call, now, caches, number)
        switches += model != now
        now = model
        total += charge(call, caches.of(now, number)[0], prices[now])
        caches.asked(now, number, call.shown)
    return total, switches


def cheapest(calls: Sequence[Call], prices: dict[str, Price], *, pause_s: float) -> int:
    """Nano-dollars of the best choices with all the future known.

    The big model where it is hard, and no change between a tool's call and its result.
    """
    ends: dict[tuple[str, int, int], int] = {(BIG, 0, -1): charge(calls[0], 0, prices[BIG])}
    for number, call in enumerate(calls[1:], 1):
        after: dict[tuple[str, int, int], int] = {}
        for (now, big_at, small_at), spent in ends.items():
            for place, model in enumerate((BIG, SMALL)):
                bound = call.mid_tool and model != now
                if bound or (call.hard and model == SMALL and not call.mid_tool):
                    continue
                before = small_at if place else big_at
                warm = before >= 0 and (number - before) * pause_s <= TTL_S
                held = calls[before].shown if warm else 0
                key = (model, big_at, number) if place else (model, number, small_at)
                total = spent + charge(call, held, prices[model])
                known = after.get(key)
                after[key] = total if known is None else min(known, total)
        ends = after
    return min(ends.values())


def per_turn(call: Call, now: str, caches: Caches, number: int) -> str:  # noqa: ARG001 - it looks at nothing else
    """Each turn alone: the small model wherever it is good enough."""
    return BIG if call.hard else SMALL


def staying(call: Call, now: str, caches: Caches, number: int) -> str:  # noqa: ARG001 - it looks at nothing
    return now


def routed(prices: dict[str, Price]) -> Choose:
    """The router, told the same about difficulty as `per_turn`."""
    cards = [ModelCard(model=n, price=p, prior=0.9) for n, p in prices.items()]
    told: dict[str, float] = {}

    def predict(_: str) -> dict[str, tuple[float, int]]:
        return {name: (p, 10**9) for name, p in told.items()}

    router = CostRouter(cards, aim=Aim.quality(0.8), predict=predict, policy=Policy())

    def choose(call: Call, now: str, caches: Caches, number: int) -> str:
        told.update({BIG: 0.95, SMALL: 0.6 if call.hard else 0.9})
        cached, idle_s = caches.of(now, number)
        view = ThreadView(
            model=now,
            cached_tokens=cached,
            idle_s=idle_s,
            calls=number,
            mid_tool=call.mid_tool,
            others={name: caches.of(name, number) for name in prices if name != now},
        )
        request = Request(
            text="x",
            input_tokens=call.shown,
            worst_input_tokens=call.shown * 4,
            output_tokens=call.said,
            thread=view,
        )
        return router.decide(request).model

    return choose


def measure(folder: Path) -> list[dict[str, Any]]:
    """Dollars of all conversations under each way of choosing.

    With long pauses the cache of a model that is left for one call is gone on the return; with
    short ones it is kept. What no router can undercut stands beside both: where it lies above the
    cost of each turn alone, that way is only cheaper by changing the model between a tool's call
    and its result.
    """
    runs = conversations(folder)
    rows = []
    for (name, (big, small)), pause_s in product(PAIRS.items(), (200.0, 10.0)):
        prices = {BIG: big, SMALL: small}
        ways: dict[str, Choose] = {
            "staying": staying,
            "per turn": per_turn,
            "ours": routed(prices),
        }
        found = {
            way: [cost(run, choose, prices, pause_s=pause_s) for run in runs]
            for way, choose in ways.items()
        }
        usd = {way: sum(c for c, _ in told) / NANO for way, told in found.items()}
        bound = sum(cheapest(run, prices, pause_s=pause_s) for run in runs) / NANO
        dearer = sum(o > s for (o, _), (s, _) in zip(found["ours"], found["staying"], strict=True))
        rows.append(
            {
                "pair": name,
                "pause, s": pause_s,
                "cache of a model left": "kept" if pause_s * 2 <= TTL_S else "lost",
                "staying, $": round(usd["staying"], 3),
                "per turn, $": round(usd["per turn"], 3),
                "ours, $": round(usd["ours"], 3),
                "least possible, $": round(bound, 3),
                "ours / staying": round(usd["ours"] / usd["staying"], 3),
                "ours / per turn": round(usd["ours"] / usd["per turn"], 3),
                "least possible / per turn": round(bound / usd["per turn"], 3),
                "switches a run": round(sum(n for _, n in found["ours"]) / len(runs), 2),
                "runs dearer than staying": dearer,
                "of": len(runs),
            }
        )
    return rows
