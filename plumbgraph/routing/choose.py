"""The choice among candidates that may be used, and whether to stay with the thread's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from plumbgraph.errors import SettingsError
from plumbgraph.routing.prices import NANO
from plumbgraph.routing.values import Code, Estimate, Request

_CALIBRATION = 0.02


@dataclass(frozen=True, slots=True)
class Aim:
    """What the choice is for.

    Make one with `Aim.quality`, `Aim.value` or `Aim.share`.
    """

    kind: Literal["quality", "value", "share"]
    level: float

    @classmethod
    def quality(cls, p_ok: float) -> Aim:
        """The cheapest candidate whose P(ok) reaches this; the best one where none does."""
        return cls("quality", _fraction(p_ok, "quality"))

    @classmethod
    def value(cls, usd: float) -> Aim:
        """The greatest P(ok) times what an answer that will do is worth, less its cost."""
        if not usd > 0:
            raise SettingsError(f"The value {usd!r} of an answer must be more than $0.")
        return cls("value", usd)

    @classmethod
    def share(cls, strong: float) -> Aim:
        """The strong model for this share of live traffic: where it gains most over the weak.

        The threshold is a quantile of recent requests, so that a change of traffic does not
        change the spend.
        """
        return cls("share", _fraction(strong, "share"))


class Choice(NamedTuple):
    """A candidate and why."""

    model: str
    code: Code
    reason: str


def choose(
    estimates: Sequence[Estimate], aim: Aim, *, score: float | None = None, strong: bool = False
) -> Choice:
    """The candidate that serves the aim.

    Args:
        estimates: All that may be used; at least one.
        aim: What it is for.
        score: Gain of strong over weak, for the reason.
        strong: For `share`: whether this request is among the share.
    """
    if len(estimates) == 1:
        return Choice(estimates[0].model, "only", "No other candidate may be used.")
    if aim.kind == "share":
        pick, side = (best_of, "within") if strong else (cheapest_of, "below")
        told = f"a gain of {score or 0:+.3f} is {side} the top {aim.level:.0%} of traffic."
        return Choice(pick(estimates).model, "share", told)
    if aim.kind == "value":
        worth = aim.level * NANO
        most = max(estimates, key=lambda e: (e.p_ok * worth - e.expected_nano, -e.expected_nano))
        gain = (most.p_ok * worth - most.expected_nano) / NANO
        return Choice(most.model, "value", f"P(ok) {most.p_ok:.2f} leaves ${gain:.6f} net.")
    good = [e for e in estimates if e.p_ok >= aim.level]
    if good:
        least = cheapest_of(good)
        reason = f"cheapest with P(ok) {least.p_ok:.2f} ≥ {aim.level:.2f}."
        return Choice(least.model, "cheapest_good", reason)
    best = best_of(estimates)
    return Choice(
        best.model, "best", f"none reaches {aim.level:.2f}; P(ok) {best.p_ok:.2f} is most."
    )


def gate(choice: Choice, estimates: Sequence[Estimate], request: Request, *, rescue: int) -> Choice:
    """Stay with the thread's model unless a switch is due, allowed now, and pays.

    A switch to a better model is due. A switch to a cheaper one must pay for both caches: the
    one that it fills, and what the one it leaves has lost when the thread comes back.

    Args:
        choice: What would be chosen without a past.
        estimates: All that may be used.
        request: With the thread's past.
        rescue: So many failures in a row make the best other candidate take over.
    """
    thread = request.thread
    now = next((e for e in estimates if e.model == thread.model), None)
    if now is None:
        return choice
    if thread.failures >= rescue and len(estimates) > 1:
        other = best_of([e for e in estimates if e.model != now.model])
        told = f"{now.model} failed {thread.failures} times in a row."
        return Choice(other.model, "rescued", told)
    if choice.model == now.model:
        return choice
    if thread.mid_tool:
        return Choice(now.model, "stayed", "A tool call is answered by the model that made it.")
    then = next(e for e in estimates if e.model == choice.model)
    if then.p_ok > now.p_ok + _CALIBRATION:
        return choice
    left = max(request.turns_left, 0.0)
    stay = now.expected_nano + left * now.later_nano
    switch = then.expected_nano + left * then.later_nano + now.return_nano
    if switch < stay:
        return choice
    lost = (switch - stay) / NANO
    reason = f"{then.model} would cost ${lost:.6f} more for cold prompt caches."
    return Choice(now.model, "stayed", reason)


def order(choice: Choice, estimates: Sequence[Estimate]) -> tuple[Estimate, ...]:
    """The chosen candidate, then the others as fallbacks: best first, cheaper where equal."""
    rest = sorted(
        (e for e in estimates if e.model != choice.model),
        key=lambda e: (-e.p_ok, e.expected_nano, e.model),
    )
    return (next(e for e in estimates if e.model == choice.model), *rest)


def gain(estimates: Sequence[Estimate]) -> float:
    """How much likelier the best candidate will do than the cheapest."""
    return best_of(estimates).p_ok - cheapest_of(estimates).p_ok


def cheapest_of(estimates: Sequence[Estimate]) -> Estimate:
    """The one with the lowest expected cost, the better of equals."""
    return min(estimates, key=lambda e: (e.expected_nano, -e.p_ok, e.model))


def best_of(estimates: Sequence[Estimate]) -> Estimate:
    """The one with the highest P(ok), the cheaper of equals."""
    return min(estimates, key=lambda e: (-e.p_ok, e.expected_nano, e.model))


def _fraction(value: float, what: str) -> float:
    if not 0 < value < 1:
        raise SettingsError(f"The {what} {value!r} must lie between 0 and 1.")
    return value
