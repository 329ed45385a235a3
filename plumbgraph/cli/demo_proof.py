"""What the event log and the database prove about a run that was killed and resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plumbgraph.cli.demo_acts import Moved, Routed, Stopped
    from plumbgraph.timeline.verdict import Verdict

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
        (record[CALL_ID], record.get("step"))
        for record in records
        if record["event"] == "tool.ended" and CALL_ID in record
    )
    torn_steps = {row.step for row in rows if row.cut}
    twice = [call for (call, step), times in calls.items() if times > 1 and step not in torn_steps]
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
            f"{len(calls)} tool calls, {len(twice)} of them outside that step finished twice",
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


def messages_claim(messages: Sequence[Any]) -> Claim:
    """Each call of a tool in a thread has one answer."""
    asked = [made["id"] for m in messages if m.type == "ai" for made in m.tool_calls]
    answered = [m.tool_call_id for m in messages if m.type == "tool"]
    good = bool(asked) and sorted(asked) == sorted(answered)
    text = f"{len(messages)} messages; {len(asked)} tool calls, each answered once"
    return Claim("messages", good, text if good else f"{asked} asked, {answered} answered")


def files_claim(named: str, found: str, *, notes: int, documents: int, size: int) -> Claim:
    """The folder is what the thread's last checkpoint says, and the work is done."""
    good = named == found and notes == documents > 0 and size > 0
    agree = "the folder is the checkpoint's" if named == found else f"{found} is not {named}"
    return Claim("files", good, f"{notes} notes and report.md with {size:,} bytes; {agree}")


def effects_claim(requests: Sequence[str], alerts: Sequence[str]) -> Claim:
    """A request came again after the kill, under its key, and nobody was alerted twice."""
    again = len(requests) - len(set(requests))
    good = "" not in requests and again > 0 and len(alerts) == len(set(requests))
    text = (
        f"{len(requests)} requests reached the pager, {again} of them a repeat under the same "
        f"key; {len(alerts)} alerts, {len(alerts) - len(set(alerts))} of them twice"
    )
    return Claim("effects", good and len(set(alerts)) == len(alerts), text)


def bill_claim(
    ledger: Mapping[str, Any], charges: Mapping[str, int], logged: Mapping[str, float], calls: int
) -> Claim:
    """The thread in PostgreSQL, the budget in Valkey and the event log hold the same charges."""
    sums = (
        sum(row["cost_usd"] for row in ledger.values()),
        sum(charges.values()) / 1e9,
        sum(logged.values()),
    )
    same = set(ledger) == set(charges) == set(logged) and len(ledger) == calls > 0
    agree = same and max(sums) - min(sums) < 1e-9  # noqa: PLR2004 - a nano-dollar
    told = f"${sums[0]:.6f} in the thread, ${sums[1]:.6f} in Valkey, ${sums[2]:.6f} in the log"
    return Claim("bill", agree, f"{calls} answers, each paid once: {told}")


def skill_events(records: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """When a skill came into the prompt and when it left."""
    wanted = ("skill.loaded", "skill.unloaded")
    return tuple(
        {key: record.get(key) for key in ("event", "skill", "tokens", "why", "step")}
        for record in records
        if record["event"] in wanted
    )


def act_claims(
    moved: Moved,
    routed: Routed,
    stopped: Stopped,
    skill: Sequence[Mapping[str, Any]],
    verdict: Verdict,
) -> list[Claim]:
    """Whether memory, routing, skills and the guard did what the demo says they do."""
    cities = moved.before, moved.after, moved.as_of
    told = [(each["event"], each["skill"]) for each in skill]
    chosen = [decision.chosen.model for _, decision in routed.decisions]
    saved = routed.best_usd - routed.spent_usd
    return [
        Claim(
            "memory",
            cities == ("Seattle", "Portland", "Seattle") and "Portland" in moved.answer,
            f"now {moved.after}, as of before the move {moved.as_of}; the agent says "
            f"{moved.answer!r}",
        ),
        Claim(
            "skill",
            told == [(f"skill.{how}", "note-incidents") for how in ("loaded", "unloaded")],
            "loaded before the first report, put down after the last",
        ),
        Claim(
            "route",
            chosen == ["scripted:small", "scripted:large"] and saved > 0,
            f"talk to the small model, causes to the large one; ${saved:.4f} saved",
        ),
        Claim(
            "guard",
            stopped.code.startswith("loop") and verdict.code == "looping",
            f"the loop ended after {stopped.calls} calls; verdict: {verdict.code}",
        ),
    ]


def plain_claim(alerts: int, lines: int) -> Claim:
    """The same kill with the plain saver did its damage."""
    text = f"the same kill with a plain PostgresSaver: {alerts} alerts for one, {lines} notes"
    return Claim("plain", alerts == 2 and lines == 2, text)  # noqa: PLR2004 - one and its double
