"""What the event log and the database prove about a run that was killed and resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CALL_ID = "gen_ai.tool.call.id"


@dataclass(frozen=True, slots=True)
class Row:
    """One step of the timeline: how long each process worked on it, `None` for not at all.

    `cut` says that the first process was killed while it worked on the step.
    """

    step: int
    node: str
    first_ms: float | None
    second_ms: float | None
    cut: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """Something proven, or not: from which source, in one sentence."""

    source: str
    holds: bool
    text: str


def timeline(records: Iterable[Mapping[str, Any]], first: int, second: int) -> list[Row]:
    """The steps in order, from the node events of two processes."""
    started: dict[tuple[int, str], set[int]] = {}
    ended: dict[tuple[int, str, int], float] = {}
    for record in records:
        if record["event"] == "node.started":
            started.setdefault((record["step"], record["node"]), set()).add(record["pid"])
        elif record["event"] == "node.ended":
            ended[record["step"], record["node"], record["pid"]] = record["duration_ms"]
    return [
        Row(
            step,
            node,
            ended.get((step, node, first)),
            ended.get((step, node, second)),
            cut=first in pids and (step, node, first) not in ended,
        )
        for (step, node), pids in sorted(started.items())
    ]


def log_claims(records: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> list[Claim]:
    """What the event log says: nothing that finished ran again, no call finished twice."""
    finished = [row for row in rows if row.first_ms is not None]
    again = [row.step for row in finished if row.second_ms is not None]
    cut = [str(row.step) for row in rows if row.cut]
    anew = [str(row.step) for row in rows if row.cut and row.second_ms is not None]
    calls = Counter(
        record[CALL_ID]
        for record in records
        if record["event"] == "tool.ended" and CALL_ID in record
    )
    twice = [call for call, times in calls.items() if times > 1]
    torn = f"; only step {', '.join(cut)}, cut off, ran anew" if cut else ""
    return [
        Claim(
            "event log",
            bool(finished) and not again and cut == anew,
            f"{len(finished)} steps finished before the kill, {len(again)} ran again{torn}",
        ),
        Claim(
            "event log",
            bool(calls) and not twice,
            f"{len(calls)} tool calls, {len(twice)} of them finished more than once",
        ),
    ]


def database_claims(
    before: Mapping[str, int], after: Mapping[str, int], rows: Sequence[Row]
) -> list[Claim]:
    """What the checkpoints say, given as id → step right after the kill and at the end."""
    kept = all(after.get(each) == step for each, step in before.items())
    repeated = [step for step, times in Counter(after.values()).items() if times > 1]
    finished = {row.step for row in rows if row.first_ms is not None}
    lost = finished - set(before.values())
    return [
        Claim(
            "PostgreSQL",
            kept and bool(before) and not lost,
            f"the {len(before)} checkpoints of before the kill are there unchanged, "
            f"{len(lost)} finished steps lost",
        ),
        Claim(
            "PostgreSQL",
            not repeated and len(after) > len(before),
            f"{len(after)} checkpoints in the end, {len(repeated)} steps stand there twice",
        ),
    ]
