"""`plumbgraph trace`: what happened in a thread; two threads compared; uploads and data sets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from plumbgraph.cli.console import Json, Out
from plumbgraph.errors import PlumbError, SettingsError, StoreUnavailable

if TYPE_CHECKING:
    from plumbgraph.timeline import Timeline
    from plumbgraph.tracing.reader import LogTail

_SHOWN = 60
_LOOK_EVERY_S = 0.5

Log = Annotated[
    Path | None, typer.Option(help="Event log; else PLUMBGRAPH_LOG, else the one in the home.")
]
Offline = Annotated[
    bool, typer.Option("--log-only", help="Read the event log alone; start no servers.")
]


class ThreadFirst(TyperGroup):
    """A group whose first word may be a thread: `trace THREAD` means `trace show THREAD`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The named command, else `show` with all words."""
        if args and args[0] not in self.commands:
            args = ["show", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Options before the thread belong to `show`."""
        if args and args[0].startswith("-") and args[0] not in {"-h", "--help"}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=ThreadFirst,
    no_args_is_help=True,
    help="Tell what happened in a thread: `plumbgraph trace THREAD`.",
)


@app.command()
def show(
    thread: Annotated[str, typer.Argument(help="The thread; see `plumbgraph threads`.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on as it happens.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Show every step.")] = False,  # noqa: A002 - the option's name
    log: Log = None,
    log_only: Offline = False,
    json: Json = False,
) -> None:
    """The verdict, then the steps with models, tools, skills, memory, files and money.

    The first line is the verdict: a code, a step and a sentence. It is joined from checkpoints,
    claims, the effects' journal and the event log, and works when only one of them is there.
    """
    from plumbgraph.timeline.text import lines  # noqa: PLC0415 - quick start
    from plumbgraph.tracing.reader import LogTail  # noqa: PLC0415 - quick start

    out = Out(json=json)
    tail = (
        LogTail(_log_path(log)) if follow else None
    )  # before the report, so that nothing is missed
    with _sources(log, log_only=log_only) as (sources, remarks):
        timeline = _load(thread, sources, remarks)
        if html is not None:
            html.write_text(timeline.to_html(), encoding="utf-8")
            out.remark(f"written: {html}")

        def human() -> None:
            for line in lines(timeline, most=None if all else _SHOWN):
                out.text(line)

        out.show(timeline.to_dict(), human)
    if tail is not None:
        _follow(timeline, tail, out)


@app.command()
def diff(
    left: Annotated[str, typer.Argument(help="A thread.")],
    right: Annotated[str, typer.Argument(help="Another thread.")],
    left_checkpoint: Annotated[
        str | None, typer.Option(help="Take the left thread back to this checkpoint.")
    ] = None,
    right_checkpoint: Annotated[
        str | None, typer.Option(help="Take the right thread back to this checkpoint.")
    ] = None,
    log: Log = None,
    log_only: Offline = False,
    json: Json = False,
) -> None:
    """Where two runs part, and what that did to outcome and money.

    Two forks of one thread are named by the checkpoints that end them.
    """
    from plumbgraph.timeline.text import difference_lines  # noqa: PLC0415 - quick start

    out = Out(json=json)
    with _sources(log, log_only=log_only) as (sources, remarks):
        one = _load(left, _ending(sources, left_checkpoint), remarks)
        two = _load(right, _ending(sources, right_checkpoint), remarks)
    found = one.diff(two)

    def human() -> None:
        for line in difference_lines(found):
            out.text(line)

    out.show(found.to_dict(), human)


@app.command()
def replay(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of failed uploads; else the one in the home.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Where to send them; else LANGSMITH_ENDPOINT.")
    ] = None,
    json: Json = False,
) -> None:
    """Send LangSmith uploads again that failed; what arrives is removed from the folder."""
    from plumbgraph.settings import Settings  # noqa: PLC0415 - quick start
    from plumbgraph.tracing.langsmith_replay import replay as send  # noqa: PLC0415 - quick start

    out = Out(json=json)
    where = folder or Settings.load().home / "langsmith-failed"
    found = send(where, url=url)
    out.show(
        {"folder": str(where), "sent": found.sent, "failed": found.failed, "why": found.why},
        lambda: out.text(
            f"{found.sent} sent, {found.failed} failed" + (f": {found.why}" if found.why else "")
        ),
    )
    if found.failed:
        raise StoreUnavailable(
            f"{found.failed} uploads in {str(where)!r} failed again: {found.why}",
            hint="They are kept; try again later.",
        )


@app.command()
def export(
    threads: Annotated[list[str], typer.Argument(help="Threads.")],
    dataset: Annotated[Path, typer.Option(help="JSON-lines file to write.")],
    kind: Annotated[str, typer.Option(help="router, skills or runs.")] = "runs",
    flagged: Annotated[
        bool, typer.Option("--flagged", help="Only threads whose verdict is not `finished`.")
    ] = False,
    log: Log = None,
    json: Json = False,
) -> None:
    """Turn threads into data set examples, in the format LangSmith uploads.

    Examples hold what the user wrote, so treat the file as you treat the threads.
    """
    from plumbgraph.timeline.dataset import KINDS, examples, write_examples  # noqa: PLC0415 - quick start

    if kind not in KINDS:
        raise SettingsError(f"--kind {kind!r} is not known.", hint=f"One of: {', '.join(KINDS)}.")
    out = Out(json=json)
    with _sources(log, log_only=False) as (sources, remarks):
        found = []
        for thread in threads:
            timeline = _load(thread, sources, remarks)
            if not flagged or timeline.verdict.code != "finished":
                found += examples(timeline, kind, sources)
    count = write_examples(found, dataset)
    out.show(
        {"dataset": str(dataset), "kind": kind, "examples": count},
        lambda: out.text(f"{count} examples in {dataset}"),
    )


@contextmanager
def _sources(log: Path | None, *, log_only: bool) -> Iterator[tuple[list[Any], list[str]]]:
    """The log, and the saver and journal where the servers can be reached."""
    from plumbgraph.settings import Settings  # noqa: PLC0415 - quick start
    from plumbgraph.timeline import JournalSource, LogSource, SaverSource  # noqa: PLC0415

    settings, path = Settings.load(), _log_path(log)
    sources: list[Any] = [LogSource(path)] if path.exists() or log_only else []
    if log_only:
        yield sources, []
        return
    from plumbgraph.agents.open import open as open_servers  # noqa: PLC0415 - quick start
    from plumbgraph.postgres.pool import Database  # noqa: PLC0415 - quick start

    plumbing = open_servers()
    try:
        url = plumbing.endpoints.postgres_url
    except PlumbError as fault:
        if not sources:
            raise
        yield sources, [f"The database was not read: {fault.message}"]
        return
    with plumbing, Database(url, schema=settings.schema_name, auto_setup=False) as database:
        journal = JournalSource(database, tenant=settings.tenant)
        yield [*sources, SaverSource(plumbing.saver), journal], []


def _ending(sources: list[Any], checkpoint_id: str | None) -> list[Any]:
    from plumbgraph.timeline import LogSource, SaverSource  # noqa: PLC0415 - quick start

    if checkpoint_id is None:
        return sources
    # The log tells of the whole thread, a fork only of its own chain.
    return [
        SaverSource(each.saver, checkpoint_id=checkpoint_id)
        for each in sources
        if isinstance(each, SaverSource) and not isinstance(each, LogSource)
    ]


def _load(thread: str, sources: list[Any], remarks: list[str]) -> Timeline:
    from dataclasses import replace  # noqa: PLC0415 - quick start

    from plumbgraph.timeline import Timeline  # noqa: PLC0415 - quick start

    timeline = Timeline.load(thread, sources=sources)
    if remarks:
        evidence = timeline.evidence
        kept = replace(evidence, remarks=(*evidence.remarks, *remarks))
        timeline = Timeline(thread, kept)
    return timeline


def _log_path(log: Path | None) -> Path:
    from plumbgraph.settings import Settings  # noqa: PLC0415 - quick start

    settings = Settings.load()
    return log or settings.log or settings.home / "events.jsonl"


def _follow(timeline: Timeline, tail: LogTail, out: Out) -> None:
    """Print each new line of the thread until Ctrl-C, or until its run ends or its process dies."""
    from plumbgraph.timeline.follow import told_of  # noqa: PLC0415 - quick start
    from plumbgraph.tracing.processes import lives, process_of  # noqa: PLC0415 - quick start

    running = timeline.verdict.code == "running" and timeline.events
    last = timeline.events[-1] if running else None
    while True:
        for record in tail.read():
            if record.get("thread_id") != timeline.thread_id:
                continue
            last = record
            out.line(record)
            if line := told_of(record):
                out.text(line)
            if record.get("event") in {"run.ended", "run.failed"}:
                return
        at = str(last.get("ts", "")) if last else ""
        if last is not None and not lives(process_of(last), first_at=at):
            out.text(f"process {last.get('pid')} is gone: the run was cut off")
            return
        time.sleep(_LOOK_EVERY_S)
