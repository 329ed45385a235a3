"""`plumbgraph maintain`: remove what retention rules and deleted threads leave behind."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph.cli.console import Json, Out
from plumbgraph.cli.durations import Every, Once, repeat, seconds
from plumbgraph.cli.state import DryRun, KeepLast, MaxAge, Ttl, rules_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumbgraph.agents.open import Opened
    from plumbgraph.state.retention import Retention

app = typer.Typer()

_LEASE_S = 60.0


@app.command()
def maintain(
    every: Every = None,
    once: Once = False,
    keep_last: KeepLast = None,
    max_age: MaxAge = None,
    ttl: Ttl = None,
    grace: Annotated[
        str, typer.Option(help="Content used within this time stays; at least 2m.")
    ] = "24h",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Apply retention rules to threads, and delete records and files nothing refers to any more.

    Safe beside running agents; of several processes one does the work. Each thread's own rules come
    first, then the given ones; without any, threads stay as they are.
    """
    out = Out(json=json)
    rules = rules_of(keep_last, max_age, ttl)
    patience = seconds(grace)

    def act() -> None:
        with _opened() as plumbing, _leads(plumbing) as leads:
            if not leads:
                told = "another process is at it"
                out.show({"skipped": told}, lambda: out.text(f"skipped: {told}"))
                return
            done = maintained(plumbing, rules, patience, dry_run=dry_run)
        out.show(done, lambda: out.table(("what", "how many"), list(done.items())))

    repeat(act, every, once=once)


@contextmanager
def _leads(plumbing: Opened) -> Iterator[bool]:
    """Whether this process is the one that maintains now.

    By a lease that is renewed while the round lasts: it keeps no transaction open, which would
    hold back the removal of dead rows, and a process that dies leaves it within a minute.
    """
    from plumbgraph.errors import ThreadBusy  # noqa: PLC0415 - quick start
    from plumbgraph.state.claims import UPKEEP, is_gone  # noqa: PLC0415 - quick start

    saver = plumbing.saver.for_tenant(UPKEEP)
    with ExitStack() as stack:
        try:
            stack.enter_context(saver.claim("maintain", ttl_s=_LEASE_S))
        except ThreadBusy as busy:
            before = str(busy.facts.get("owner"))
            leads = False
            if is_gone(before):
                with suppress(ThreadBusy):
                    stack.enter_context(saver.claim("maintain", ttl_s=_LEASE_S, after=before))
                    leads = True
        else:
            leads = True
        yield leads


def maintained(
    plumbing: Opened, rules: Retention | None, grace_s: float, *, dry_run: bool
) -> dict[str, Any]:
    """One round; what was removed, or with `dry_run` what of the threads would be."""
    from plumbgraph.agents.effects import journal_for  # noqa: PLC0415 - quick start
    from plumbgraph.agents.workspace import SaverThreads  # noqa: PLC0415 - quick start

    saver = plumbing.saver.with_retention(rules)
    swept = saver.sweep(dry_run=dry_run)
    told = {
        "threads_removed": len(swept.threads_removed),
        "checkpoints_removed": swept.checkpoints_removed,
        "leases_freed": len(swept.leases_freed),
    }
    if dry_run:
        return told
    journal = journal_for(saver, tenant=saver.tenant)
    files = plumbing.workspace("/nowhere/plumbgraph").gc(SaverThreads(saver), grace_s=grace_s)
    return {
        **told,
        "effects_forgotten": journal.forget(swept.threads_removed),
        "files_deleted": files.deleted,
        "bytes_freed": files.freed_bytes,
    }


def _opened() -> Opened:
    from plumbgraph.agents.open import open as open_servers  # noqa: PLC0415 - quick start

    return open_servers()
