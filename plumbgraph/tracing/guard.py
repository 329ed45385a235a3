"""Stop a run that loops or outspends its limits: warn the model once, then end it with a reason."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from typing_extensions import TypedDict

from plumbgraph.errors import SettingsError
from plumbgraph.tracing.events import Event
from plumbgraph.tracing.loops import Finding, Print, Rules, examine

_WINDOW = 100  # calls kept in state, about 5 KB
_NANO = 1_000_000_000

NOTICE = "plumbgraph_guard"
"""Key in `additional_kwargs` of the guard's message to the model: no person said it."""

Action = Literal["go", "warn", "stop"]


class GuardMemory(TypedDict, total=False):
    """What the guard keeps in a thread's state between steps (version 1).

    `calls`, `steps` and `cost_nano_usd` count this run; `prints` holds the fingerprints of its
    last calls; `warned` the code the model was warned of, at call `warned_at`.
    """

    v: int
    run: str
    prints: list[list[Any]]
    calls: int
    steps: int
    cost_nano_usd: int
    active_s: float
    last_at: float
    process: str
    warned: str
    warned_at: int
    last_id: str | None
    stop_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopDetected(Event):
    """The guard saw a loop and warned the model."""

    name: ClassVar[str] = "loop.detected"
    level: ClassVar[int] = logging.WARNING
    code: str
    reason: str
    cycle: tuple[str, ...]
    since_call: int
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopped(Event):
    """The guard ended the run; its state is saved."""

    name: ClassVar[str] = "run.stopped"
    level: ClassVar[int] = logging.WARNING
    stop_reason: str
    reason: str
    calls: int
    steps: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What happened since the guard last looked.

    Attributes:
        run: The run's id; another one starts the counts anew.
        prints: The tool calls that finished.
        cost_usd: What the model calls cost, as far as it is known.
        at: Seconds on the wall clock.
        process: A token of this process: time between two processes is not counted.
    """

    run: str
    prints: Sequence[Print]
    cost_usd: float
    at: float
    process: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to do now, why, and what to remember.

    Attributes:
        action: `go` on, `warn` the model, or `stop` the run.
        code: `loop.cycle`, `loop.stale`, `loop.drift`, `loop.errors`, `budget.steps`,
            `budget.cost`, `budget.time`, or empty.
        reason: One sentence for people and for the model.
        memory: The thread's guard state after this step.
        event: What to emit, if anything.
    """

    action: Action
    code: str
    reason: str
    memory: GuardMemory
    event: Event | None = None


class Guard:
    """Loop and budget guard: rules, limits, and the decision at each step.

    A loop is first told to the model, once; when it goes on for `patience` more calls the run is
    stopped with its state saved, so that it can be looked at and resumed. Budgets stop at once.
    Polling is no loop as long as its results change; tools named in `poll` may repeat unchanged
    results too.

    Args:
        rules: When calls without news become a loop.
        poll: Tools that may repeat with an unchanged result.
        patience: Calls the model gets after the warning.
        max_steps: Model turns in one run.
        max_usd: Dollars in one run, counted from the messages' own cost; None for no limit.
        max_s: Seconds a run may be active; waiting for a person or a restart is not counted.

    Raises:
        SettingsError: A limit is not positive.
    """

    def __init__(
        self,
        *,
        rules: Rules | None = None,
        poll: Sequence[str] = (),
        patience: int = 4,
        max_steps: int = 200,
        max_usd: float | None = 10.0,
        max_s: float | None = 3600.0,
    ) -> None:
        limits = {"patience": patience, "max_steps": max_steps, "max_usd": max_usd, "max_s": max_s}
        for name, limit in limits.items():
            if limit is not None and limit <= 0:
                raise SettingsError(f"Guard({name}={limit!r}) is not positive.")
        base = rules or Rules()
        self.rules = replace(base, poll=base.poll | frozenset(poll))
        self.patience = patience
        self.max_steps = max_steps
        self.max_usd = max_usd
        self.max_s = max_s

    def judge(self, memory: GuardMemory | None, seen: Observation) -> Judgement:
        """Decide about one step; pure, the caller keeps `memory` in the thread's state."""
        kept = _grown(memory or {}, seen)
        over = self._over(kept)
        if over:
            return _stopped(kept, *over)
        prints = [Print(*each) for each in kept["prints"]]
        found = examine(prints, self.rules)
        if found is None:
            return Judgement("go", "", "", kept)
        return self._looping(kept, found, len(prints))

    def _looping(self, kept: GuardMemory, found: Finding, window: int) -> Judgement:
        if "warned" not in kept:
            since = kept["calls"] - window + found.since
            warned: GuardMemory = {**kept, "warned": found.code, "warned_at": kept["calls"]}
            event = LoopDetected(
                code=found.code,
                reason=found.reason,
                cycle=found.cycle,
                since_call=since,
                cost_usd=kept["cost_nano_usd"] / _NANO,
            )
            return Judgement("warn", found.code, found.reason, warned, event)
        if kept["calls"] - kept["warned_at"] < self.patience:
            return Judgement("go", "", "", kept)
        return _stopped(kept, found.code, found.reason)

    def _over(self, kept: GuardMemory) -> tuple[str, str] | None:
        cost = kept["cost_nano_usd"] / _NANO
        if kept["steps"] > self.max_steps:
            return "budget.steps", f"the run took more than {self.max_steps} steps"
        if self.max_usd is not None and cost > self.max_usd:
            return "budget.cost", f"the run cost ${cost:.2f}, more than ${self.max_usd:.2f}"
        if self.max_s is not None and kept["active_s"] > self.max_s:
            return "budget.time", f"the run was active for more than {self.max_s:.0f} s"
        return None


def _grown(memory: GuardMemory, seen: Observation) -> GuardMemory:
    if memory.get("run") != seen.run:
        memory = {"run": seen.run}
    same = memory.get("process") == seen.process
    passed = max(0.0, seen.at - memory.get("last_at", seen.at)) if same else 0.0
    fresh = [[each.name, each.exact, each.loose, each.failed] for each in seen.prints]
    kept: GuardMemory = {
        **memory,
        "v": 1,
        "prints": [*memory.get("prints", []), *fresh][-_WINDOW:],
        "calls": memory.get("calls", 0) + len(fresh),
        "steps": memory.get("steps", 0) + 1,
        "cost_nano_usd": memory.get("cost_nano_usd", 0) + round(seen.cost_usd * _NANO),
        "active_s": round(memory.get("active_s", 0.0) + passed, 3),
        "last_at": seen.at,
        "process": seen.process,
    }
    return kept


def _stopped(kept: GuardMemory, code: str, reason: str) -> Judgement:
    event = RunStopped(
        stop_reason=code,
        reason=reason,
        calls=kept["calls"],
        steps=kept["steps"],
        cost_usd=kept["cost_nano_usd"] / _NANO,
    )
    return Judgement("stop", code, reason, {**kept, "stop_reason": code}, event)
