"""What a crash test is told and what it finds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeAlias

from plumbgraph.testing.crash.ledger import Ledger

Durability: TypeAlias = Literal["sync", "async", "exit"]

POINTS: dict[str, str] = {
    "before-effect": "effect.intended",
    "after-effect": "effect.returned",
    "effect-recorded": "effect.done",
    "blobs-stored": "workspace.stored",
    "restoring": "workspace.restoring",
    "between-writes-and-put": "saver.between",
    "before-put": "saver.put",
    "after-put": "saver.putted",
}
"""Where a kill can fall, by name: the event at which the process ends itself."""

RANDOM, RESTART = "random", "server-restart"
EVERYWHERE = (RANDOM, *POINTS)
KNOWN = (*EVERYWHERE, RESTART)
"""Further: at any moment of a run; and PostgreSQL crashes and recovers while the run goes on."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a graph under test may ask for by parameter name.

    Attributes:
        saver: The checkpointer to compile with.
        database: URL of the PostgreSQL.
        schema: The trial's own schema.
        folder: The trial's own working folder.
        ledger: Where effects note what they did outside.
    """

    saver: Any
    database: str
    schema: str
    folder: Path
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Setting:
    """How to test.

    Attributes:
        graph: `path.py:name` or `module:name`: a compiled or uncompiled graph, or a function that
            takes parameters of `Bench` by name and returns one.
        database: URL of a PostgreSQL; the test makes schemas of its own and drops them.
        input: What the graph is invoked with.
        kills: How many trials.
        seed: Names the series; trial numbers continue it.
        first: The number of the first trial, to replay one.
        durability: The run's durability.
        asynchronous: Use `ainvoke`.
        save_delay_s: Added to every save, as a slow or distant database does.
        points: Names of points, `random`, and `server-restart`, at which PostgreSQL crashes and
            recovers: a server of the test's own, unless `restart` says how to restart another.
        restart: A shell command that restarts the server of `database`.
        kills_each: The most kills in one trial.
        double_resume: Let two processes resume at once.
        saver: `plumb`, or `postgres` for LangGraph's own, to see the damage.
        timeout_s: Seconds after which one run counts as hung.
    """

    graph: str
    database: str
    input: Any = None
    kills: int = 20
    seed: str = "1"
    first: int = 0
    durability: Durability = "async"
    asynchronous: bool = False
    save_delay_s: float = 0.0
    points: tuple[str, ...] = EVERYWHERE
    restart: str = ""
    kills_each: int = 2
    double_resume: bool = False
    saver: Literal["plumb", "postgres"] = "plumb"
    timeout_s: float = 60.0

    def to_json(self) -> str:
        """For the process that runs it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Setting:
        """What `to_json` wrote."""
        told = json.loads(text)
        return cls(**{**told, "points": tuple(told["points"])})


@dataclass(frozen=True, slots=True)
class Kill:
    """When one process is killed: at the nth time of a point, or after a share of a run's time.

    At `server-restart` the server is, and the process goes on as well as it can.
    """

    point: str
    nth: int = 1
    share: float = 0.0

    @property
    def timed(self) -> bool:
        """Whether it falls at a moment, not at a point the process passes."""
        return self.point in {RANDOM, RESTART}

    def __str__(self) -> str:
        return f"{self.point}@{self.share:.2f}" if self.timed else f"{self.point}#{self.nth}"


def kills_of(setting: Setting, number: int, seen: dict[str, int]) -> list[Kill]:
    """The kills of a trial: the same for the same seed, number and graph.

    Args:
        setting: The series.
        number: The trial.
        seen: How often each point was passed when nobody killed.
    """
    chance = Random(f"{setting.seed}/{number}")  # noqa: S311 - a replayable choice, no secret
    always = {RANDOM, RESTART, "restoring"}
    usable = [p for p in setting.points if p in always or seen.get(POINTS[p])]
    kills: list[Kill] = []
    for _ in range(chance.randint(1, setting.kills_each)):
        point = chance.choice(usable)
        if point == "restoring" and not kills:
            # Nothing is restored before something was destroyed.
            kills.append(Kill(RANDOM, share=chance.uniform(0.2, 0.9)))
        nth = chance.randint(1, max(1, seen.get(POINTS.get(point, ""), 1)))
        share = chance.random()
        kills.append(Kill(point, 1 if point == "restoring" else nth, share))
    return kills


@dataclass(slots=True)
class Trial:
    """What came of one trial.

    Attributes:
        number: Which of the series.
        kills: What killed a process, in order.
        restarts: How often the server was restarted under a running process.
        runs: Processes that ran, two at once counting as one.
        asked: Questions about effects in doubt.
        asked_in_vain: Of these, about effects that had not happened: the kill fell right before.
        asked_outside: Of these, about effects that were on record; always a fault.
        doubled: Effects that happened too often.
        missing: Effects that did not happen.
        again: Branches that had ended and ran once more.
        torn: How often the graph noted in the ledger that files and state disagree (`torn …`).
        files_differ: The folder is not as it is when nobody kills.
        messages_invalid: Why a provider would refuse the messages.
        failed: Why the thread did not come to its end.
    """

    number: int
    kills: list[str] = field(default_factory=list)
    restarts: int = 0
    runs: int = 0
    asked: int = 0
    asked_in_vain: int = 0
    asked_outside: int = 0
    doubled: int = 0
    missing: int = 0
    again: int = 0
    torn: int = 0
    files_differ: bool = False
    messages_invalid: str = ""
    failed: str = ""

    @property
    def sound(self) -> bool:
        """Whether files, effects and messages agree."""
        return not (
            self.doubled
            or self.missing
            or self.torn
            or self.files_differ
            or self.messages_invalid
            or self.failed
            or self.asked_outside
        )


Verdict: TypeAlias = Literal["sound", "damaged", "nothing tested"]


@dataclass(slots=True)
class Report:
    """What came of all trials."""

    setting: Setting
    trials: list[Trial] = field(default_factory=list)
    reference: dict[str, Any] = field(default_factory=dict)
    unharmed: int = 0

    @property
    def kills(self) -> int:
        """Processes that were killed."""
        return sum(len(trial.kills) for trial in self.trials)

    @property
    def verdict(self) -> Verdict:
        """`sound` when every trial was."""
        if not self.kills and not self.total("restarts"):
            return "nothing tested"
        return "sound" if all(trial.sound for trial in self.trials) else "damaged"

    def total(self, name: str) -> int:
        """The sum of one of the trials' counts."""
        return sum(int(bool(v)) if isinstance(v, str) else int(v) for v in self._values(name))

    def _values(self, name: str) -> list[Any]:
        return [getattr(trial, name) for trial in self.trials]

    def replay(self, trial: Trial) -> str:
        """The options that repeat a trial; `random` falls where the machine's speed puts it."""
        return f"--seed {self.setting.seed} --first {trial.number} --kills 1"

    def facts(self) -> dict[str, Any]:
        """All of it as plain data."""
        names = (
            "restarts",
            "asked",
            "asked_in_vain",
            "asked_outside",
            "doubled",
            "missing",
            "again",
            "torn",
            "files_differ",
        )
        return {
            "graph": self.setting.graph,
            "seed": self.setting.seed,
            "verdict": self.verdict,
            "trials": len(self.trials),
            "kills": self.kills,
            "finished_before_kill": self.unharmed,
            **{name: self.total(name) for name in (*names, "messages_invalid", "failed")},
            "damaged": [asdict(trial) for trial in self.trials if not trial.sound],
        }
