"""`plumbgraph state`: sizes of threads, pruning, and the way from and to PostgresSaver."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph.cli.console import Json, Out
from plumbgraph.cli.durations import maybe_seconds
from plumbgraph.errors import SettingsError

if TYPE_CHECKING:
    from plumbgraph.agents.open import Opened
    from plumbgraph.state.retention import Retention

app = typer.Typer(no_args_is_help=True)

_EVERY = 2**31 - 1

Threads = Annotated[list[str] | None, typer.Argument(help="Threads; see `plumbgraph threads`.")]
KeepLast = Annotated[
    int | None, typer.Option(min=1, help="Keep this many checkpoints of each thread.")
]
MaxAge = Annotated[str | None, typer.Option(help="Keep checkpoints younger than this: 30d.")]
Ttl = Annotated[str | None, typer.Option(help="Remove threads not touched for so long: 90d.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]


@app.command()
def size(
    limit: Annotated[int, typer.Option(min=1, help="How many threads to show.")] = 20,
    json: Json = False,
) -> None:
    """Show what the tables take on disk, and the largest threads."""
    out = Out(json=json)
    with _opened() as plumbing:
        found = plumbing.saver.size(limit)
    rows = [(t.thread_id, t.checkpoints, t.stored_bytes, t.shared_bytes) for t in found.threads]

    def human() -> None:
        out.table(("table", "bytes"), sorted(found.table_bytes.items()))
        out.text()
        out.table(("thread", "checkpoints", "bytes", "shared bytes"), rows)

    out.show(asdict(found), human)


@app.command()
def prune(
    threads: Threads = None,
    keep_last: KeepLast = None,
    max_age: MaxAge = None,
    ttl: Ttl = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Remove old checkpoints: of the named threads all but the latest, else by rules.

    Without threads each thread's own rules are applied, and the given ones where it has none.
    What a DeltaChannel's latest value is rebuilt from stays, and so do claimed threads.
    """
    out = Out(json=json)
    rules = rules_of(keep_last, max_age, ttl)
    if threads and (rules is not None or dry_run):
        raise SettingsError(
            "Named threads keep their latest checkpoint alone; rules are for all threads.",
            hint="Leave the threads out, or the options.",
        )
    with _opened() as plumbing:
        if threads:
            plumbing.saver.prune(threads)
            pruned = list(threads)
            out.show({"pruned": pruned}, lambda: out.text(f"pruned: {', '.join(pruned)}"))
            return
        show_swept(
            plumbing.saver.with_retention(rules).sweep(dry_run=dry_run), out, dry_run=dry_run
        )


@app.command("import")
def import_(dry_run: DryRun = False, json: Json = False) -> None:
    """Take over the threads that LangGraph's PostgresSaver left in the same database.

    Its rows stay where they are. A saver does this by itself, thread by thread, at a thread's
    first write; this does it for all of them now, and `--dry-run` says which types to allow.
    """
    out = Out(json=json)

    def progress(thread: str, at: int, count: int) -> None:
        if not json:
            typer.echo(f"{at}/{count} {thread}", err=True)

    with _opened() as plumbing:
        report = plumbing.saver.adopt_all(dry_run=dry_run, progress=progress)
    verb = "to take over" if dry_run else "taken over"

    def human() -> None:
        out.text(f"{len(report.threads)} threads {verb}, {report.legacy_bytes:,} bytes there")
        if dry_run and report.threads:
            out.table(("thread", "checkpoints"), sorted(report.threads.items()))
        if report.allow:
            out.text(f"types to allow: PlumbSaver(allow={list(report.allow)!r})")
        if report.foreign:
            rows = [(each.thread_id, each.checkpoint_id) for each in report.foreign]
            out.table(("written by an old worker since", "checkpoint"), rows)

    out.show(asdict(report), human)


@app.command()
def export(
    to: Annotated[str, typer.Option(help="URL of the database for PostgresSaver's tables.")],
    threads: Threads = None,
    every: Annotated[bool, typer.Option("--all", help="Every thread.")] = False,
    json: Json = False,
) -> None:
    """Write threads into the tables of LangGraph's PostgresSaver; they stay here as well."""
    if bool(threads) == every:
        raise SettingsError("Name the threads, or say --all.", hint="See `plumbgraph threads`.")
    out = Out(json=json)
    with _opened() as plumbing:
        wanted = threads or [each.thread_id for each in plumbing.saver.threads(_EVERY)]
        for thread in threads or ():
            plumbing.saver.run_status(thread)  # says which one is not there
        count = plumbing.saver.export(to, wanted)
    out.show(
        {"threads": wanted, "checkpoints": count},
        lambda: out.text(f"{count} checkpoints of {len(wanted)} threads written"),
    )


def rules_of(keep_last: int | None, max_age: str | None, ttl: str | None) -> Retention | None:
    """The retention rules that options describe; None without any."""
    from plumbgraph.state.retention import Retention  # noqa: PLC0415 - quick start

    if keep_last is None and max_age is None and ttl is None:
        return None
    return Retention(
        keep_last=keep_last, max_age_s=maybe_seconds(max_age), ttl_s=maybe_seconds(ttl)
    )


def show_swept(done: Any, out: Out, *, dry_run: bool) -> None:
    """Print what a sweep did, or would do."""
    would = "would be " if dry_run else ""
    text = (
        f"{len(done.threads_removed)} threads and {done.checkpoints_removed} checkpoints "
        f"of {len(done.threads_thinned)} more {would}removed"
    )
    out.show(asdict(done), lambda: out.text(text))


def _opened() -> Opened:
    from plumbgraph.agents.open import open as open_servers  # noqa: PLC0415 - quick start

    return open_servers()
