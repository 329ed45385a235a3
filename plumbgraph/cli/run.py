"""`plumbgraph run` and `resume`: a graph on a thread that survives crashes and Ctrl-C."""

from __future__ import annotations

import json as json_module
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from plumbgraph.cli import graphs
from plumbgraph.cli.console import Json, Out
from plumbgraph.errors import SettingsError

app = typer.Typer()

Model = Annotated[
    str | None,
    typer.Option(help="provider:name, for example openai:gpt-5.5, or scripted (offline)."),
]
MaxSteps = Annotated[
    int | None, typer.Option(min=1, help="Steps after which it stops; else the graph's, else 250.")
]
Workspace = Annotated[str | None, typer.Option(help="Folder the graph's file tools work in.")]


@app.command()
def run(
    graph: Annotated[
        str, typer.Argument(help="A name in langgraph.json, path/to/file.py:attr, or assistant.")
    ],
    input: Annotated[  # noqa: A002 - the argument's name in the help
        str, typer.Argument(help="A message, a JSON object, or - for standard input.")
    ],
    thread: Annotated[str | None, typer.Option(help="Thread to use; else a new one.")] = None,
    model: Model = None,
    workspace: Workspace = None,
    max_steps: MaxSteps = None,
    json: Json = False,
) -> None:
    """Run a graph on a thread that survives crashes, showing each step.

    Every finished step is in the database before the next one begins. Ctrl-C stops after the
    running step and prints the command that goes on; a second Ctrl-C stops at once, and the
    thread is just as safe.

    `--model` and `--workspace` reach the graph as PLUMBGRAPH_MODEL and PLUMBGRAPH_WORKSPACE, and
    `--model` also as `model` of its context when it has one. With `--json` each step is a line
    of JSON, the last line is the outcome. Exit code 4: interrupted, the thread can be resumed.
    """
    from plumbgraph.cli.job import Job, opened, perform  # noqa: PLC0415 - quick start

    named = graphs.find(graph)
    check_model(model)
    job = Job(
        thread_id=thread or new_thread(named),
        graph=named,
        model=model,
        workspace=absolute(workspace),
        max_steps=max_steps,
    )
    text = sys.stdin.read() if input == "-" else input
    out = Out(json=json)
    with opened(out) as plumbing:
        perform(job, plumbing, lambda compiled: input_of(text, compiled), out)


@app.command()
def resume(
    thread: Annotated[str, typer.Argument(help="The thread; see `plumbgraph threads`.")],
    answer: Annotated[
        str | None, typer.Option(help="Reply to an interrupt: text, or any JSON value.")
    ] = None,
    graph: Annotated[
        str | None, typer.Option(help="For threads that `plumbgraph run` did not begin.")
    ] = None,
    model: Model = None,
    workspace: Workspace = None,
    max_steps: MaxSteps = None,
    json: Json = False,
) -> None:
    """Go on with a thread where it stopped: after a crash, Ctrl-C, a failure or an interrupt.

    Steps that finished are not run again. The thread remembers its graph, model and workspace.
    A thread that waits for an answer gets it with `--answer`.
    """
    from plumbgraph.cli.job import Job, opened, perform, remembered  # noqa: PLC0415 - quick start

    out = Out(json=json)
    with opened(out) as plumbing:
        told = remembered(plumbing, thread)
        name = graph or told.get("plumb_graph")
        if name is None:
            raise SettingsError(
                f"The thread {thread!r} does not say which graph it belongs to.",
                hint="Name it with --graph.",
            )
        used = model or told.get("plumb_model")
        check_model(used)
        job = Job(
            thread_id=thread,
            graph=graphs.find(name),
            model=used,
            workspace=absolute(workspace) or told.get("plumb_workspace"),
            max_steps=max_steps,
        )
        perform(job, plumbing, lambda _: reply_of(answer), out, resuming=True)


def check_model(model: str | None) -> None:
    """Load the model that `--model` names once, so that a missing package is said at once.

    Raises:
        MissingExtra: The provider's package is not installed; the hint says which.
        SettingsError: No such provider or form, or the provider wants a key.
    """
    if model is not None and model != "scripted":
        from plumbgraph.agents import resolve_model  # noqa: PLC0415 - quick start

        resolve_model(model)


def new_thread(named: graphs.Named) -> str:
    """A fresh thread id that tells its graph."""
    stem = named.name.rpartition(":")[2]
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def absolute(folder: str | None) -> str | None:
    """The folder from anywhere, for the day the thread is resumed."""
    return str(Path(folder).expanduser().absolute()) if folder else None


def input_of(text: str, compiled: Any) -> Any:
    """The graph's input: a JSON object as it is, other text as a user's message.

    Raises:
        SettingsError: The graph has no `messages`, and the text is no JSON object.
    """
    if text.lstrip().startswith("{"):
        try:
            return json_module.loads(text)
        except ValueError as fault:
            raise SettingsError(f"The input is no JSON: {fault}.") from fault
    if "messages" not in compiled.channels:
        raise SettingsError(
            f"The graph {compiled.name!r} takes no messages.",
            hint="Pass its input as a JSON object.",
        )
    return {"messages": [{"role": "user", "content": text}]}


def reply_of(answer: str | None) -> Any:
    """What goes into the graph to make it go on."""
    if answer is None:
        return None
    from langgraph.types import Command  # noqa: PLC0415 - quick start

    try:
        value = json_module.loads(answer)
    except ValueError:
        value = answer
    return Command(resume=value)
