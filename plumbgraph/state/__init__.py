"""State: `PlumbSaver`, the checkpointer that threads survive on.

What other parts use, beside LangGraph's own saver methods (each with its `a…` twin)::

    saver.wait_committed(thread_id, checkpoint_ns, checkpoint_id, *, timeout_s=30.0) -> bool
    await saver.await_committed(thread_id, checkpoint_ns, checkpoint_id, *, timeout_s=30.0) -> bool
        True as soon as the checkpoint is committed, by this saver's own put or by anybody's;
        False when the time is over (a run with durability="exit" commits only at its end).
        Raises what the put raised (StaleWriter, ClaimLost, …): then the run must not go on.
    current_branch(thread_id, *, tenant="default") -> str        (from plumbgraph.state)
        The branch the running node works on: "" for the first, else an id that stays the same
        through crash and resume and that every later checkpoint of the branch inherits.
    saver.threads(limit=100) -> list[ThreadInfo]       thread_id, touched_at, steps, status
    saver.run_status(thread_id) -> RunStatus           state, next, owner, since, reason, accepted
    saver.steps(thread_id, *, channels=(), limit=None) -> list[StepInfo]   what each step added
    saver.database                                     the Database, to share with other parts
    saver.claim(thread_id, *, ttl_s=30.0, owner=None) -> Lease, for `with` and `async with`
    saver.accept(thread_id, input) -> int              a run that no crash loses any more
    saver.recover(graph_factory, RecoveryRules(…)) -> list[Recovered]
    saver.retain(thread_id, Retention(…)), saver.sweep(dry_run=False) -> Swept, saver.size()
    saver.adopt_all(dry_run=False) -> AdoptionReport, saver.export(url_or_saver, thread_ids)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumbgraph.lazy import lazily

if TYPE_CHECKING:
    from plumbgraph.state.claims import Lease as Lease
    from plumbgraph.state.context import current_branch as current_branch
    from plumbgraph.state.crypt import Encryption as Encryption
    from plumbgraph.state.recovery import Recovered as Recovered
    from plumbgraph.state.recovery import RecoveryRules as RecoveryRules
    from plumbgraph.state.retention import Retention as Retention
    from plumbgraph.state.saver import PlumbSaver as PlumbSaver
    from plumbgraph.state.serde import PlumbSerializer as PlumbSerializer
    from plumbgraph.state.status import RunStatus as RunStatus
    from plumbgraph.state.status import ThreadInfo as ThreadInfo
    from plumbgraph.state.steps import StepInfo as StepInfo

_HOMES = {
    "Encryption": "crypt",
    "Lease": "claims",
    "PlumbSaver": "saver",
    "PlumbSerializer": "serde",
    "Recovered": "recovery",
    "RecoveryRules": "recovery",
    "Retention": "retention",
    "RunStatus": "status",
    "StepInfo": "steps",
    "ThreadInfo": "status",
    "current_branch": "context",
}

__all__ = [*_HOMES]  # noqa: PLE0604 - names resolve lazily
__getattr__, __dir__ = lazily(__name__, _HOMES)
