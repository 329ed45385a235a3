"""One run of a graph from the command line: opened, streamed, stopped gently, told about."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from langgraph.errors import GraphBubbleUp, GraphDrained, GraphRecursionError
from langgraph.runtime import RunControl

from plumbgraph.agents.open import Opened
from plumbgraph.agents.open import open as open_servers
from plumbgraph.cli import graphs
from plumbgraph.cli.console import INTERRUPTED, Out
from plumbgraph.cli.steps import Step, answer_of, begun_of, short, step_of
from plumbgraph.errors import PlumbError, ThreadNotFound
from plumbgraph.settings import Settings
from plumbgraph.state.claims import Lease, is_gone
from plumbgraph.state.status import RunStatus
from plumbgraph.tracing.handler import Trace, trace


class RunFailed(PlumbError, RuntimeError):
    """The graph's own code raised; everything up to there is saved."""

    code = "cli.run_failed"


LEASE_S = 30.0
"""How long another machine waits for a run of ours that went silent."""

MAX_STEPS = 250
"""Super-steps of one call; LangGraph's own default lets a loop run ten thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be run, as the thread remembers it.

    Attributes:
        thread_id: The thread.
        graph: Where the graph is.
        model: `--model`.
        workspace: `--workspace`, absolute.
        max_steps: `--max-steps`; `None` leaves it to the graph, else to `MAX_STEPS`.
    """

    thread_id: str
    graph: graphs.Named
    model: str | None
    workspace: str | None
    max_steps: int | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The run's config; its metadata stays with the thread's checkpoints."""
        kept = {
            "plumb_graph": self.graph.name,
            "plumb_model": self.model,
            "plumb_workspace": self.workspace,
        }
        metadata = {key: value for key, value in kept.items() if value is not None}
        return {"configurable": {"thread_id": self.thread_id}, "metadata": metadata}

    @property
    def resume_command(self) -> str:
        """The command that goes on with this thread."""
        return f"plumbgraph resume {shlex.quote(self.thread_id)}"


@dataclass(slots=True)
class Outcome:
    """How a run went, as `--json` tells it at the end."""

    status: str = "done"
    steps: int = 0
    answer: Any = None
    questions: list[Any] = field(default_factory=list)


def log_path(settings: Settings) -> Path:
    """The event log of the command line: `PLUMBGRAPH_LOG`, else `events.jsonl` in the home."""
    return settings.log or settings.home / "events.jsonl"


def remembered(plumbing: Opened, thread_id: str) -> dict[str, Any]:
    """The metadata of a thread's last checkpoint.

    Raises:
        ThreadNotFound: There is no such thread.
    """
    found = plumbing.saver.get_tuple({"configurable": {"thread_id": thread_id}})
    if found is None:
        raise ThreadNotFound(f"There is no thread {thread_id!r}.", thread_id=thread_id)
    return dict(found.metadata)


@contextmanager
def opened(out: Out) -> Iterator[Opened]:
    """The servers, and a saver and a store on them."""
    plumbing = open_servers()
    with out.working("starting the servers"):
        _ = plumbing.endpoints
    with plumbing:
        yield plumbing


def perform(
    job: Job,
    plumbing: Opened,
    payload: Callable[[Any], Any],
    out: Out,
    *,
    resuming: bool = False,
) -> None:
    """Run the job to its end, an interrupt or a stop; ends the command with its exit code.

    Args:
        job: What is to be run.
        plumbing: The saver and the store to run it on.
        payload: Makes the graph's input from the compiled graph.
        out: Where steps and outcome go.
        resuming: An input of `None` on a thread with nothing left to do says so.
    """
    graphs.set_environment(model=job.model, workspace=job.workspace)
    with trace(path=log_path(Settings.load())) as events:
        with out.working("loading the graph"):
            author = graphs.load(job.graph)
            store = plumbing.store if graphs.may_use_store(job.graph) else None
            graph = graphs.compiled(author, saver=plumbing.saver, store=store)
        value = payload(graph)
        status = _status(plumbing, job)
        settled = _settled(graph, job, status) if resuming and value is None else None
        if settled is None:
            out.text(f"thread {job.thread_id}", style="dim")
            with _lease(plumbing, job, status):
                settled = _stream(job, graph, value, out)
        _tell(job, settled, events, out)


def _status(plumbing: Opened, job: Job) -> RunStatus | None:
    try:
        return plumbing.saver.run_status(job.thread_id)
    except ThreadNotFound:
        return None


def _lease(plumbing: Opened, job: Job, status: RunStatus | None) -> Lease:
    """The thread for this process alone; an owner that ended on this machine is not waited for."""
    owner = status.owner if status else None
    gone = owner if owner and is_gone(owner) else None
    return plumbing.saver.claim(job.thread_id, ttl_s=LEASE_S, after=gone)


def _settled(graph: Any, job: Job, status: RunStatus | None) -> Outcome | None:
    """The outcome of a thread that has nothing to go on with, or waits for an answer."""
    state = graph.get_state(job.config)
    questions = [each.value for task in state.tasks for each in task.interrupts]
    if questions:
        return Outcome("interrupted", questions=questions)
    # An empty `next` does not mean finished: a task may have stored its writes and no step since.
    finished = status is None or status.state == "finished"
    return Outcome(answer=answer_of(state.values)) if finished else None


def _stream(job: Job, graph: Any, value: Any, out: Out) -> Outcome:
    control, outcome = RunControl(), Outcome()
    context = {"model": job.model} if job.model and graphs.wants_model(graph) else None
    with _gentle_stop(control, job, out), out.working("running") as progress:
        stream = graph.stream(
            value,
            _bounded(job, graph),
            context=context,
            stream_mode="debug",
            durability="sync",
            control=control,
        )
        try:
            for event in stream:
                if begun := begun_of(event):
                    progress(begun)
                if step := step_of(event):
                    outcome.steps += 1
                    _show_step(step, out)
        except GraphDrained:
            outcome.status = "stopped"
            return outcome
        except (PlumbError, GraphBubbleUp):
            out.remark(f"everything up to here is saved; go on with: {job.resume_command}")
            raise
        except GraphRecursionError as fault:
            raise RunFailed(
                f"The graph took {outcome.steps} steps without coming to an end.",
                hint=f"If that is no loop, go on with `{job.resume_command} --max-steps …`.",
                thread_id=job.thread_id,
            ) from fault
        except Exception as fault:
            raise RunFailed(
                f"The graph raised {type(fault).__name__}: {short(str(fault), 300)}",
                hint=f"Everything up to there is saved; go on with `{job.resume_command}`.",
                thread_id=job.thread_id,
            ) from fault
    return _after(graph, job, outcome)


def _bounded(job: Job, graph: Any) -> dict[str, Any]:
    bound = (graph.config or {}).get("recursion_limit")
    return {**job.config, "recursion_limit": job.max_steps or bound or MAX_STEPS}


def _after(graph: Any, job: Job, outcome: Outcome) -> Outcome:
    state = graph.get_state(job.config)
    outcome.questions = [each.value for task in state.tasks for each in task.interrupts]
    if outcome.questions or state.next:
        outcome.status = "interrupted"
    else:
        outcome.answer = answer_of(state.values)
    return outcome


@contextmanager
def _gentle_stop(control: RunControl, job: Job, out: Out) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the run after its step, and a second one at once."""

    def stop(number: int, _: object) -> None:
        if control.drain_requested:
            out.remark(f"\nstopped at once; go on with: {job.resume_command}", style="bold")
            # Waiting for a node that hangs would not make the thread any safer than it is.
            os._exit(INTERRUPTED)
        control.request_drain(signal.Signals(number).name)
        out.remark("\nstopping after this step; once more stops at once", style="bold")

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _show_step(step: Step, out: Out) -> None:
    out.line(step.record())
    lead = f"{step.number:>4}  {step.node:<12}"
    for says in step.says or ("",):
        out.text(f"{lead}  {says}")
        lead = " " * len(lead)
    if step.error:
        out.text(f"{lead}  failed: {short(step.error, 300)}", style="red")


def _tell(job: Job, outcome: Outcome, events: Trace, out: Out) -> None:
    assert events.log is not None
    finished = outcome.status == "done"
    told = {
        "event": "outcome",
        "thread_id": job.thread_id,
        "status": outcome.status,
        "steps": outcome.steps,
        "answer": outcome.answer,
        "questions": outcome.questions,
        "resume": None if finished else job.resume_command,
        "log": events.log.path,
        "lost_events": events.log.lost,
    }
    out.line(told)
    if events.log.lost:
        out.remark(f"{events.log.lost} events could not be written to {events.log.path}")
    if finished:
        out.text()
        out.text(str(outcome.answer), style="bold")
        return
    out.text()
    for question in outcome.questions:
        out.text(f"it asks: {short(question, 500)}", style="bold yellow")
    answer = " --answer …" if outcome.questions else ""
    out.text(f"{outcome.status}; go on with: {job.resume_command}{answer}", style="bold")
    raise typer.Exit(INTERRUPTED)
