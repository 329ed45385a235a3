"""Steps as `PlumbSaver.steps` tells them, as facts: each message is read once for the thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plumbgraph.timeline.checkpoints import (
    SHOWN,
    answer_of,
    channels_shown,
    kind_of,
    plain_metadata,
    time_of,
    tool_results,
    values_of_interrupts,
)
from plumbgraph.timeline.evidence import CheckpointFact, Evidence, StatusFact


def evidence_of(steps: Sequence[Any], head: str | None, status: StatusFact | None) -> Evidence:
    """The chain of steps that ends in a head, oldest first.

    Args:
        steps: All steps of the thread, of every branch, oldest first.
        head: The checkpoint that ends the chain; by default the newest.
        status: What the store says of the thread.
    """
    by_id = {each.checkpoint_id: each for each in steps}
    chain: list[Any] = []
    wanted = head or (steps[-1].checkpoint_id if steps else None)
    while wanted in by_id:
        chain.append(by_id.pop(wanted))
        wanted = chain[-1].parent_id
    calls: dict[str, Any] = {}
    facts = tuple(_fact(each, calls) for each in reversed(chain))
    others = len(by_id) if head is None else 0
    remarks = (f"{others} checkpoints belong to other branches.",) if others else ()
    return Evidence(checkpoints=facts, status=status, remarks=remarks)


def _fact(step: Any, calls: dict[str, Any]) -> CheckpointFact:
    fresh = [each for added in step.added.values() for each in added if kind_of(each)]
    for message in fresh:
        for call in getattr(message, "tool_calls", None) or ():
            calls[call["id"]] = call
    values: Mapping[str, Any] = step.values
    asked = () if step.answered else values_of_interrupts(value for _, value in step.interrupts)
    return CheckpointFact(
        id=step.checkpoint_id,
        parent_id=step.parent_id,
        step=step.step,
        source=step.source,
        at=time_of(step.ts),
        run_id=step.metadata.get("run_id"),
        changed=channels_shown(step.changed),
        next=step.next,
        interrupts=asked,
        error=next((str(value) for _, value in step.errors), None),
        answers=tuple(answer_of(each) for each in fresh if kind_of(each) == "ai"),
        tools=tuple(tool_results(fresh, calls)),
        values={name: values[name] for name in SHOWN if values.get(name) is not None},
        metadata=plain_metadata(step.metadata),
    )
