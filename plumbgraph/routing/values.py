"""The values of a routing decision: what is asked, what is known, what was decided and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal, TypeAlias

from plumbgraph.routing.tokens import Usage

Code: TypeAlias = Literal[
    "pinned", "only", "cheapest_good", "best", "value", "share", "explored", "stayed", "rescued",
    "escalated", "failed_over", "replayed", "cheaper_floor",
]  # fmt: skip
"""Why a model was chosen, for programs; `reason` says it in words."""


def shallow(value: object) -> dict[str, Any]:
    """A dataclass's fields by name, as they are; `asdict` copies each of them deeply."""
    return {name: getattr(value, name) for name in _names(type(value))}  # type: ignore[arg-type]  # a class can be hashed


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadView:
    """What a thread's past means for the next choice.

    Attributes:
        model: The model that answered last, `""` where none did.
        cached_tokens: Input tokens of its last call, which its provider may still have cached.
        idle_s: Seconds since that call.
        calls: Model calls so far.
        failures: Failures in a row of that model, reported by tools, tests or the user.
        mid_tool: The last messages are a tool call or its result.
        others: Of models that answered before: the input tokens then, and seconds since.
    """

    model: str = ""
    cached_tokens: int = 0
    idle_s: float = 0.0
    calls: int = 0
    failures: int = 0
    mid_tool: bool = False
    others: Mapping[str, tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One model call that is to be routed.

    Attributes:
        text: What the learner reads: the user's latest words.
        node: Name of the graph node.
        skill: The skill at work, if any.
        task: The application's own label of the task.
        input_tokens: Expected input tokens.
        worst_input_tokens: Input tokens that cannot be exceeded.
        output_tokens: Expected output tokens.
        max_output_tokens: Limit on output tokens; else the card's.
        needs: Profile fields that must be true, such as `tool_calling` or `image_inputs`.
        data_classes: Classes of the data in the request.
        regions: Only models that compute there; `None` for any.
        pin: Use this model and no other.
        thread: The thread's past.
        turns_left: How many more calls after this one a switch may count on to pay for itself.
    """

    text: str = ""
    node: str = ""
    skill: str = ""
    task: str = ""
    input_tokens: int = 0
    worst_input_tokens: int = 0
    output_tokens: int = 400
    max_output_tokens: int | None = None
    needs: frozenset[str] = frozenset()
    data_classes: frozenset[str] = frozenset()
    regions: frozenset[str] | None = None
    pin: str = ""
    thread: ThreadView = field(default_factory=ThreadView)
    turns_left: float = 0.0

    @property
    def cell(self) -> str:
        """The task cell whose outcomes speak for this request."""
        return f"{self.node}/{self.skill}/{self.task}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a candidate may not be used: the rule and the words for it."""

    model: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is expected of a candidate that may be used.

    Attributes:
        model: Its name.
        p_ok: Probability that its answer will do.
        p_source: What that rests on: the prior, outcomes of the cell or, where it has none, of
            other tasks, and the text model, with their numbers.
        expected_nano: Expected nano-dollars of the call, prompt cache considered.
        worst_nano: Nano-dollars that the call cannot exceed.
        later_nano: Expected nano-dollars of a like call once its prompt cache is warm.
        cold_nano: Expected nano-dollars of a like call with a cold one.
        max_output_tokens: The limit that makes the worst case hold.
        return_nano: What it costs more to come back to it after one call elsewhere: the cold
            cache, or where that outlives the absence the tokens it has missed.
    """

    model: str
    p_ok: float
    p_source: str
    expected_nano: int
    worst_nano: int
    later_nano: int
    cold_nano: int
    max_output_tokens: int
    return_nano: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which model, why, and what else was possible.

    Attributes:
        model: The chosen one.
        code: The kind of reason.
        reason: One sentence.
        candidates: Estimates of all that may be used, the chosen one and then the fallbacks in
            the order they would be tried.
        refusals: Those that may not, each with its rule.
        propensity: Probability with which this choice was made (1 where nothing was drawn).
        policy_digest: The policy that was asked.
        baseline_nano: Expected cost of the candidate with the highest P(ok).
        score: What `share` compared with its threshold, where it decided.
        threshold: That threshold.
        shadow: A model to ask as well, whose answer is never returned; `""` for none.
    """

    model: str
    code: Code
    reason: str
    candidates: tuple[Estimate, ...]
    refusals: tuple[Refusal, ...] = ()
    propensity: float = 1.0
    policy_digest: str = ""
    baseline_nano: int = 0
    score: float | None = None
    threshold: float | None = None
    shadow: str = ""

    @property
    def chosen(self) -> Estimate:
        """The chosen candidate's estimate."""
        return next(c for c in self.candidates if c.model == self.model)

    @property
    def saved_nano(self) -> int:
        """Expected saving against the candidate with the highest P(ok)."""
        return self.baseline_nano - self.chosen.expected_nano

    def _repr_html_(self) -> str:
        from plumbgraph.routing.shown import decision_fragment  # noqa: PLC0415 - only when shown

        return decision_fragment(self)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for a journal or a log."""
        told = shallow(self)
        told["candidates"] = tuple(map(shallow, self.candidates))
        told["refusals"] = tuple(map(shallow, self.refusals))
        return told

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Decision:
        """The inverse of `to_dict`."""
        return cls(
            **{
                **told,
                "candidates": tuple(Estimate(**c) for c in told["candidates"]),
                "refusals": tuple(Refusal(**r) for r in told["refusals"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One paid call, as a row of the ledger.

    Attributes:
        charge_id: The provider's response id, else the lease's.
        lease: The reservation it settled.
        model: Who answered.
        nano: Nano-dollars.
        usage: Tokens by kind, `None` where the provider did not say (then `nano` is the worst
            case).
        price_source: Where the price comes from, with its version.
        code: Why this model.
        node: Graph node.
        task: Task cell.
        thread_id: The thread.
        propensity: Of the decision.
        at: Seconds since the epoch.
    """

    charge_id: str
    lease: str
    model: str
    nano: int
    usage: Usage | None
    price_source: str
    code: str
    node: str = ""
    task: str = ""
    thread_id: str = ""
    propensity: float = 1.0
    at: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return shallow(self) | {"usage": shallow(self.usage) if self.usage else None}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Charge:
        """The inverse of `to_dict`."""
        usage = told.get("usage")
        return cls(**{**told, "usage": Usage(**usage) if usage else None})
