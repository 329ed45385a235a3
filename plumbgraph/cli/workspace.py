"""`plumbgraph workspace`: look into the recorded files of threads, bring them back, tidy up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plumbgraph.cli.console import Json, Out
from plumbgraph.errors import ThreadNotFound

if TYPE_CHECKING:
    from plumbgraph.agents.open import Opened
    from plumbgraph.content import PostgresBlobs
    from plumbgraph.workspace import Workspace

app = typer.Typer(no_args_is_help=True)

_NAME = "A thread (its newest manifest), a digest, or the beginning of one."
Name = Annotated[str, typer.Argument(help=_NAME)]
Folder = Annotated[Path, typer.Argument(help="A folder.")]
_SHORT = 16


@app.command("ls")
def ls(
    name: Annotated[str, typer.Argument(help=f"{_NAME} Nothing lists all manifests.")] = "",
    json: Json = False,
) -> None:
    """List the recorded manifests, or the files of one."""
    out = Out(json=json)
    with _store() as (_, blobs, workspace):
        if not name:
            refs = blobs.refs()
            rows = [(ref.owner, ref.digest[:_SHORT], _when(ref.touched_at)) for ref in refs]
            value = [{"owner": r.owner, "digest": r.digest, "at": r.touched_at} for r in refs]
            out.show(value, lambda: out.table(("owner", "digest", "used"), rows))
            return
        entries = workspace.entries(_found(blobs, name))
    rows = [(path, type(each).__name__.lower(), str(each.size)) for path, each in entries.items()]
    listed = [{"path": path, "kind": kind, "bytes": int(size)} for path, kind, size in rows]
    out.show(listed, lambda: out.table(("path", "kind", "bytes"), rows))


@app.command("cat")
def cat(name: Name, path: Annotated[str, typer.Argument(help="A file in it.")]) -> None:
    """Write a recorded file to standard output, byte for byte."""
    with _store() as (_, blobs, workspace):
        sys.stdout.buffer.write(workspace.read(_found(blobs, name), path))
        sys.stdout.buffer.flush()


@app.command("diff")
def diff(before: Name, after: Name, json: Json = False) -> None:
    """Show which paths differ between two manifests."""
    out = Out(json=json)
    with _store() as (_, blobs, workspace):
        changes = workspace.diff(_found(blobs, before), _found(blobs, after))
    rows = [(change.kind, change.path) for change in changes]
    value = [{"kind": kind, "path": path} for kind, path in rows]
    out.show(value, lambda: out.table(("change", "path"), rows) if rows else out.text("equal"))


@app.command("restore")
def restore(name: Name, folder: Folder, json: Json = False) -> None:
    """Bring a folder to a manifest; files nobody recorded are moved aside, beside it."""
    from plumbgraph.workspace import Workspace  # noqa: PLC0415 - quick start

    out = Out(json=json)
    with _store() as (_, blobs, _workspace):
        done = Workspace(folder, blobs=blobs).restore(_found(blobs, name))
    value = {
        "digest": done.manifest.digest,
        "written": done.written,
        "removed": done.removed,
        "aside": list(done.aside),
        "aside_folder": done.aside_folder,
    }
    text = f"{done.written} written, {done.removed} removed, {len(done.aside)} moved aside"
    where = f" to {done.aside_folder}" if done.aside else ""
    out.show(value, lambda: out.text(text + where))


@app.command("export")
def export(
    name: Name,
    folder: Folder,
    read_only: Annotated[bool, typer.Option(help="Take write permissions away.")] = False,
    json: Json = False,
) -> None:
    """Copy a manifest into a new folder."""
    out = Out(json=json)
    with _store() as (_, blobs, workspace):
        manifest = workspace.export(_found(blobs, name), folder, read_only=read_only)
    value = {"digest": manifest.digest, "files": manifest.files, "bytes": manifest.size}
    out.show(value, lambda: out.text(f"{manifest.files} files, {manifest.size} bytes"))


@app.command("gc")
def gc(
    grace_h: Annotated[float, typer.Option(help="Hours for which whatever was used stays.")] = 24,
    idle_days: Annotated[
        float,
        typer.Option(help="Also delete files of threads and folders idle so long; 0: none."),
    ] = 0,
    json: Json = False,
) -> None:
    """Delete content that nobody needs any more; safe beside running agents."""
    from plumbgraph.agents.workspace import SaverThreads  # noqa: PLC0415 - quick start

    out = Out(json=json)
    with _store() as (plumbing, _, workspace):
        idle_s = idle_days * 86_400 if idle_days else None
        done = workspace.gc(SaverThreads(plumbing.saver), grace_s=grace_h * 3600, idle_s=idle_s)
    value = {"kept": done.kept, "deleted": done.deleted, "freed_bytes": done.freed_bytes}
    text = f"{done.deleted} blobs deleted ({done.freed_bytes} bytes), {done.kept} kept"
    out.show(value, lambda: out.text(text))


@contextmanager
def _store() -> Iterator[tuple[Opened, PostgresBlobs, Workspace]]:
    from plumbgraph.agents.open import open as open_servers  # noqa: PLC0415 - quick start
    from plumbgraph.content import PostgresBlobs  # noqa: PLC0415 - quick start
    from plumbgraph.postgres.pool import Database  # noqa: PLC0415 - quick start
    from plumbgraph.settings import Settings  # noqa: PLC0415 - quick start
    from plumbgraph.workspace import Workspace  # noqa: PLC0415 - quick start

    settings = Settings.load()
    with (
        open_servers() as plumbing,
        Database(plumbing.endpoints.postgres_url, schema=settings.schema_name) as database,
    ):
        blobs = PostgresBlobs(database, tenant=settings.tenant)
        yield plumbing, blobs, Workspace("/nowhere/plumbgraph", blobs=blobs)


def _found(blobs: PostgresBlobs, name: str) -> str:
    from plumbgraph.content import is_digest  # noqa: PLC0415 - quick start

    if is_digest(name):
        return name
    own = blobs.refs(f"thread:{name}", limit=1)
    if own:
        return own[0].digest
    matching = {ref.digest for ref in blobs.refs() if ref.digest.startswith(name)}
    if len(matching) == 1:
        return matching.pop()
    raise ThreadNotFound(
        f"{name!r} is no thread with files, and {len(matching)} manifests begin with it.",
        hint="List them with `plumbgraph workspace ls`.",
    )


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
