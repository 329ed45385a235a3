"""What went wrong in a session: pure rules over its events, steps and tool calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plumbgraph.timeline.causes import cause_of
from plumbgraph.timeline.evidence import EffectFact, Record
from plumbgraph.timeline.session import Session, Use
from plumbgraph.tracing.loops import Print, Rules, examine

_BAD_SCORE = 0.5
_LONGEST_CYCLE = 8
_NODE_ROUNDS = 4
_CONFLICTS = {"contested", "quarantined"}
_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that went wrong, where, and in which words.

    Attributes:
        code: As in a verdict.
        step: Where it began.
        cycle: What repeats, for a loop.
        cost_usd: What it cost, for a loop.
    """

    code: str
    step: int
    text: str
    node: str | None = None
    cycle: tuple[str, ...] = ()
    cost_usd: float | None = None


def findings_of(session: Session, effects: Sequence[EffectFact] = ()) -> list[Finding]:
    """Everything found, the order of steps within each kind."""
    found = [
        *_lost_files(session),
        *_doubts(session, effects),
        *_loops(session),
        *_stops(session),
        *_tool_errors(session),
        *_memory_conflicts(session),
        *_wrong_routes(session),
        *_refusals(session),
    ]
    return list(dict.fromkeys(found))


def _loops(session: Session) -> Iterable[Finding]:
    uses = session.uses
    seen = examine([use.seen for use in uses], _RULES)
    if seen is not None and seen.since < len(uses):
        first = uses[_beginning(uses, seen.since, seen.code)]
        yield _loop(session, first.step, first.node, seen.cycle, seen.reason)
        return
    for record in session.records:
        if record.get("event") == "loop.detected":
            nth = int(record.get("since_call") or 0)
            step = uses[nth].step if nth < len(uses) else session.places.step(record)
            if not _went_on(session, record):
                cycle = tuple(record.get("cycle") or ())
                yield _loop(session, step or 0, None, cycle, str(record.get("reason", "")))
            return
    yield from _node_loop(session)


def _beginning(uses: Sequence[Use], since: int, code: str) -> int:
    """The first call of the loop; rules of news count from the first one without any."""
    if code in {"loop.stale", "loop.drift"}:
        keys = {use.seen.loose for use in uses[since:]}
        while since and uses[since - 1].seen.loose in keys:
            since -= 1
    return since


def _went_on(session: Session, warned: Record) -> bool:
    """Whether the model found another way after the guard's warning."""
    events = [record.get("event") for record in session.records]
    after = session.records[session.records.index(warned) :]
    if "run.stopped" in events:
        return False
    return any(record.get("event") == "tool.ended" for record in after)


def _loop(
    session: Session, step: int, node: str | None, cycle: tuple[str, ...], reason: str
) -> Finding:
    cost = session.cost_since(step)
    return Finding("looping", step, reason, node, cycle, cost)


def _node_loop(session: Session) -> Iterable[Finding]:
    """Nodes that go round without tools; only where the run did not come to its end."""
    last = session.last
    if last is None or last.ending in {"done", "interrupted", "cancelled"}:
        return
    limit = cause_of(last.error_type) == "stopped_by_budget"
    rows = [row for row in session.rows if row.depth == 0 and row.status == "done"]
    digests = {
        (session.places.step(record), record.get("node")): str(record.get("result_digest"))
        for record in session.records
        if record.get("event") == "node.ended"
    }
    exact = [Print(row.node, f"{row.node} {digests.get((row.step, row.node))}", "") for row in rows]
    start = _period_start([each.exact for each in exact], _RULES.cycle)
    if start is None and limit and not session.uses:
        start = _period_start([row.node for row in rows], 2 * _NODE_ROUNDS)
    if start is None:
        return
    index, period = start
    cycle = tuple(row.node for row in rows[index : index + period])
    words = f"{' → '.join(cycle)} goes round without an end"
    yield _loop(session, rows[index].step, rows[index].node, cycle, words)


def _period_start(keys: Sequence[str], repeats: int) -> tuple[int, int] | None:
    """Where the tail of `keys` begins to be periodic, and its period."""
    for period in range(1, _LONGEST_CYCLE + 1):
        index = len(keys) - 1
        while index >= period and keys[index] == keys[index - period]:
            index -= 1
        again = len(keys) - 1 - index
        if again >= max(repeats, _NODE_ROUNDS * period - period):
            return index - period + 1, period
    return None


def _stops(session: Session) -> Iterable[Finding]:
    for record in session.records:
        if record.get("event") == "run.stopped":
            code = str(record.get("stop_reason", ""))
            if not code.startswith("loop."):
                step = session.places.step(record) or session.last_step
                text = str(record.get("reason", code))
                yield Finding("stopped_by_budget", step, text, session.places.node(record))
            return
    head = session.head
    reason = str((head.values or {}).get("stop_reason") or "") if head else ""
    if head and reason.startswith("budget."):
        yield Finding("stopped_by_budget", head.step, f"the guard stopped it ({reason})")


def _tool_errors(session: Session) -> Iterable[Finding]:
    """Tools whose last calls failed: the first of those calls. What was made good is no error."""
    streaks: dict[str, list[int]] = {}
    for index, use in enumerate(session.uses):
        streaks[use.tool] = [*streaks.get(use.tool, ()), index] if use.failed else []
    for tool, streak in streaks.items():
        if streak:
            first = session.uses[streak[0]]
            times = f" {len(streak)} times" if len(streak) > 1 else ""
            yield Finding(
                "tool_error", first.step, f"{tool} failed{times}: {first.text}", first.node
            )


def _memory_conflicts(session: Session) -> Iterable[Finding]:
    open_: dict[tuple[str, str], Finding] = {}
    for record in session.records:
        if record.get("event") != "memory.fact":
            continue
        where = str(record.get("namespace", "")), str(record.get("key", ""))
        said = record.get("said")
        if said in _CONFLICTS:
            step = session.places.step(record) or 0
            text = f"{'/'.join(where)} is {said}: two claims, none stands"
            open_.setdefault(
                where, Finding("memory_conflict", step, text, session.places.node(record))
            )
        elif said in {"settled", "superseded"}:
            open_.pop(where, None)
    yield from open_.values()


def _wrong_routes(session: Session) -> Iterable[Finding]:
    charges: dict[str, Record] = {}
    decided: Record | None = None
    for record in session.records:
        event = record.get("event")
        if event == "route.decided":
            if record.get("code") in {"rescued", "escalated"} and decided is not None:
                yield _route(session, decided, f"{decided.get('model')} did not do: a better one")
            decided = record
        elif event == "route.charged":
            charges[str(record.get("charge_id"))] = record
        elif event == "route.feedback" and float(record.get("score") or 0.0) < _BAD_SCORE:
            rated = charges.get(str(record.get("charge_id"))) or decided or record
            words = f"{record.get('model')} was rated {record.get('score')}"
            yield _route(session, rated, words)


def _route(session: Session, record: Record, text: str) -> Finding:
    step = session.places.step(record) or 0
    return Finding("wrong_route", step, text, session.places.node(record))


def _lost_files(session: Session) -> Iterable[Finding]:
    restoring: Record | None = None
    for record in session.records:
        if record.get("event") == "workspace.restoring":
            restoring = record
        elif record.get("event") in {"workspace.restored", "run.ended"}:
            restoring = None
        elif cause_of(record.get("error.type")) == "lost_workspace":
            step = session.places.step(record)
            if step is not None:
                text = str(record.get("error", "content of the workspace is missing"))
                yield Finding("lost_workspace", step, text, session.places.node(record))
                return
    last = session.last
    if restoring is not None and last is not None and last.ending == "lost":
        step = session.places.step(restoring) or session.last_step
        text = f"{restoring.get('folder')} was half restored when the process died"
        yield Finding("lost_workspace", step, text)


def _doubts(session: Session, effects: Sequence[EffectFact]) -> Iterable[Finding]:
    doubted: dict[str, Finding] = {}
    for record in session.records:
        key = str(record.get("key", ""))
        if record.get("event") == "effect.doubted":
            step = session.places.step(record) or 0
            text = f"it is unknown whether {record.get('effect')} happened"
            doubted[key] = Finding("effect_in_doubt", step, text, session.places.node(record))
        elif record.get("event") in {"effect.done", "effect.voided"}:
            doubted.pop(key, None)
    yield from doubted.values()
    open_ = [each for each in effects if each.state in {"intent", "raised"} and not each.live]
    if open_ and not doubted:
        text = f"it is unknown whether {open_[0].name} happened"
        yield Finding("effect_in_doubt", session.last_step, text)


def _refusals(session: Session) -> Iterable[Finding]:
    for record in session.records:
        if record.get("event") == "policy.refused":
            step = session.places.step(record) or session.last_step
            yield Finding("denied", step, f"a rule refused it: {record.get('rule')}")
            return
