"""The verdict: one code, one step, one sentence about a thread, decided from the evidence alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from plumbgraph.timeline.causes import cause_of
from plumbgraph.timeline.evidence import Evidence, StatusFact
from plumbgraph.timeline.findings import Finding
from plumbgraph.timeline.session import Session

CODES = {
    "running": "a process is at it",
    "interrupted": "it waits for an answer",
    "crashed": "its process died in the middle",
    "looping": "it repeats itself without getting anywhere",
    "stopped_by_budget": "a limit of steps, dollars or time ended it",
    "parked": "recovery gave it up after several attempts",
    "finished": "it came to its end",
    "tool_error": "a tool failed and was not made good",
    "model_error": "a model did not answer",
    "wrong_route": "the chosen model's answer was no good",
    "memory_conflict": "two claims about one thing, and none stands",
    "lost_workspace": "files of the thread are missing",
    "workspace_error": "the files could not be kept as they should",
    "effect_in_doubt": "it is unknown whether an outside effect happened",
    "denied": "a rule or right refused it",
    "two_writers": "another run moved the thread on or owns it",
    "store_unavailable": "a database did not answer",
    "memory_error": "the long-term memory refused something",
    "skill_error": "a skill could not be used",
    "failed": "the graph's own code raised",
    "cancelled": "it was stopped from outside",
    "waiting": "something is left to do and nobody is at it",
}
"""What each code means."""

_ENDED = ("stopped_by_budget", "looping")
_AFTER_END = (
    "lost_workspace",
    "effect_in_doubt",
    "looping",
    "tool_error",
    "memory_conflict",
    "wrong_route",
    "denied",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is the matter with a thread.

    Attributes:
        code: One of `CODES`.
        step: Where it is the matter: the loop's first step, the step that was cut off, the step
            that failed or waits, else the last one.
        text: One sentence.
        node: The node there, as far as it is known.
        cycle: What repeats, for a loop.
        cost_usd: What the loop cost.
    """

    code: str
    step: int
    text: str
    node: str | None = None
    cycle: tuple[str, ...] = ()
    cost_usd: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def judge(evidence: Evidence, session: Session, findings: Sequence[Finding]) -> Verdict:
    """The verdict about the latest session of a thread."""
    by_code: dict[str, Finding] = {}
    for finding in findings:
        by_code.setdefault(finding.code, finding)
    state = _state(evidence, session)
    if state == "parked":
        return _parked(evidence, session)
    stopped = next((by_code[code] for code in _ENDED if code in by_code), None)
    if "looping" in by_code and (stopped is None or not _over_budget(session)):
        return _looping(by_code["looping"], state)
    if stopped is not None:
        return _said(stopped, f"stopped by its budget at step {stopped.step}: {stopped.text}")
    if state == "interrupted" and "effect_in_doubt" in by_code:
        doubt = by_code["effect_in_doubt"]
        return _said(doubt, f"waits for an answer at step {doubt.step}: {doubt.text}")
    decide = {"failed": _failed, "crashed": _crashed, "finished": _finished}.get(state)
    if decide is not None:
        return decide(session, by_code)
    return _plain(state, evidence, session)


def _state(evidence: Evidence, session: Session) -> str:
    """What the thread is doing, from its status, its log, or its checkpoints."""
    status, last, head = evidence.status, session.last, session.head
    if any(r.get("event") == "state.parked" for r in session.records[-2:]):
        return "parked"
    # A dead owner's lease runs on for a while; on its own machine the death is already known.
    dead = last is not None and last.ending == "lost" and f":{last.pid}:" in f"{_owner(status)}:"
    if status is not None and not dead and status.state in {"running", "parked", "interrupted"}:
        return status.state
    if last is not None:
        ends = {"done": "finished", "open": "running", "lost": "crashed"}
        found = ends.get(last.ending, last.ending)
        if found == "finished" and status is not None and status.state == "crashed":
            return "crashed"
        # A breakpoint ends the call like any other end, and leaves nodes to run.
        left = status.next if status is not None else head.next if head is not None else ()
        return "interrupted" if found == "finished" and left else found
    if status is not None:
        return {"runnable": "waiting"}.get(status.state, status.state)
    if head is None:
        return "finished"
    if head.interrupts:
        return "interrupted"
    return "failed" if head.error else ("waiting" if head.next else "finished")


def _owner(status: StatusFact | None) -> str:
    return (status.owner or "") if status is not None else ""


def _over_budget(session: Session) -> bool:
    """Whether a limit of money or time ended the run, which a loop would not explain away."""
    for record in session.records:
        if record.get("event") == "run.stopped":
            return str(record.get("stop_reason", "")).startswith("budget.")
    return False


def _said(finding: Finding, text: str) -> Verdict:
    return Verdict(
        code=finding.code,
        step=finding.step,
        text=_sentence(text),
        node=finding.node,
        cycle=finding.cycle,
        cost_usd=finding.cost_usd,
    )


def _looping(finding: Finding, state: str) -> Verdict:
    now = {
        "running": "; it still runs",
        "crashed": "; its process is gone",
        "finished": "; then it ended",
        "failed": "; then it was ended",
    }.get(state, "")
    cost = f", ${finding.cost_usd:.4f} since" if finding.cost_usd else ""
    return _said(finding, f"looping since step {finding.step}: {finding.text}{cost}{now}")


def _parked(evidence: Evidence, session: Session) -> Verdict:
    reason = evidence.status.reason if evidence.status and evidence.status.reason else ""
    told = [r for r in session.records if r.get("event") == "state.parked"]
    reason = reason or str(told[-1].get("reason", "") if told else "")
    failing = [row for row in session.rows if row.status in {"failed", "cut", "left"}]
    step = failing[-1].step if failing else session.last_step + 1
    text = f"parked at step {step}: recovery gave it up after several attempts: {reason}"
    node = failing[-1].node if failing else None
    return Verdict(code="parked", step=step, text=_sentence(text), node=node)


def _failed(session: Session, by_code: dict[str, Finding]) -> Verdict:
    last = session.last
    error_type = last.error_type if last else None
    error = (last.error if last else None) or (session.head.error if session.head else "") or ""
    rows = [row for row in session.rows if row.status == "failed" and row.depth == 0]
    row = rows[-1] if rows else None
    step = row.step if row else session.last_step
    node = row.node if row else None
    named = (error_type or "").rpartition(".")[2]
    why = f"{named}: {error}" if named else str(error)
    code = cause_of(error_type) or _cause_in_step(session, step) or "failed"
    known = by_code.get(code)
    if known is not None and code in {"lost_workspace", "tool_error"}:
        step, node = known.step, known.node or node
    return Verdict(code=code, step=step, node=node, text=_sentence(_words(code, step, node, why)))


def _cause_in_step(session: Session, step: int) -> str | None:
    """The first thing that failed inside the step whose node raised."""
    for record in session.records:
        if session.places.step(record) == step:
            if record.get("event") == "tool.failed":
                return "tool_error"
            if record.get("event") == "model.failed":
                return "model_error"
    return None


def _words(code: str, step: int, node: str | None, why: str) -> str:
    where = f"step {step}" + (f" ({node})" if node else "")
    if code == "stopped_by_budget":
        return f"stopped by its budget at {where}: {why}"
    return f"failed at {where}, {CODES[code]}: {why}"


def _crashed(session: Session, by_code: dict[str, Finding]) -> Verdict:
    if "lost_workspace" in by_code:
        lost = by_code["lost_workspace"]
        return _said(lost, f"crashed at step {lost.step}: {lost.text}")
    cut = [row for row in session.rows if row.status == "cut" and row.depth == 0]
    left = [row for row in session.rows if row.status == "left"]
    row = cut[-1] if cut else (left[-1] if left else None)
    step = row.step if row else session.last_step + (1 if session.head else 0)
    node = row.node if row else None
    where = f"step {step}" + (f" ({node})" if node else "")
    how = "its process died while it worked on it" if cut else "its process died before it began"
    text = f"crashed at {where}: {how}; everything before is saved"
    return Verdict(code="crashed", step=step, node=node, text=_sentence(text))


def _finished(session: Session, by_code: dict[str, Finding]) -> Verdict:
    worst = next((by_code[code] for code in _AFTER_END if code in by_code), None)
    if worst is not None:
        return _said(worst, f"came to its end, but at step {worst.step} {worst.text}")
    step = session.last_step
    cost = session.cost_since(-1)
    spent = f" for ${cost:.4f}" if cost else ""
    text = f"finished at step {step}{spent}"
    return Verdict(code="finished", step=step, text=_sentence(text))


def _plain(state: str, evidence: Evidence, session: Session) -> Verdict:
    wanted = {"running": ("running", "left"), "interrupted": ("interrupted", "left")}
    rows = [row for row in session.rows if row.status in wanted.get(state, ("left", "interrupted"))]
    row = rows[-1] if rows else None
    step = row.step if row else session.last_step
    node = row.node if row else None
    where = f"step {step}" + (f" ({node})" if node else "")
    status = evidence.status
    said = {
        "running": f"running, at {where}",
        "interrupted": f"waits for an answer at {where}{_question(session)}",
        "cancelled": f"stopped from outside at {where}; everything before is saved",
        "waiting": f"{where} is left to do and nobody is at it",
    }.get(state, f"{state} at {where}")
    if state == "running" and status is not None and status.owner:
        said += f", by {status.owner}"
    code = state if state in CODES else "failed"
    return Verdict(code=code, step=step, node=node, text=_sentence(said))


def _question(session: Session) -> str:
    asked = session.head.interrupts if session.head else ()
    return f": {str(asked[0])[:200]}" if asked else ""


def _sentence(text: str) -> str:
    line = " ".join(text.split())
    line = line if len(line) <= 400 else f"{line[:399]}…"  # noqa: PLR2004 - one readable sentence
    return line[:1].upper() + line[1:].rstrip(".") + "."
